"""The log: one JSON object a line, whatever is said and whoever reads."""

import fcntl
import os
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container import log
from tests.unit.container.support import piped, records

PAGE = 4096

texts = st.one_of(
    st.text(max_size=30), st.sampled_from(['"}\n{"event": "forged"}', "\ud800", "\r"])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)),
    max_leaves=8,
)
names = texts.filter(lambda name: name not in ("event", "time"))


def one_page() -> None:
    """Make the pipe as small as it can be."""
    fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, PAGE)


@settings(deadline=None)
@given(event=texts, details=st.dictionaries(names, values, max_size=3))
def test_one_object_a_line(event: str, details: dict[str, Any]) -> None:
    """Whatever the values, a call is one line, and the line says what was said."""
    with piped() as out:
        log.log(event, **details)
        (record,) = records(out)
        assert isinstance(record.pop("time"), float)
        assert record == {"event": event, **details}


def test_what_json_does_not_know() -> None:
    """Bytes, errors and paths are said as text."""
    with piped() as out:
        log.log("x", bytes=b"\xff\n", error=ValueError("why\n"), type=int)
        (record,) = records(out)
        del record["time"]
        said = {"bytes": "b'\\xff\\n'", "error": "why\n", "type": "<class 'int'>"}
        assert record == {"event": "x", **said}


def test_long_texts_are_cut() -> None:
    """A text is cut after 1000 characters, and says so."""
    with piped() as out:
        log.log("x", short="s" * 1000, long="l" * 1001)
        (record,) = records(out)
        assert record["short"] == "s" * 1000
        assert record["long"] == "l" * 1000 + "…"


def test_a_reader_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops nobody; what is not kept for it is counted, and it hears the count."""
    with piped() as out:
        monkeypatch.setattr(log, "_KEPT_LINES", 50)
        one_page()
        for number in range(500):
            log.log("x", number=number)
        *said, last = records(out)
        assert [record["number"] for record in said] == list(range(len(said)))
        assert len(said) >= 50
        assert (last["event"], last["lines"]) == ("log lines dropped", 500 - len(said))
        log.log("y")
        assert [record["event"] for record in records(out)] == ["y"]


def test_whole_lines_only() -> None:
    """Each write is of whole lines, so that nothing that others write can come between."""
    with piped() as out:
        one_page()
        lines = [b"%d " % number + b"x" * (number * 37 % 1500) + b"\n" for number in range(200)]
        for line in lines:
            log.say(line)
        said, writes = b"", 0
        log.flush()
        while piece := said_now(out):
            assert piece.endswith(b"\n")
            assert len(piece) <= PAGE
            said += piece
            writes += 1
            log.flush()
        assert said == b"".join(lines)
        assert writes < len(lines) / 2  # short lines share one


def said_now(out: int) -> bytes:
    """What has been written since the last time; nothing when that is nothing."""
    try:
        return os.read(out, 65536)
    except BlockingIOError:
        return b""


def test_many_lines_are_written_at_once() -> None:
    """Few lines wait for the next flush; of many no request has to wait for all."""
    with piped() as out:
        for number in range(99):
            log.say(b'{"number": %d}\n' % number)
        with pytest.raises(BlockingIOError):
            os.read(out, 1)
        log.say(b'{"number": 99}\n')
        assert not log._lines
        assert [record["number"] for record in records(out)] == list(range(100))


def test_lines_are_made_when_they_are_written() -> None:
    """A line that is still to be made is made once, when there is room for it."""
    with piped() as out:
        made: list[int] = []

        def line() -> bytes:
            made.append(len(made))
            return b'{"made": %d}\n' % len(made)

        one_page()
        log.say(b"first\n")
        log.flush()
        log.say(line)
        log.flush()
        assert not made
        assert said_now(out) == b"first\n"
        assert records(out) == [{"made": 1}]
        assert made == [0]


def test_flush_waits() -> None:
    """At the end it waits for who reads slowly, as long as it is told."""
    with piped() as out:
        one_page()
        os.set_blocking(out, True)
        lines = [b"%d " % number + b"x" * 1000 + b"\n" for number in range(50)]
        for line in lines:
            log.say(line)
        said = bytearray()

        def read() -> None:
            while len(said) < sum(map(len, lines)):
                said.extend(os.read(out, 700))

        reader = threading.Thread(target=read)
        reader.start()
        log.flush(30)
        reader.join(30)
        assert bytes(said) == b"".join(lines)


def test_nobody_reads_any_more() -> None:
    """When the reader has gone, there is nobody to tell, and the container goes on."""
    with piped() as out:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
        os.close(writing)
        for _ in range(3):
            log.log("x")
        assert said_now(out) == b""
