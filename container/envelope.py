"""What the gate asks of a worker: an envelope in front of the client's own body.

HTTP headers would do, but each costs MMS as much as the worker needs for a row. Little-endian, a
head of 22 bytes, then five texts, whose lengths it says, then what the client sent.
"""

import struct

from container.faults import Fault, FaultError

INVOKE, LOAD, UNLOAD, TRY = b"i", b"l", b"u", b"t"
MAX_PASSED_ON_BYTES = 1024  # of one header; as much as the platform takes
HEAD = (  # of a shard's name; then of a length
    b"POST /predictions/%b HTTP/1.1\r\nContent-Type: application/x-mme\r\n"
    b"Content-Length: %%d\r\n\r\n"
)
NOTHING = (b"", b"", b"")
_CONTENT_TYPE, _ACCEPT = b"content-type", b"accept"
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
# The magic, the operation, a zero, until when (CLOCK_MONOTONIC) somebody waits, and the lengths of
# the model's name, the three of the client's headers and the directory of the model's files.
_ENVELOPE = struct.Struct("<2scxd5H")
_pack, _SIZE = _ENVELOPE.pack, _ENVELOPE.size

Texts = tuple[bytes, bytes, bytes]


def passed_on(headers: dict[bytes, bytes]) -> Texts:
    """The client's headers that the worker needs: content type, accept, custom attributes.

    Raises:
        FaultError: one is too long, or is not what the platform lets through.
    """
    get = headers.get
    content_type, accept = get(_CONTENT_TYPE, b""), get(_ACCEPT, b"")
    attributes = get(_ATTRIBUTES, b"")
    most = MAX_PASSED_ON_BYTES
    if len(content_type) > most or len(accept) > most or len(attributes) > most:
        names = _CONTENT_TYPE, _ACCEPT, _ATTRIBUTES
        name = next(name for name in names if len(get(name, b"")) > most)
        raise FaultError(Fault.BAD_REQUEST, f"{name.decode()} is over {most} bytes")
    if not attributes.isascii():
        sentence = f"{_ATTRIBUTES.decode()} has characters that are not ASCII"
        raise FaultError(Fault.BAD_REQUEST, sentence)
    return content_type, accept, attributes


def seal(
    head: bytes,
    operation: bytes,
    until: float,
    name: bytes,
    texts: Texts,
    directory: bytes,
    body: bytes,
) -> bytes:
    """A whole request to MMS.

    Args:
        head: of a shard; what ``HEAD`` is with the shard's name.
        operation: one of the above.
        until: ``time.monotonic()`` after which nobody waits.
        name: of the model.
        texts: as ``passed_on`` gives them.
        directory: of the model's files, where the operation needs it.
        body: the client's.
    """
    content_type, accept, attributes = texts
    lengths = len(name), len(content_type), len(accept), len(attributes), len(directory)
    return b"".join(
        (
            head % (_SIZE + sum(lengths) + len(body)),
            _pack(b"mm", operation, until, *lengths),
            name,
            content_type,
            accept,
            attributes,
            directory,
            body,
        )
    )
