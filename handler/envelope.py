"""What the gate asks of the worker, in front of the client's own body.

HTTP headers would do, but each costs Multi Model Server as much as the worker needs for a row. So a
request of the gate has one content type, and a body that begins with an envelope: little-endian, a
head of 22 bytes, then five texts one after another, then what the client sent.
"""

import os
import struct

MEDIA_TYPE = "application/x-mme"

OPERATION, MODEL, UNTIL = "mme-operation", "mme-model", "mme-until"
CONTENT_TYPE, ACCEPT, ATTRIBUTES = "mme-content-type", "accept", "mme-attributes"
DIRECTORY = "mme-directory"

# The magic, the operation, a zero, until when (CLOCK_MONOTONIC), and the lengths of the texts.
_HEAD = struct.Struct("<2scxd5H")
_MAGIC = b"mm"
_OPERATIONS = {b"i": "invoke", b"l": "load", b"u": "unload", b"t": "try"}


class EnvelopeError(Exception):
    """The body of a request of the gate is none of its envelopes."""


def unseal(data: bytes) -> tuple[dict[str, str], bytes]:
    """Read an envelope.

    Returns:
        Headers by the names above, those that are not empty; and the client's body.

    Raises:
        EnvelopeError: it is none.
    """
    try:
        magic, letter, until, *lengths = _HEAD.unpack_from(data)
        operation = _OPERATIONS[letter]
    except (struct.error, KeyError):
        raise EnvelopeError from None
    body_at = _HEAD.size + sum(lengths)
    if magic != _MAGIC or body_at > len(data):
        raise EnvelopeError
    headers, at = {OPERATION: operation}, _HEAD.size
    for name, length in zip(
        (MODEL, CONTENT_TYPE, ACCEPT, ATTRIBUTES, DIRECTORY), lengths, strict=True
    ):
        if length:
            text = data[at : at + length]
            headers[name] = _decoded(name, text)
            at += length
    if until:
        headers[UNTIL] = repr(until)
    return headers, data[body_at:]


def _decoded(name: str, text: bytes) -> str:
    if name == DIRECTORY:
        return os.fsdecode(text)
    if name == MODEL:
        return text.decode("utf-8", "surrogateescape")
    return text.decode("utf-8", "replace")
