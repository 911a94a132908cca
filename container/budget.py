"""Bytes of bodies that may be held at once, so that many large requests cannot take all memory."""

import asyncio
from collections import deque


class Budget:
    """A number of bytes, of which some are taken.

    Args:
        total: bytes; one taker alone may have more, or it could never be served.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def try_to_take(self, count: int) -> bool:
        """Take so many bytes if they are there."""
        if self._taken and self._taken + count > self._total:
            return False
        self._taken += count
        return True

    async def take(self, count: int) -> None:
        """Take so many bytes, after who waits for some already."""
        if not self._waiting and self.try_to_take(count):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(count)
            raise

    def give_back(self, count: int) -> None:
        """Let so many bytes be taken by others."""
        self._taken -= count
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.done():  # it has been cancelled
                self._waiting.popleft()
            elif self.try_to_take(wanted):
                self._waiting.popleft()
                turn.set_result(None)
            else:
                return
