"""What the container says: one JSON object a line on standard output.

Nothing waits for who reads it: lines that do not fit into the pipe are kept, and when too many are
kept, dropped and counted.
"""

import json
import os
import select
import time
from collections import deque
from collections.abc import Callable

_KEPT_LINES = 10_000
_AT_ONCE_LINES = 100  # are written at once, so that no request waits for more of them
_PIPE_BYTES = 4096  # what a pipe that can be written to takes at once, whole (PIPE_BUF)
_VALUE_CHARACTERS = 1000  # of a text in a line, at most

Line = bytes | Callable[[], bytes]  # or what makes it, when it is written

_lines: deque[Line] = deque()
_dropped = 0


def log(event: str, **details: object) -> None:
    """Write one line. Every value is JSON, so nothing in it can forge a second line."""
    shown = {name: _cut(value) for name, value in details.items()}
    line = {"time": round(time.time(), 3), "event": event, **shown}
    say(json.dumps(line, default=str).encode() + b"\n")
    flush()


def say(line: Line) -> None:
    """Keep a line, whole, for the next ``flush``; when there are many, that is now."""
    global _dropped
    count = len(_lines)
    if count < _KEPT_LINES:
        _lines.append(line)
        if count % _AT_ONCE_LINES == _AT_ONCE_LINES - 1:
            flush()
    else:
        _dropped += 1


def flush(seconds: float = 0.0) -> None:
    """Write as much of what is kept as can be written while waiting so long for who reads."""
    global _dropped
    writable = select.poll()
    writable.register(1, select.POLLOUT)
    until = time.monotonic() + seconds
    while _lines:
        left = max(0.0, until - time.monotonic())
        if not any(events & select.POLLOUT for _, events in writable.poll(1000 * left)):
            return
        block = _first()
        _lines.popleft()
        while _lines and len(block) + len(_first()) <= _PIPE_BYTES:
            block += _first()
            _lines.popleft()
        try:
            os.write(1, block)
        except OSError:  # nobody reads any more
            return
        if _dropped and not _lines:
            count, _dropped = _dropped, 0
            log("log lines dropped", lines=count)


def _first() -> bytes:
    line = _lines[0]
    if not isinstance(line, bytes):
        line = _lines[0] = line()
    return line


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > _VALUE_CHARACTERS:
        return value[:_VALUE_CHARACTERS] + "…"
    return value
