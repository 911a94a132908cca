"""Deadlines that are looked at together."""

import asyncio

import pytest

from container.deadlines import Deadlines


def test_in_time() -> None:
    """Who ends in time notices nothing."""

    async def main() -> str:
        deadlines = Deadlines()
        with deadlines.within(60):
            await asyncio.sleep(0)
            deadlines.look()
            await asyncio.sleep(0)
        return "ended"

    assert asyncio.run(main()) == "ended"


def test_time_is_over() -> None:
    """Who does not gets TimeoutError where it waits, and its task goes on after that."""

    async def wait(deadlines: Deadlines, seconds: float) -> str:
        try:
            with deadlines.within(seconds):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            await asyncio.sleep(0)  # a task that was cancelled for good could not
            return "over"
        return "ended"

    async def main() -> None:
        deadlines = Deadlines()
        late = asyncio.create_task(wait(deadlines, -1))
        early = asyncio.create_task(wait(deadlines, 60))
        await asyncio.sleep(0)
        deadlines.look()
        deadlines.look()
        assert await late == "over"
        assert not early.done()
        deadlines.cut_short()
        assert await early == "over"
        after = asyncio.create_task(wait(deadlines, 60))
        await asyncio.sleep(0)
        deadlines.look()
        assert await after == "over"

    asyncio.run(main())


def test_another_cancellation() -> None:
    """A task that is cancelled by someone else is cancelled, not late."""

    async def main() -> None:
        deadlines = Deadlines()

        async def wait() -> None:
            with deadlines.within(60):
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_other_errors_pass() -> None:
    """An error of the block is what comes out of it, in time or not."""

    async def main() -> None:
        deadlines = Deadlines()
        with pytest.raises(ValueError, match="mine"), deadlines.within(60):
            raise ValueError("mine")

    asyncio.run(main())
