"""The ledger: what one process writes another reads, whenever the writer dies."""

import contextlib
import itertools
import os
import signal
import struct
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.ledger import MAX_LANES, Entry, Ledger, State

SECONDS = 30  # that anything here may take
LAST = MAX_LANES - 1
FIRST = Entry(0.0, bytes(36), State.IDLE)  # of a lane that nothing was said about
ID = b"0123456789abcdef0123456789abcdef0123"
Writes = list[tuple[Any, ...]]  # a method of the ledger, and what it is given

quick = settings(deadline=None, max_examples=200)
# Neighbours above all, and those at both ends.
lanes = st.sampled_from([0, 1, 2, 63, 64, LAST - 1, LAST]) | st.integers(0, LAST)
writes = st.one_of(
    st.tuples(st.just("set"), lanes, st.sampled_from(State)),
    st.tuples(st.just("inside"), lanes, st.binary(min_size=36, max_size=36), st.floats(0)),
    st.tuples(st.just("beat"), st.floats(0)),
)


@contextlib.contextmanager
def process(be: Callable[[], None]) -> Iterator[int]:
    """A copy of this process, which is killed if it is there for longer than it is wanted."""
    with warnings.catch_warnings():  # of the threads of libraries, which it does not need
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        status = 1
        try:
            be()
            status = 0
        finally:
            os._exit(status)
    try:
        yield pid
    finally:
        with contextlib.suppress(ChildProcessError):  # it was waited for
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def run(be: Callable[[], None]) -> None:
    """Have another process do something, and wait for it."""
    with process(be) as pid:
        wait_until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert os.waitpid(pid, 0) == (pid, 0)


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another process does, but not for ever."""
    give_up = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < give_up
        os.sched_yield()


def write(ledger: Ledger, sequence: Writes) -> None:
    """Write one thing after another."""
    for name, *arguments in sequence:
        getattr(ledger, name)(*arguments)


def read(ledger: Ledger) -> tuple[list[Entry], float]:
    """All that it says."""
    return [ledger.entry(lane) for lane in range(MAX_LANES)], ledger.last_beat()


def test_nothing_yet() -> None:
    """Every lane of a new ledger is idle, and no loop has run."""
    assert read(Ledger()) == ([FIRST] * MAX_LANES, 0.0)


@given(sequence=st.lists(writes, max_size=30))
@quick
def test_writes(sequence: Writes) -> None:
    """Each write changes what it says, and nothing of any other lane."""
    ledger = Ledger()
    entries, beat = read(ledger)
    for name, *arguments in sequence:
        write(ledger, [(name, *arguments)])
        if name == "beat":
            (beat,) = arguments
        elif name == "set":
            lane, state = arguments
            entries[lane] = entries[lane]._replace(state=state)
        else:
            lane, request_id, until = arguments
            entries[lane] = Entry(until, request_id, State.INSIDE)
    assert read(ledger) == (entries, beat)


@given(lane=lanes, request_id=st.binary(max_size=80), before=st.sampled_from(State))
@quick
def test_ids_of_other_lengths(lane: int, request_id: bytes, before: State) -> None:
    """A request whose id has no place here cannot be answered by the parent: its lane is lost."""
    ledger = Ledger()
    ledger.set(lane, before)
    ledger.inside(lane, request_id, 1.0)
    entries, beat = read(ledger)
    whole = len(request_id) == len(ID)
    assert entries[lane].state is (State.INSIDE if whole else State.READING)
    assert not whole or entries[lane].request_id == request_id
    assert (entries[:lane] + entries[lane + 1 :], beat) == ([FIRST] * LAST, 0.0)


def test_lanes_beyond_the_last() -> None:
    """There is no room for one more, and trying does no harm to the others."""
    ledger = Ledger()
    with pytest.raises(IndexError):
        ledger.set(MAX_LANES, State.INSIDE)
    with pytest.raises((IndexError, ValueError, struct.error)):
        ledger.inside(MAX_LANES, ID, 1.0)
    assert read(ledger)[0] == [FIRST] * MAX_LANES


@given(sequence=st.lists(writes, max_size=10), more=st.lists(writes, max_size=10))
@settings(quick, max_examples=25)
def test_two_processes(sequence: Writes, more: Writes) -> None:
    """What two processes write, one after the other, both read; that of the dead one stays."""
    ledger, other, alone = Ledger(), Ledger(), Ledger()
    write(alone, sequence + more)
    write(ledger, sequence)
    run(lambda: write(ledger, more))
    assert read(ledger) == read(alone)
    assert read(other) == ([FIRST] * MAX_LANES, 0.0)


def test_beats_are_seen_as_they_come() -> None:
    """Each of two processes sees the other's beat while both run."""
    mine, theirs = Ledger(), Ledger()

    def answer() -> None:
        for beat in range(1, 101):
            wait_until(lambda: mine.last_beat() >= beat)  # noqa: B023  # it is called here
            theirs.beat(beat)

    with process(answer) as pid:
        for beat in range(1, 101):
            mine.beat(beat)
            wait_until(lambda: theirs.last_beat() >= beat)  # noqa: B023  # likewise
        assert os.waitpid(pid, 0) == (pid, 0)


class Late:
    """A number that is looked at when it is written: so is the ledger in that moment."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look, self.seen = look, list[object]()

    def __float__(self) -> float:
        self.seen.append(self._look())
        return 2.0


def test_half_an_entry() -> None:
    """Until the state is written nothing has changed: a lane that reads does so until then."""
    ledger = Ledger()
    ledger.set(3, State.READING)
    late: Any = Late(lambda: ledger.entry(3).state)
    ledger.inside(3, ID, late)
    assert set(late.seen) <= {State.READING}
    assert ledger.entry(3) == Entry(2.0, ID, State.INSIDE)


def test_half_a_beat() -> None:
    """Until the new beat is written there is the one before it."""
    ledger = Ledger()
    ledger.beat(1.0)
    late: Any = Late(ledger.last_beat)
    ledger.beat(late)
    assert set(late.seen) <= {1.0}
    assert ledger.last_beat() == 2.0


def test_a_writer_that_is_killed() -> None:
    """Whenever that is, its lane reads, or a request is inside as a whole."""
    ledger = Ledger()
    seen = set()

    def be() -> None:
        for number in itertools.count(1):
            ledger.set(LAST, State.READING)
            ledger.inside(LAST, b"%036d" % number, number)
            ledger.set(0, State.WRITING)

    for _ in range(100):
        ledger.set(0, State.IDLE)
        with process(be) as pid:
            wait_until(lambda: ledger.entry(0).state is State.WRITING)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        entry = ledger.entry(LAST)
        seen.add(entry.state)
        assert entry.state in (State.READING, State.INSIDE)
        assert entry.state is State.READING or int(entry.request_id) == entry.until
        ledger.set(LAST, State.IDLE)  # as the parent does for the next
        assert ledger.entry(LAST) == entry._replace(state=State.IDLE)
    assert State.INSIDE in seen
