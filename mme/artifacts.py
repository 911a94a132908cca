"""``model.tar.gz``: packed to the same bytes for the same files, and unpacked without trust."""

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

MAX_UNPACKED_BYTES = 5 * 1024**3
MAX_MEMBERS = 10_000  # one without bytes takes a place on the disk all the same
_MAX_HEAD_BYTES = 64 * 1024  # tarfile reads a head (a long name, PAX records) into memory at once
_MAX_PADDING_BYTES = 1024**2  # of zeros after the end of a tar; tar itself writes 10 KiB
_COMPRESSION = 6
_FILE_MODE = 0o644
# What the libraries raise for bytes that somebody made up: also for a name with a zero in it, a
# time past the end of time, heads nested a thousand deep.
_DAMAGE = (
    *(tarfile.TarError, EOFError, OSError, zlib.error),
    *(ValueError, OverflowError, RecursionError),
)


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


def unpack(archive: Path | bytes, directory: Path, max_bytes: int = MAX_UNPACKED_BYTES) -> None:
    """Unpack a ``model.tar.gz`` into ``directory``, which must not exist yet.

    Args:
        archive: the file, or its bytes.
        directory: made, with the folders above it.
        max_bytes: of all files together.

    Raises:
        ArtifactError: it is damaged, too large unpacked, or holds what is no file or folder of its
            own. Nothing is left of it then.
        FileExistsError: the directory exists.
    """
    directory.mkdir(parents=True)
    try:
        source = archive if isinstance(archive, Path) else io.BytesIO(archive)
        with _Tape(source) as tape:
            with tarfile.open(fileobj=tape, mode="r:") as members:
                _extract(members, directory, max_bytes)
            tape.finish()
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, _DAMAGE):
            name = archive.name if isinstance(archive, Path) else "the archive"
            reason = getattr(error, "strerror", None) or error  # without the path, which is ours
            raise ArtifactError(f"{name} cannot be unpacked: {reason}") from None
        raise


class _Tape(gzip.GzipFile):
    """The tar, decompressed as it is read, so that a bomb is noticed while it unpacks.

    Args:
        source: the archive's path, or its bytes as a file.
    """

    def __init__(self, source: Path | io.BytesIO) -> None:
        if isinstance(source, Path):
            super().__init__(source, "rb")
        else:
            super().__init__(fileobj=source, mode="rb")

    def read(self, size: int | None = -1) -> bytes:
        # tarfile copies files in small pieces; only a head is asked for whole, whatever its size.
        if size is None or not 0 <= size <= _MAX_HEAD_BYTES:
            raise ArtifactError(f"the archive has a head over {_MAX_HEAD_BYTES} bytes")
        return super().read(size)

    def finish(self) -> None:
        """Read on from the end of the tar to that of the gzip, whose checksum is compared there."""
        for _ in range(_MAX_PADDING_BYTES // _MAX_HEAD_BYTES):
            if not self.read(_MAX_HEAD_BYTES):
                return
        raise ArtifactError("the archive goes on after its end")


def _extract(tape: tarfile.TarFile, directory: Path, max_bytes: int) -> None:
    unpacked = 0
    for number, member in enumerate(tape):
        if number == MAX_MEMBERS:
            raise ArtifactError(f"the archive has over {MAX_MEMBERS} members")
        if not (member.isreg() or member.isdir()):
            raise ArtifactError(f"{member.name!r} is a link or a device; only files are unpacked")
        if member.name.startswith("/"):
            raise ArtifactError(f"{member.name!r} is an absolute path")
        unpacked += member.size
        if unpacked > max_bytes:
            raise ArtifactError(f"the archive is over {max_bytes} bytes unpacked")
        tape.extract(member, directory, filter="data")  # refuses paths that lead out
