"""The access log: one JSON line a request, but for the platform's polls."""

import functools
import itertools
import json
import os
import time

from container import log
from container.messages import TARGET, Request, Response

_QUIET = (b"/ping", b"/metrics")
_ID_BYTES = 6
_SHOWN_BYTES = 300  # of a path or a message
_READ_BYTES = 4096  # of an error, to find its message

_LINE = (
    b'{"time": %.3f, "event": "request", "id": "%b", "method": "%b", "status": %d, '
    b'"in": %d, "out": %d, "queue_ms": %.3f, "model_ms": %.3f'
)
_PLAIN_LINE = (
    b'{"time": %.3f, "event": "request", "id": "%b", "method": "POST", "status": 200, '
    b'"in": %d, "out": %d, "queue_ms": %.3f, "model_ms": %.3f, "path": "%b"%b%b}\n'
)
_MODELS = b"/models/"

_start = os.urandom(_ID_BYTES).hex()
_number = itertools.count(1)


def new_id() -> bytes:
    """An id for a request that no other has."""
    return b"%b-%x" % (_start.encode(), next(_number))


def note(identity: bytes, request: Request, response: Response) -> None:
    """Keep a line for the log; ``log.flush`` writes it. Polls that went well are not worth one."""
    path = request.target.partition(b"?")[0]
    failed = response.status >= 400
    polled = path in _QUIET or (path == b"/models" and request.method == b"GET")
    if polled and not failed:
        return
    now = time.monotonic()
    sent, answered = request.sent_at or now, request.answered_at or now
    line = functools.partial(
        _line,
        path,
        request.headers.get(TARGET, b""),
        response.body[:_READ_BYTES] if failed else b"",
        (
            time.time(),
            identity,
            request.method,
            response.status,
            len(request.body),
            len(response.body),
            max(0.0, sent - request.received_at) * 1000,
            max(0.0, answered - sent) * 1000,
        ),
    )
    log.say(line)


def plain_line(
    identity: bytes,
    path: bytes,
    target: bytes,
    sizes: tuple[int, int],
    times: tuple[float, float, float],
) -> bytes:
    """The line of an invocation that was answered with 200.

    Args:
        identity: of the request.
        path: that it was sent to; visible ASCII without quotes or backslashes, and no query.
        target: the name that the client asked the platform for.
        sizes: of the request's body and the answer's.
        times: when it was received, sent to a shard and answered (``time.monotonic()``).
    """
    received, sent, answered = times
    at = time.time() - time.monotonic() + answered
    shown = path[:_SHOWN_BYTES]
    model = asked = b""
    if path.startswith(_MODELS):
        model = b', "model": "%b"' % path.split(b"/", 3)[2][:_SHOWN_BYTES]
    if target:
        asked = b', "target": %b' % _quoted(target[:_SHOWN_BYTES])
    waited, took = (sent - received) * 1000, (answered - sent) * 1000
    return _PLAIN_LINE % (at, identity, *sizes, waited, took, shown, model, asked)


def _line(path: bytes, target: bytes, error: bytes, fields: tuple[object, ...]) -> bytes:
    line = _LINE % fields + b', "path": %b' % _quoted(path[:_SHOWN_BYTES])
    parts = path.split(b"/", 3)
    if len(parts) > 2:
        line += b', "model": %b' % _quoted(parts[2][:_SHOWN_BYTES])
    if target:
        line += b', "target": %b' % _quoted(target[:_SHOWN_BYTES])
    if error:
        line += b', "error": %b' % json.dumps(sentence_of(error)).encode()
    return line + b"}\n"


def sentence_of(error: bytes) -> str:
    """What an error says; of a body that is none of ours, how it begins."""
    try:
        return str(json.loads(error)["message"])[:_SHOWN_BYTES]
    except (ValueError, TypeError, KeyError, RecursionError):
        return error[:_SHOWN_BYTES].decode("utf-8", "replace")


@functools.lru_cache(8192)
def _quoted(text: bytes) -> bytes:
    """What a client sent, as JSON: it can forge nothing."""
    return json.dumps(text.decode("latin-1")).encode()
