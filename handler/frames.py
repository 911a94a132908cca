"""The wire between MMS and its worker: big-endian frames, read and written here and nowhere else.

Source: Multi Model Server 1.1.11, ``ModelRequestEncoder`` and ``ModelResponseDecoder``. An integer
is an i32, a string is an i32 length and its bytes, a list ends with the i32 -1.
"""

import struct
from typing import NamedTuple

try:
    from handler._frames import open_invocation as open_invocation
except ImportError:  # there was no compiler

    def open_invocation(  # noqa: D103  # handler/_frames.pyi says what it is
        _: bytes, /
    ) -> tuple[bytes, float, str, str, str, bytes] | None:
        return None


_I32 = struct.Struct(">i")
_i32 = _I32.unpack_from
_END = _I32.pack(-1)
_LOAD, _INVOKE = ord("L"), ord("I")


class FrameError(Exception):
    """The bytes on a lane are not a frame: the lane is of no more use."""


class IncompleteError(Exception):
    """The frame goes on past the bytes received so far.

    Attributes:
        needed: the frame is not whole before so many bytes are here.
    """

    def __init__(self, needed: int) -> None:
        super().__init__()
        self.needed = needed


class Load(NamedTuple):
    """The first message on a lane: which service MMS thinks it starts."""

    name: str


class Invoke(NamedTuple):
    """One request on a lane (MMS is kept at batch size 1)."""

    request_id: bytes
    headers: dict[str, str]  # with lower-case names
    body: bytes


def read(data: bytes | bytearray) -> tuple[Load | Invoke, int]:
    """Read one frame from the start of ``data``.

    Returns:
        The message, and how many of the bytes it took.

    Raises:
        IncompleteError: more bytes must be received first; nothing was consumed.
        FrameError: the bytes are no frame.
    """
    if not data:
        raise IncompleteError(1)
    command = data[0]
    if command not in (_INVOKE, _LOAD):
        raise FrameError(f"unknown command {command}")
    try:
        return _read_invoke(data) if command == _INVOKE else _read_load(data)
    except struct.error:  # an integer lies beyond the end
        raise IncompleteError(len(data) + 1) from None


def _read_load(data: bytes | bytearray) -> tuple[Load, int]:
    name, at = _string(data, 1)
    _, at = _string(data, at)  # the model path
    _, at = _string(data, at + 4)  # the batch size, the handler
    _, at = _string(data, at + 4)  # the GPU, the lane's id
    return Load(name.decode()), at


def _read_invoke(data: bytes | bytearray) -> tuple[Invoke, int]:
    """Read request id, headers and parameters.

    A string that is cut short is found out by the integer that must come after it, so only the
    body, which can be long, is looked at before it is copied.
    """
    request_id, at = _string(data, 1)
    headers = {}
    while (length := _i32(data, at)[0]) >= 0:
        at += 4
        key = data[at : at + length]
        value, at = _string(data, at + length)
        headers[key.decode("latin-1").lower()] = value.decode("utf-8", "replace")
    at = _end_of_list(length, at)
    body = b""
    while (length := _i32(data, at)[0]) >= 0:
        at += 4
        name = data[at : at + length]
        _, at = _string(data, at + length)  # the MIME type, which the headers have in full
        value, at = _string(data, at)
        if name == b"body":
            body = value
    at = _end_of_list(length, at)
    if _i32(data, at)[0] != -1:
        raise FrameError("more than one request in a batch")
    return Invoke(request_id, headers, body), at + 4


def _string(data: bytes | bytearray, at: int) -> tuple[bytes, int]:
    """The string at a place, and the place after it."""
    (length,) = _i32(data, at)
    if length < 0:
        raise FrameError(f"a string of {length} bytes")
    start = at + 4
    end = start + length
    if end > len(data):
        raise IncompleteError(end)
    return bytes(memoryview(data)[start:end]), end


def _end_of_list(mark: int, at: int) -> int:
    if mark != -1:
        raise FrameError(f"a string of {mark} bytes")
    return at + 4


def loaded(name: str, pid: int) -> bytes:
    """The reply to a load. MMS reads the process id from the end of the message."""
    message = f"loaded model {name}. [PID]:{pid}".encode()
    return _I32.pack(200) + _I32.pack(len(message)) + message + _END


_PREDICTED = _I32.pack(200) + _I32.pack(18) + b"Prediction success"
_OK_NO_HEADERS = _I32.pack(200) + _I32.pack(2) + b"OK" + _I32.pack(0)


def answered(request_id: bytes, content_type: str, body: bytes) -> bytes:
    """The reply to one invoke.

    It carries no headers, ever: MMS reads a header list without waiting for all of its bytes, and
    closes the lane when they come in two reads. What the gate must know goes in front of the body.
    """
    kind = content_type.encode()
    return b"".join(
        (
            _PREDICTED,
            _I32.pack(len(request_id)),
            request_id,
            _I32.pack(len(kind)),
            kind,
            _OK_NO_HEADERS,
            _I32.pack(len(body)),
            body,
            _END,
        )
    )
