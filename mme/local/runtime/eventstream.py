"""Frames of AWS's event streams: two lengths, headers, a payload, two checksums."""

import json
import struct
import zlib
from collections.abc import Mapping

_STRING = 7  # the type of a header's value
_PRELUDE, _CHECKSUM = 12, 4  # bytes


def payload(part: bytes) -> bytes:
    """A ``PayloadPart`` event."""
    headers = {
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    return _frame(headers, part)


def failure(kind: str, message: str) -> bytes:
    """An exception in the middle of a stream."""
    headers = {
        ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return _frame(headers, json.dumps({"Message": message}).encode())


def _frame(headers: Mapping[str, str], body: bytes) -> bytes:
    head = b"".join(
        struct.pack(f">B{len(name)}sBH", len(name), name.encode(), _STRING, len(value))
        + value.encode()
        for name, value in headers.items()
    )
    total = _PRELUDE + len(head) + len(body) + _CHECKSUM
    prelude = struct.pack(">II", total, len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + body
    return message + struct.pack(">I", zlib.crc32(message))
