"""What each lane is doing, in memory that outlives the process that serves it.

The child writes; when it dies the parent reads here which lanes it may hand to the next child, and
which requests were inside and must be answered.
"""

import enum
import mmap
from typing import NamedTuple

MAX_LANES = 1024
# A slot: until when (a double), the request's id, the state.
_SLOT_BYTES, _ID_AT, _ID_BYTES = 64, 8, 36  # of the UUIDs that MMS makes
_STATE_AT = _ID_AT + _ID_BYTES
_DOUBLES = _SLOT_BYTES // 8  # in a slot


class State(enum.IntEnum):
    """A lane's state. READING and WRITING cannot be taken over: bytes are half way."""

    IDLE = 0
    READING = 1
    INSIDE = 2
    WRITING = 3


class Entry(NamedTuple):
    """What a lane was doing: the request, and when (CLOCK_MONOTONIC) nobody waits for it more."""

    until: float
    request_id: bytes
    state: State


class Ledger:
    """One slot a lane.

    Each store is one of the processor's, and the state comes last: whenever the writer dies, what
    is there was written as a whole. (``struct.pack_into`` fills the place with zeros first.)
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, MAX_LANES * _SLOT_BYTES)
        self._doubles = memoryview(self._memory).cast("d")
        self._beat = memoryview(mmap.mmap(-1, 8)).cast("d")

    def set(self, lane: int, state: State) -> None:
        """Say what a lane does."""
        self._memory[lane * _SLOT_BYTES + _STATE_AT] = state

    def inside(self, lane: int, request_id: bytes, until: float) -> None:
        """A lane's request is whole, and work on it begins.

        Without an id of the usual length nobody else can answer it: the lane is READING still.
        """
        if len(request_id) == _ID_BYTES:
            at = lane * _SLOT_BYTES
            self._doubles[lane * _DOUBLES] = until
            self._memory[at + _ID_AT : at + _STATE_AT] = request_id
            self._memory[at + _STATE_AT] = State.INSIDE
        else:
            self.set(lane, State.READING)

    def entry(self, lane: int) -> Entry:
        """What a lane does."""
        at = lane * _SLOT_BYTES
        request_id = self._memory[at + _ID_AT : at + _STATE_AT]
        state = State(self._memory[at + _STATE_AT])
        return Entry(self._doubles[lane * _DOUBLES], request_id, state)

    def beat(self, now: float) -> None:
        """The child's event loop runs at this time (CLOCK_MONOTONIC)."""
        self._beat[0] = now

    def last_beat(self) -> float:
        """When the child's event loop last ran."""
        return self._beat[0]
