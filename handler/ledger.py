"""What each lane is doing, in memory that outlives the process that serves it.

The child writes; when it dies the parent reads here which lanes it may hand to the next child, and
which requests were inside and must be answered.
"""

import enum
import mmap
import struct
from typing import NamedTuple

MAX_LANES = 1024
_SLOT = struct.Struct("<d36sB")  # the state comes last: until it is written nothing has changed
_SLOT_BYTES = 64
_STATE_AT = _SLOT.size - 1
_ID_BYTES = 36  # of the UUIDs that MMS makes
_BEAT = struct.Struct("<d")
_BEAT_AT = MAX_LANES * _SLOT_BYTES


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
    """One slot a lane. Writing is three stores a request."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BEAT_AT + _BEAT.size)

    def set(self, lane: int, state: State) -> None:
        """Say what a lane does."""
        self._memory[lane * _SLOT_BYTES + _STATE_AT] = state

    def inside(self, lane: int, request_id: bytes, until: float) -> None:
        """A lane's request is whole, and work on it begins."""
        state = State.INSIDE if len(request_id) == _ID_BYTES else State.READING
        _SLOT.pack_into(self._memory, lane * _SLOT_BYTES, until, request_id, state)

    def entry(self, lane: int) -> Entry:
        """What a lane does."""
        until, request_id, state = _SLOT.unpack_from(self._memory, lane * _SLOT_BYTES)
        return Entry(until, request_id, State(state))

    def beat(self, now: float) -> None:
        """The child's event loop runs at this time (CLOCK_MONOTONIC)."""
        _BEAT.pack_into(self._memory, _BEAT_AT, now)

    def last_beat(self) -> float:
        """When the child's event loop last ran."""
        return float(_BEAT.unpack_from(self._memory, _BEAT_AT)[0])
