"""What a load request may name: a model's name, and a directory below the model root."""

import json
import os
import stat
from pathlib import Path
from typing import NamedTuple

from container.faults import Fault, FaultError

MAX_NAME_BYTES = 256
_REFUSED_FIELDS = ("handler", "runtime")  # MMS would run the code that these name


class LoadRequest(NamedTuple):
    """What to load, checked."""

    name: str
    url: str
    directory: str


def read_load_request(body: bytes, model_root: Path) -> LoadRequest:
    """Check the body of ``POST /models``.

    Raises:
        FaultError: 400 for what may not be asked, 404 for a directory that is not there.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise _bad("the body must be a JSON object with model_name and url")
    name, url = fields.get("model_name"), fields.get("url")
    if not isinstance(name, str) or not isinstance(url, str):
        raise _bad("the body must be a JSON object with model_name and url, both strings")
    for field in _REFUSED_FIELDS:
        if fields.get(field) is not None:
            raise _bad(f"{field} is not accepted: a model cannot choose the code that serves it")
    return LoadRequest(check_name(name), url, check_url(url, model_root))


def check_name(name: str) -> str:
    """Return the name if a model may be called so.

    Raises:
        FaultError: 400, with what a name must be.
    """
    sound = (
        name
        and name[0] not in "-."
        and "/" not in name
        and name.isprintable()
        and len(name.encode()) <= MAX_NAME_BYTES
    )
    if not sound:
        raise _bad(
            f"the name of a model is 1 to {MAX_NAME_BYTES} bytes of printable characters, "
            "has no slash and does not begin with a dash or a dot"
        )
    return name


def check_url(url: str, model_root: Path) -> str:
    """Return the directory that ``url`` means, with links resolved.

    Raises:
        FaultError: 400 when it is not below the model root, in the same words whether or not it
            exists; 404 when it would be and does not exist.
    """
    directory = _resolved(url) if url.startswith("/") and "\0" not in url else ""
    if not directory.startswith(f"{_resolved(str(model_root)).rstrip('/')}/"):
        raise _bad(f"the url must be a directory below the model root {model_root}")
    try:
        mode = os.stat(directory).st_mode  # noqa: PTH116  # a Path costs as much as all the rest
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "no such directory" if missing else error.strerror
        raise FaultError(Fault.MODEL_NOT_FOUND, f"Model not found: {reason}: {url}") from None
    if not stat.S_ISDIR(mode):
        raise _bad(f"the url must be a directory with an unpacked model, not a file: {url}")
    return directory


def _resolved(path: str) -> str:
    """The path without links, as the kernel sees it; step by step if there is no such file."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return os.path.realpath(path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115  # as above
    finally:
        os.close(descriptor)


def _bad(sentence: str) -> FaultError:
    return FaultError(Fault.BAD_REQUEST, sentence)
