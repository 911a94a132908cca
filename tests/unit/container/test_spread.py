"""Hot models: when one gets more shards, when it gives them back, and what then becomes of it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from container import spread
from container.models import Model, State
from container.shards import Answer, Shard
from container.spread import WAIT_SECONDS, WAITED_OFTEN, Spread

OK = Answer(200, b"application/json", b"{}")
SLOW, QUICK = 2 * WAIT_SECONDS, WAIT_SECONDS / 10


class FakeShard:
    """A shard that keeps what it was told, and answers as it is told to."""

    def __init__(self, name: str, answer: Answer = OK) -> None:
        self.name = name
        self.in_flight = 0
        self.models = 0
        self.has: set[str] = set()
        self.answer = answer

    async def load(self, name: str, _: str) -> Answer:
        """Take a model, or refuse it."""
        await asyncio.sleep(0)
        if self.answer.status == 200:
            self.has.add(name)
        return self.answer

    async def unload(self, name: str) -> Answer:
        """Let it go."""
        await asyncio.sleep(0)
        self.has.discard(name)
        return OK


Case = Callable[[Spread, Model, list[FakeShard]], Coroutine[Any, Any, None]]


def run(case: Case, shards: int = 3, **options: Any) -> None:
    """Run a case with a ready model whose first shard is the first of so many."""

    async def main() -> None:
        fakes = [FakeShard(f"shard-{n}", **options) for n in range(shards)]
        real = cast("list[Shard]", fakes)
        model = Model("m", "/m", "/m", real[0])
        model.state = State.READY
        await case(Spread(real), model, fakes)

    asyncio.run(main())


def wait_often(one: Spread, model: Model, in_flight: int = 8) -> None:
    model.in_flight = in_flight
    for _ in range(WAITED_OFTEN):
        one.answered(model, SLOW)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_model_that_waits_gets_more_shards() -> None:
    """Shard after shard while requests wait; the least busy answers; in the end all have it."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        shards[1].in_flight = 5
        wait_often(one, model)
        await settle()
        assert [bool(shard.has) for shard in shards] == [
            False,
            False,
            True,
        ]  # the first is not told
        shards[0].in_flight = 3
        assert one.choose(model) is cast("Any", shards[2])
        shards[2].in_flight = 4
        assert one.choose(model) is cast("Any", shards[0])
        wait_often(one, model)
        wait_often(one, model)
        await settle()
        assert shards[1].has
        wait_often(one, model)  # there is no further shard

    run(case)


@pytest.mark.parametrize(("in_flight", "seconds"), [(1, SLOW), (8, QUICK)])
def test_a_model_that_does_not_wait(in_flight: int, seconds: float) -> None:
    """Neither a slow request alone nor quick ones side by side take another shard."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        model.in_flight = in_flight
        for _ in range(10 * WAITED_OFTEN):
            one.answered(model, seconds)
        await settle()
        assert not any(shard.has for shard in shards)
        assert one.choose(model) is cast("Any", shards[0])

    run(case)


def test_now_and_then_is_not_often() -> None:
    """A request that waits among as many that do not is a moment, not a hot model."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        model.in_flight = 8
        for _ in range(10 * WAITED_OFTEN):
            one.answered(model, SLOW)
            one.answered(model, QUICK)
        await settle()
        assert not any(shard.has for shard in shards)

    run(case)


def test_one_shard() -> None:
    """Where there is one shard, there is nothing to take."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        wait_often(one, model)
        assert one.choose(model) is cast("Any", shards[0])

    run(case, shards=1)


def test_a_shard_that_cannot_take_it() -> None:
    """A model that another shard refuses stays where it is."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        wait_often(one, model)
        await settle()
        assert one.choose(model) is cast("Any", shards[0])

    run(case, answer=Answer(507, b"application/json", b"{}"))


def test_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model gives its further shards back when it is quiet, and only then."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        wait_often(one, model)
        await settle()
        one.sweep()
        await settle()
        assert shards[1].has  # it has just waited
        monkeypatch.setattr(spread, "QUIET_SECONDS", -1.0)
        one.sweep()
        await settle()
        assert not any(shard.has for shard in shards)
        assert one.choose(model) is cast("Any", shards[0])
        one.sweep()

    run(case)


def test_unloaded_while_it_spreads() -> None:
    """A model that is forgotten is nowhere in the end, also if a load was on its way."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        wait_often(one, model)
        await one.forget(model)
        await settle()
        assert not any(shard.has for shard in shards)
        await one.forget(model)

    run(case)


def test_lost() -> None:
    """A shard whose process was started again is not asked for the model any more."""

    async def case(one: Spread, model: Model, shards: list[FakeShard]) -> None:
        wait_often(one, model)
        await settle()
        shards[0].in_flight = 9
        lost = one.choose(model)
        assert lost is not cast("Any", shards[0])
        one.lost(model, lost)
        assert one.choose(model) is cast("Any", shards[0])

    run(case)
