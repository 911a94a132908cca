"""``model.tar.gz``: packed to the same bytes for the same files, and unpacked without trust."""

import gzip
import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

MAX_UNPACKED_BYTES = 5 * 1024**3
_COMPRESSION = 6
_FILE_MODE = 0o644


class ArtifactError(Exception):
    """The archive is not one that may be unpacked; the message says why."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Make a ``model.tar.gz``.

    Args:
        files: bytes by name. Neither the time nor who runs this goes into the archive.
    """
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(files[name]), _FILE_MODE
            archive.addfile(member, io.BytesIO(files[name]))
    return gzip.compress(tape.getvalue(), _COMPRESSION, mtime=0)


def unpack(archive: Path, directory: Path, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Unpack a ``model.tar.gz`` into ``directory``, which must not exist yet.

    Raises:
        ArtifactError: it is damaged, too large unpacked, or holds what is no file or folder of its
            own. Nothing is left of it then.
        FileExistsError: the directory exists.
    """
    directory.mkdir(parents=True)
    try:
        # As a stream: nothing is read twice, and a bomb is noticed while it unpacks.
        with tarfile.open(archive, "r|gz") as tape:
            _extract(tape, directory, max_bytes)
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, tarfile.TarError | EOFError | OSError):
            raise ArtifactError(f"{archive.name} cannot be unpacked: {error}") from None
        raise


def _extract(tape: tarfile.TarFile, directory: Path, max_bytes: int) -> None:
    unpacked = 0
    for member in tape:
        if not (member.isreg() or member.isdir()):
            raise ArtifactError(f"{member.name!r} is a link or a device; only files are unpacked")
        unpacked += member.size
        if unpacked > max_bytes:
            raise ArtifactError(f"the archive is over {max_bytes} bytes unpacked")
        tape.extract(member, directory, filter="data")  # refuses paths that lead out
