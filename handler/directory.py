"""A model's directory: which of its files are models, and what else in it is meant for us.

As the managed XGBoost container does, every file at the top counts, whatever it is called; its
bytes say what it is. A name can only claim to be a model: one that claims so and is none is a
mistake that is named, never passed over.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from handler.artifact import Artifact
from handler.errors import Fault, HandlerError
from handler.formats import Format
from handler.formats.sniff import sniff
from handler.model_settings import ModelSettings

MANAGED_NAME = "xgboost-model"  # what training in the managed container leaves, or begins with
SETTINGS_NAME = "mme.json"
CODE = "code"  # the folder of a user's script
_IGNORED = ("MANIFEST.json", SETTINGS_NAME)  # MMS would run the handler that the first one names

_MOST_MODELS = 50
_LISTED = 10  # names that an error message lists at most
_HEAD_BYTES = 512
_SETTINGS_BYTES = 64 * 1024
_JSON_HEAD = re.compile(rb'\s*\{\s*"')
# Files with these names are models, or somebody's mistake. JSON can be anything.
_CLAIMS = (
    *(".ubj", ".ubjson", ".model", ".bst", ".xgb", ".pkl", ".pickle", ".joblib"),
    *(".deprecated", ".rawdep"),
)
_ARCHIVES = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2"}
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257  # tar begins with the name of its first file

Admit = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a model's directory holds.

    Attributes:
        directory: where.
        models: its model files, by name; none only where there is a script.
        settings: of ``mme.json``, or the usual ones.
        script: the user's program, if there is one.
    """

    directory: Path
    models: tuple[Artifact, ...]
    settings: ModelSettings = field(default_factory=ModelSettings)
    script: Path | None = None

    @property
    def size(self) -> int:
        """Bytes of the model files."""
        return sum(len(model.data) for model in self.models)


def find(
    directory: str | Path, program: str = "inference.py", admit: Admit = lambda _size: None
) -> Found:
    """Look what there is, as far as that is quick.

    Args:
        directory: where the model's files are.
        program: what the user's program is called, in the folder ``code``.
        admit: called with the bytes of each file before it is read; what it raises is passed on.

    Raises:
        HandlerError: 404 when there is no such directory, 500 with the reason when there is no
            model in it.
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
        settings = ModelSettings()
        if SETTINGS_NAME in names and (data := _read(home, SETTINGS_NAME, _small)) is not None:
            settings = ModelSettings.from_json(data)
        program_file = directory / CODE / program
        script = program_file if CODE in names and program_file.is_file() else None
        models = _models(directory, home, names, admit, scripted=script is not None)
    finally:
        os.close(home)
    if not models and script is None:
        seen = _listed(names) or "nothing"
        _refuse(
            f"no model file: found {seen}; a model is what XGBoost's save_model or pickle writes, "
            f"such as model.ubj or {MANAGED_NAME}"
        )
    return Found(directory, models, settings, script)


def size(directory: str | Path) -> int:
    """Bytes in the files of a directory, links not followed; 0 when it cannot be looked at."""
    try:
        with os.scandir(directory) as entries:
            return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
    except (OSError, ValueError):
        return 0


def _models(
    directory: Path, home: int, names: list[str], admit: Admit, *, scripted: bool
) -> tuple[Artifact, ...]:
    """The model files, by name; what others are, a script may know."""
    models: list[Artifact] = []
    others: dict[str, bytes] = {}  # that might have been meant as one, with how they begin
    for name in names:
        if name.startswith(".") or name in _IGNORED:
            continue
        data = _read(home, name, admit, _could_be_a_model)
        if data is None:
            continue
        form = sniff(data)
        if form is None or (form is Format.JSON and b'"learner"' not in data):
            others[name] = data
        else:
            models.append(Artifact(directory / name, form, data))
        if len(models) > _MOST_MODELS:
            _refuse(f"more than {_MOST_MODELS} model files; an ensemble has at most so many")
    for name, data in () if scripted else others.items():
        if _claims(name) or (not models and _means_to_be(name)):
            _refuse_other(name, data)
    return tuple(models)


def _claims(name: str) -> bool:
    return name.startswith(MANAGED_NAME) or name.endswith(_CLAIMS)


def _means_to_be(name: str) -> bool:
    return _claims(name) or name.endswith(".json")


def _could_be_a_model(name: str, head: bytes) -> bool:
    """Whether a file is worth reading whole."""
    return _means_to_be(name) or bool(
        head.startswith((b"{L", b"\x80", b"binf")) or _JSON_HEAD.match(head) or b"\0" in head[:136]
    )


def _refuse_other(name: str, data: bytes) -> NoReturn:
    if not data:
        _refuse(f"{name} is empty")
    for magic, archive in _ARCHIVES.items():
        if data.startswith(magic):
            _refuse(f"{name} is a {archive} archive; unpack it into the model directory")
    if data.startswith(_TAR_MAGIC, _TAR_MAGIC_AT):
        _refuse(f"{name} is a tar archive; unpack it into the model directory")
    if _JSON_HEAD.match(data):
        _refuse(f"{name} is JSON, but not an XGBoost model, or damaged: it has no learner")
    if data.startswith(b"binf") or b"\0" in data[:256]:
        _refuse(f"{name} is damaged, or not an XGBoost model: it begins with {data[:20]!r}")
    _refuse(f"{name} is not an XGBoost model: it begins with {data[:20]!r}")


def _small(size: int) -> None:
    if size > _SETTINGS_BYTES:
        _refuse(f"{SETTINGS_NAME} has {size} bytes; at most {_SETTINGS_BYTES} are read")


def _read(
    home: int, name: str, admit: Admit, wanted: Callable[[str, bytes], bool] | None = None
) -> bytes | None:
    """Read a regular file of the directory; None for what is none, or is not wanted."""
    try:
        with _opened(home, name) as descriptor:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                return None
            if not stat.S_ISREG(status.st_mode):
                _refuse(f"{name} is not a regular file")
            if wanted is not None and not wanted(name, os.pread(descriptor, _HEAD_BYTES, 0)):
                return None
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


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _refuse(sentence: str) -> NoReturn:
    raise HandlerError(Fault.BAD_MODEL, sentence)
