"""What the gate's unit tests share."""

import contextlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from unittest import mock

from container import log


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces, none of them empty; places beyond its end do not count."""
    ends = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[start:end] for start, end in pairwise(ends)]


@contextlib.contextmanager
def piped() -> Iterator[int]:
    """Standard output as the container has it, a pipe, and a log that has said nothing yet.

    Gives the end from which to read, which does not block.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    before = os.dup(1)
    os.dup2(writing, 1)
    os.close(writing)
    try:
        with mock.patch.multiple(log, _lines=deque(), _dropped=0):
            yield reading
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(reading)


def records(out: int) -> list[dict[str, Any]]:
    """Read all that the log says, as long as it says something: every line is an object."""
    said = b""
    while True:
        log.flush()
        try:
            said += os.read(out, 65536)
        except BlockingIOError:
            break
    assert said.endswith(b"\n") or not said
    found = [json.loads(line) for line in said.split(b"\n")[:-1]]
    assert all(isinstance(record, dict) for record in found)
    return found
