"""What a user points at, opened as the directory that the container would be given."""

import contextlib
import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from mme import artifacts
from mme.errors import CommandError

ARCHIVE, DIRECTORY, FILE = "archive", "directory", "file"
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
_CODE = "code"  # the folder of a script
_GZIP = b"\x1f\x8b"
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257


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
