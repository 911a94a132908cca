"""Bytes of bodies that may be held at once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.budget import Budget

TOTAL = 10


def run(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(case())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_as_many_as_there_are() -> None:
    """All of it can be taken, and no byte more until some are given back."""
    budget = Budget(TOTAL)
    assert budget.try_to_take(4)
    assert budget.try_to_take(6)
    assert not budget.try_to_take(1)
    budget.give_back(4)
    assert not budget.try_to_take(5)
    assert budget.try_to_take(4)


def test_one_alone_may_have_more() -> None:
    """What is larger than the whole budget is served when nobody else is."""
    budget = Budget(TOTAL)
    assert budget.try_to_take(TOTAL + 1)
    assert not budget.try_to_take(1)
    budget.give_back(TOTAL + 1)
    assert budget.try_to_take(1)
    assert not budget.try_to_take(TOTAL)


def test_nobody_overtakes() -> None:
    """Who wants little waits behind who wants much, or the latter would wait for ever."""

    async def case() -> None:
        budget = Budget(TOTAL)
        await budget.take(8)
        much = asyncio.create_task(budget.take(5))
        await settle()
        little = asyncio.create_task(budget.take(1))
        await settle()
        assert not much.done()
        assert not little.done()
        budget.give_back(8)
        await settle()
        assert much.done()
        assert little.done()

    run(case)


@pytest.mark.parametrize("already_its_turn", [False, True])
def test_who_goes_takes_nothing(already_its_turn: bool) -> None:
    """A taker that is cancelled has no bytes, though it was its turn and it did not know yet."""

    async def case() -> None:
        budget = Budget(TOTAL)
        await budget.take(TOTAL)
        goes = asyncio.create_task(budget.take(3))
        await settle()
        if already_its_turn:
            budget.give_back(TOTAL)
            goes.cancel()
        else:
            goes.cancel()
            await settle()
            budget.give_back(TOTAL)
        with pytest.raises(asyncio.CancelledError):
            await goes
        await budget.take(TOTAL)
        assert not budget.try_to_take(1)

    run(case)


@settings(deadline=None)
@given(
    wanted=st.lists(st.integers(1, TOTAL + 2), min_size=1, max_size=12),
    given_up=st.sets(st.integers(0, 11)),
    order=st.randoms(use_true_random=False),
)
def test_all_are_served(wanted: list[int], given_up: set[int], order: Any) -> None:
    """Whoever goes or gives back when: never too much is taken, and all are served in turn."""

    async def case() -> None:
        budget, served, held = Budget(TOTAL), list[int](), list[int]()

        async def taker(number: int) -> None:
            await budget.take(wanted[number])
            served.append(number)
            held.append(wanted[number])

        takers = [asyncio.create_task(taker(number)) for number in range(len(wanted))]
        await settle()
        gone = {number for number in given_up if number < len(takers) and takers[number].cancel()}
        await settle()
        while held:
            assert sum(held) <= TOTAL or len(held) == 1
            budget.give_back(held.pop(order.randrange(len(held))))
            await settle()
        assert served == [number for number in range(len(wanted)) if number not in gone]
        assert budget.try_to_take(TOTAL + 1)

    run(case)
