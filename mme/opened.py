"""What a user points at, opened as the directory that the container would be given."""

import contextlib
import copy
import gzip
import io
import posixpath
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from mme import artifacts
from mme.artifacts import ArtifactError
from mme.errors import CommandError

ARCHIVE, DIRECTORY, FILE = "archive", "directory", "file"
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
_CODE = "code"  # the folder of a script
_GZIP = b"\x1f\x8b"
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_COMPRESSION = 6
_OF_CONTENT, _OF_HOLES = ("path", "size"), "GNU.sparse."  # records beside a head


def kind(path: Path) -> str:
    """What a path is: one of ``ARCHIVE``, ``DIRECTORY``, ``FILE``; by its bytes, where it can be.

    Raises:
        CommandError: it is not there, or cannot be read.
    """
    if path.is_dir():
        return DIRECTORY
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is not a regular file")
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    if path.name.endswith(ARCHIVE_SUFFIXES) or (packed and _begins_a_tar(path)):
        return ARCHIVE
    return FILE


def _begins_a_tar(path: Path) -> bool:
    """Whether there is a tar in the gzip; joblib compresses models likewise."""
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(path) as tape:
        return tape.read(_TAR_MAGIC_AT + len(_TAR_MAGIC)).startswith(_TAR_MAGIC, _TAR_MAGIC_AT)
    return False


@contextlib.contextmanager
def opened(path: Path, what: str) -> Iterator[Path]:
    """A directory that is as the platform would lay it out for the container.

    Args:
        path: a directory is taken as it is; what else there is goes into a temporary one.
        what: of ``kind``.

    Raises:
        ArtifactError: the archive may not be unpacked.
    """
    if what == DIRECTORY:
        yield path.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mme-") as folder:
        place = Path(folder).resolve() / "model"
        if what == ARCHIVE:
            artifacts.unpack(path, place)
        else:
            place.mkdir()
            shutil.copyfile(path, place / path.name)
        yield place


def others(place: Path, models: list[str]) -> list[str]:
    """What a directory holds beside its models: files, folders with a /, and what is in code/."""
    there = [f"{path.name}/" if path.is_dir() else path.name for path in place.iterdir()]
    code = (path for path in (place / _CODE).rglob("*") if path.is_file())
    there += [path.relative_to(place).as_posix() for path in code]
    return sorted(set(there) - {*models, f"{_CODE}/"})


def repack(archive: Path, new: Path, data: Mapping[str, bytes]) -> None:
    """Copy a ``model.tar.gz`` with other contents of some files. The same makes the same bytes.

    Args:
        archive: one that ``artifacts.unpack`` has unpacked, and so is sound.
        new: written; what is there is overwritten.
        data: what files at its top hold in the copy, by name.

    Raises:
        ArtifactError: one of these is not in it.
    """
    put = set()
    with (
        tarfile.open(archive, "r:gz") as old,
        new.open("wb") as file,
        gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tape,
    ):
        for member in old:
            name = posixpath.normpath(member.name)
            if name not in data:
                tape.addfile(_plain(member), old.extractfile(member))
                continue
            made = _plain(member)
            made.size = len(data[name])
            tape.addfile(made, io.BytesIO(data[name]))
            put.add(name)
    if left := sorted(set(data) - put):
        raise ArtifactError(f"{archive.name} has no {left[0]}")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member's head, for contents that may be others; also of one that was stored with holes."""
    made = copy.copy(member)
    made.type = tarfile.DIRTYPE if member.isdir() else tarfile.REGTYPE
    made.pax_headers = {
        key: value
        for key, value in member.pax_headers.items()
        if key not in _OF_CONTENT and not key.startswith(_OF_HOLES)
    }
    return made


def printable(text: str) -> str:
    """A text without what a stranger's names could do to a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
