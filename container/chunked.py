"""Chunked bodies, decoded strictly: a size is refused when it is read, not when its bytes are here.

Source: RFC 9112, section 7.1. httptools does not say a chunk's size before the chunk is there.
"""

import enum
import re

MAX_LINE_BYTES = 1024  # a size with its extensions, or a trailer
MAX_TRAILERS = 32
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")


class ChunkError(Exception):
    """The bytes are not a chunked body; the message says why."""


class TooLargeError(Exception):
    """The body is, or with the next chunk would be, over the limit."""


class _Next(enum.Enum):
    SIZE = enum.auto()
    DATA = enum.auto()
    END_OF_DATA = enum.auto()
    TRAILER = enum.auto()


class Chunked:
    """One body.

    Args:
        limit: bytes that it may have.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit  # bytes that may still come
        self._next = _Next.SIZE
        self._chunk = 0  # bytes that are missing of this chunk
        self._line = b""
        self._trailers = 0
        self.complete = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take bytes from the wire.

        Returns:
            Parts of the body, and what follows the body's end.

        Raises:
            ChunkError: they are not a chunked body.
            TooLargeError: the body is over the limit.
        """
        parts = []
        while data and not self.complete:
            if self._next is _Next.DATA:
                part, data = data[: self._chunk], data[self._chunk :]
                parts.append(part)
                self._chunk -= len(part)
                if not self._chunk:
                    self._next = _Next.END_OF_DATA
                continue
            line, end, rest = (self._line + data).partition(b"\r\n")
            if len(line) > MAX_LINE_BYTES:
                raise ChunkError("a line of a chunked body is too long")
            if not end:
                self._line = line
                return parts, b""
            self._line, data = b"", rest
            self._take_line(line)
        return parts, data

    def _take_line(self, line: bytes) -> None:
        if b"\n" in line or b"\r" in line:
            raise ChunkError("a bare line end in a chunked body")
        if self._next is _Next.END_OF_DATA:
            if line:
                raise ChunkError("a chunk is longer than its size")
            self._next = _Next.SIZE
        elif self._next is _Next.TRAILER:
            self.complete = not line
            self._trailers += 1
            if self._trailers > MAX_TRAILERS:
                raise ChunkError("too many trailers")
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                raise ChunkError("a chunk's size is not a hexadecimal number")
            self._chunk = int(size[1], 16)
            self._left -= self._chunk
            if self._left < 0:
                raise TooLargeError
            self._next = _Next.DATA if self._chunk else _Next.TRAILER
