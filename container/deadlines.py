"""Deadlines of requests, looked at together: a timer for each costs more than it tells."""

import asyncio
import math
import time
from types import TracebackType
from typing import Protocol

LOOK_SECONDS = 0.1  # how often they are looked at, and how late one may be


class Timed(Protocol):
    """What has a deadline."""

    until: float  # time.monotonic()

    def end(self) -> None:
        """Its time is over."""


class Deadlines:
    """All that are open.

    Attributes:
        open: these; what is added is ended, if it is not discarded before.
        cut: all are ended, and so is all that comes.
    """

    def __init__(self) -> None:
        self.open: set[Timed] = set()
        self.cut = False

    def within(self, seconds: float) -> "Deadline":
        """A block (``with``) whose awaiting ends after so long with TimeoutError."""
        return Deadline(self.open, -math.inf if self.cut else time.monotonic() + seconds)

    def look(self) -> None:
        """End those whose time is over; to be called every ``LOOK_SECONDS``."""
        now = time.monotonic()
        self._end([one for one in self.open if one.until < now])

    def cut_short(self) -> None:
        """End all of them, and all that come."""
        self.cut = True
        self._end(list(self.open))

    def _end(self, those: list[Timed]) -> None:
        for one in those:
            if one in self.open:  # the end of another may have been its end
                one.end()


class Deadline:
    """One of them, of the task that enters it."""

    __slots__ = ("_ended", "_open", "_task", "until")

    def __init__(self, others: set[Timed], until: float) -> None:
        self._open = others
        self.until = until  # time.monotonic()
        self._ended = False

    def __enter__(self) -> None:
        """Begin."""
        self._task = asyncio.current_task()
        self._open.add(self)

    def end(self) -> None:
        """Its time is over: wake the task with a cancellation, which ``__exit__`` turns back."""
        if not self._ended and self._task is not None:
            self._ended = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the block, with TimeoutError if its time is over."""
        self._open.discard(self)
        if self._ended and self._task is not None:
            self._task.uncancel()
            if kind is asyncio.CancelledError:
                raise TimeoutError from None
