"""The wire between MMS and its worker: big-endian frames, read and written here and nowhere else.

Source: Multi Model Server 1.1.11, ``ModelRequestEncoder`` and ``ModelResponseDecoder``. An integer
is an i32, a string is an i32 length and its bytes, a list ends with the i32 -1.
"""

import struct
from dataclasses import dataclass

_I32 = struct.Struct(">i")
_END = _I32.pack(-1)
_NO_HEADERS = _I32.pack(0)
_OK = _I32.pack(200)
_MESSAGE = b"Prediction success"
_REASON = b"OK"
_LOAD, _INVOKE = ord("L"), ord("I")


class FrameError(Exception):
    """The bytes on a lane are not a frame: the lane is of no more use."""


class IncompleteError(Exception):
    """The frame goes on past the bytes received so far."""


@dataclass(frozen=True, slots=True)
class Load:
    """The first message on a lane: which service MMS thinks it starts."""

    name: str


@dataclass(frozen=True, slots=True)
class Invoke:
    """One request on a lane (MMS is kept at batch size 1)."""

    request_id: bytes
    headers: dict[str, str]
    body: bytes


class _Reader:
    """A position in a buffer that may not hold the whole frame yet."""

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self.at = 1  # past the command byte

    def i32(self) -> int:
        start, self.at = self.at, self.at + 4
        if self.at > len(self._buffer):
            raise IncompleteError
        return int(_I32.unpack_from(self._buffer, start)[0])

    def take(self, length: int) -> bytes:
        if length < 0:
            raise FrameError(f"a string of {length} bytes")
        start, self.at = self.at, self.at + length
        if self.at > len(self._buffer):
            raise IncompleteError
        return bytes(memoryview(self._buffer)[start : self.at])

    def string(self) -> bytes:
        return self.take(self.i32())


def read(buffer: bytearray) -> tuple[Load | Invoke, int]:
    """Read one frame from the start of ``buffer``.

    Returns:
        The message, and how many bytes of the buffer it took.

    Raises:
        IncompleteError: more bytes must be received first; nothing was consumed.
        FrameError: the bytes are no frame.
    """
    if not buffer:
        raise IncompleteError
    reader = _Reader(buffer)
    if buffer[0] == _INVOKE:
        message: Load | Invoke = _read_invoke(reader)
    elif buffer[0] == _LOAD:
        message = _read_load(reader)
    else:
        raise FrameError(f"unknown command {buffer[0]}")
    return message, reader.at


def _read_load(reader: _Reader) -> Load:
    name = reader.string()
    reader.string()  # the model path
    reader.i32()  # the batch size
    reader.string()  # the handler
    reader.i32()  # the GPU
    reader.string()  # the lane's id
    return Load(name.decode())


def _read_invoke(reader: _Reader) -> Invoke:
    request_id = reader.string()
    headers: dict[str, str] = {}
    while (length := reader.i32()) != -1:
        key = reader.take(length).decode("latin-1").lower()
        headers[key] = reader.string().decode("utf-8", "replace")
    body = b""
    while (length := reader.i32()) != -1:
        name = reader.take(length)
        reader.string()  # the MIME type, which the headers have in full
        value = reader.string()
        if name == b"body":
            body = value
    if reader.i32() != -1:
        raise FrameError("more than one request in a batch")
    return Invoke(request_id, headers, body)


def _string(data: bytes) -> bytes:
    return _I32.pack(len(data)) + data


def loaded(name: str, pid: int) -> bytes:
    """The reply to a load. MMS reads the process id from the end of the message."""
    return _OK + _string(f"loaded model {name}. [PID]:{pid}".encode()) + _END


def answered(request_id: bytes, content_type: str, body: bytes) -> bytes:
    """The reply to one invoke.

    It carries no headers, ever: MMS reads a header list without waiting for all of its bytes, and
    closes the lane when they come in two reads. What the gate must know goes in front of the body.
    """
    return b"".join(
        (
            _OK,
            _string(_MESSAGE),
            _string(request_id),
            _string(content_type.encode()),
            _OK,
            _string(_REASON),
            _NO_HEADERS,
            _string(body),
            _END,
        )
    )
