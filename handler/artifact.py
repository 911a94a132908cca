"""The artifact: the one model file in a directory, checked before XGBoost sees a byte of it.

XGBoost reads an empty buffer by ending the process, crashes on what it calls unsupported, and takes
a file of a newer release without a word and predicts something else. So what can be known from the
bytes is decided here.
"""

import contextlib
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from handler.booster import runtime_version
from handler.errors import Fault, HandlerError
from handler.formats import Format

Version = tuple[int, int, int]

SUFFIXES = (".json", ".ubj")
MANAGED_NAME = "xgboost-model"  # what training in the managed XGBoost container leaves
IGNORED = ("MANIFEST.json",)  # MMS would run the handler that it names
RUNTIME: Version = runtime_version()

_TAIL_BYTES = 64
_LISTED = 10  # names that an error message lists at most
# XGBoost writes its keys in order, so the version ends the file, whatever the release.
_JSON_TAIL = re.compile(rb'"version":\[(\d+),(\d+),(\d+)\]\}\s*$')
_UBJ_TAIL = re.compile(rb"L\0{7}\x07version\[#L\0{7}\x03i(.)i(.)i(.)\}$", re.DOTALL)
_JSON_HEAD = re.compile(rb'\s*\{\s*"')
_LEAF_SIZE = re.compile(rb'size_leaf_vector(?:SL.{8}|"\s*:\s*")(\d+)', re.DOTALL)
_LOGITRAW = b"binary:logitraw"
_ARCHIVES = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2"}
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257  # tar begins with the name of its first file
_VECTOR_LEAVES_SINCE = (3, 2)  # files of an older release crash this one
_LOGITRAW_SINCE = (1, 3, 1)  # before, it took its base score for a probability, then for a margin


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file that may be handed to XGBoost.

    Attributes:
        path: where it was found.
        format: told by its bytes; its name says nothing.
        version: of the XGBoost that wrote it; None in JSON that something else wrote again, where
            it takes reading all to find it (``check_rewritten`` does).
        data: the file, whole.
    """

    path: Path
    format: Format
    version: Version | None
    data: bytes


def find(
    directory: str | Path,
    runtime: Version = RUNTIME,
    admit: Callable[[int], None] = lambda _size: None,
) -> Artifact:
    """Find the one model in ``directory`` and check it, as far as that is quick.

    Args:
        directory: where its file is.
        runtime: the XGBoost that is to load it.
        admit: called with the bytes of each file before it is read; what it raises is passed on.

    Raises:
        HandlerError: 404 when there is no such directory, 500 with the reason when there is not one
            model in it that this runtime can serve.
    """
    directory = Path(directory)
    try:
        home = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a NUL in the path
        raise HandlerError(Fault.MODEL_NOT_FOUND, f"no such directory: {directory}") from None
    except OSError as error:
        _refuse(f"{directory} cannot be read: {error.strerror}")
    try:
        names = sorted(os.listdir(home))  # noqa: PTH208  # of a descriptor
        found = ((name, _read(home, name, admit)) for name in names if _is_candidate(name))
        files = {name: data for name, data in found if data is not None}
    finally:
        os.close(home)
    if len(files) > 1:
        files = {name: data for name, data in files.items() if _looks_like_a_model(data)} or files
    if len(files) > 1:
        _refuse(f"several model files: {_listed(list(files))}; leave one")
    if not files:
        seen = _listed(names) or "nothing"
        _refuse(f"no model file: found {seen}; accepted are *.json, *.ubj and {MANAGED_NAME}")
    name, data = files.popitem()
    form = _format(name, data)
    version = _version(name, form, data)
    if version is not None:
        _check_version(name, version, runtime, data)
    return Artifact(directory / name, form, version, data)


def check_rewritten(found: Artifact, runtime: Version = RUNTIME) -> None:
    """Check the version of JSON that something other than XGBoost wrote again.

    Raises:
        HandlerError: 500, this runtime cannot serve it, or it is no model.
    """
    name = found.path.name
    _check_version(name, _version_of_rewritten(name, found.data), runtime, found.data)


def size(directory: str | Path) -> int:
    """Bytes in the files of a directory, links not followed; 0 when it cannot be looked at."""
    try:
        with os.scandir(directory) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except (OSError, ValueError):
        return 0


def _is_candidate(name: str) -> bool:
    if name.startswith(".") or name in IGNORED:
        return False
    return name.endswith(SUFFIXES) or name == MANAGED_NAME


def _read(home: int, name: str, admit: Callable[[int], None]) -> bytes | None:
    """Read a regular file of the directory; None for a directory, or a link to one."""
    try:
        with _opened(home, name) as descriptor:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                return None
            if not stat.S_ISREG(status.st_mode):
                _refuse(f"{name} is not a regular file")
            admit(status.st_size)
            data = os.read(descriptor, status.st_size)
            while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
                data += more  # one call reads two gigabytes at most
            return data
    except OSError as error:
        _refuse(f"{name} cannot be read: {error.strerror}")


@contextlib.contextmanager
def _opened(home: int, name: str) -> Iterator[int]:
    """Open a file of the directory; a link is followed if it does not leave the directory."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe cannot hold us
    try:
        descriptor = os.open(name, flags, dir_fd=home)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        directory = os.path.realpath(f"/proc/self/fd/{home}")
        real = os.path.realpath(os.path.join(directory, name))  # noqa: PTH118  # not to be a Path
        if not real.startswith(f"{directory}/") and not os.path.isdir(real):  # noqa: PTH112  # as above
            _refuse(f"{name} is a link that leaves the model directory")
        descriptor = os.open(real, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _looks_like_a_model(data: bytes) -> bool:
    return data.startswith(b"{L") or (bool(_JSON_HEAD.match(data)) and b'"learner"' in data)


def _format(name: str, data: bytes) -> Format:
    if not data:
        _refuse(f"{name} is empty")
    if data.startswith(b"{L"):
        return Format.UBJ
    if _JSON_HEAD.match(data):
        return Format.JSON
    for magic, archive in _ARCHIVES.items():
        if data.startswith(magic):
            _refuse(f"{name} is a {archive} archive; unpack it into the model directory")
    if data.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
        _refuse(f"{name} is a tar archive; unpack it into the model directory")
    if data.startswith(b"\x80"):
        _refuse(f"{name} is a pickle; save the booster with save_model('model.ubj')")
    if data.startswith(b"binf") or b"\0" in data[:256]:
        _refuse(
            f"{name} is not JSON or UBJ, perhaps XGBoost's old binary format; load it with the "
            "release that wrote it and save it with save_model('model.json')"
        )
    _refuse(f"{name} is not an XGBoost model: it begins with {data[:20]!r}")


def _version(name: str, form: Format, data: bytes) -> Version | None:
    tail = data[-_TAIL_BYTES:]
    if form is Format.UBJ:
        if match := _UBJ_TAIL.search(tail):
            return (match[1][0], match[2][0], match[3][0])
        _refuse(f"{name} is damaged: it ends early or does not end as XGBoost ends a UBJ file")
    if match := _JSON_TAIL.search(tail):
        return (int(match[1]), int(match[2]), int(match[3]))
    return None


def _version_of_rewritten(name: str, data: bytes) -> Version:
    try:
        model = json.loads(data)
    except (ValueError, RecursionError):
        _refuse(f"{name} is damaged: it ends early or is not JSON")
    if "learner" not in model:
        _refuse(f"{name} is JSON, but not an XGBoost model: it has no learner")
    match model.get("version"):
        case [int(major), int(minor), int(patch)]:
            return (major, minor, patch)
    _refuse(f"{name} has no version; save it with save_model('model.ubj')")


def _check_version(name: str, version: Version, runtime: Version, data: bytes) -> None:
    wrote, runs = (".".join(map(str, numbers)) for numbers in (version, runtime))
    if version[:2] > runtime[:2]:
        _refuse(
            f"{name} was saved by XGBoost {wrote}, this server runs {runs} and could misread it; "
            f"save it with {runs} or serve it with a newer image"
        )
    if version[:2] < _VECTOR_LEAVES_SINCE <= runtime[:2] and _has_vector_leaves(data):
        _refuse(
            f"{name} has vector leaves as XGBoost {wrote} wrote them, which {runs} cannot read; "
            f"train it again with {runs}"
        )
    if version < _LOGITRAW_SINCE and _LOGITRAW in data:
        _refuse(
            f"{name} has the objective binary:logitraw as XGBoost {wrote} wrote it, which {runs} "
            f"misreads; load it with {runs}, set_param('base_score', log(p / (1 - p))) for its "
            "base score p (0 for the usual 0.5), and save it with save_model('model.ubj')"
        )


def _has_vector_leaves(data: bytes) -> bool:
    return any(int(match[1]) > 1 for match in _LEAF_SIZE.finditer(data))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _refuse(sentence: str) -> NoReturn:
    raise HandlerError(Fault.BAD_MODEL, sentence)
