"""A model that its shard has no more: it is loaded again, once, for all who ask for it."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from container.deadlines import Deadlines
from container.faults import FaultError
from container.invocations import Invocations
from container.messages import Request
from container.metrics import Metrics
from container.models import Model, Register, State
from container.settings import Settings
from container.shards import Answer, Shard

SECONDS = 10
JSON = b"application/json"
OK, LOADED = Answer(200, JSON, b"[1.0]"), Answer(200, JSON, b"{}")
GONE = Answer(404, JSON, b'{"type": "ModelNotFoundException", "message": "Model not found: m"}')


class FakeShard:
    """A shard that has a model until it is told to lose it, and notes what it is asked for.

    Attributes:
        has: the model.
        answer: for who asks the model.
        lost_at_once: how many loads have no effect.
        loading: what ``load`` waits for.
        load_answer: of ``load``.
        asked: what was done, in order.
        late: what the next answers of ``invoke`` wait for.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.models = 0
        self.serving = asyncio.Event()
        self.serving.set()
        self.has = True
        self.answer = OK
        self.lost_at_once = 0
        self.loading = asyncio.Event()
        self.loading.set()
        self.load_answer = LOADED
        self.asked: list[str] = []
        self.late: list[asyncio.Event] = []

    async def invoke(self, _name: str, _request: Request, _until: float) -> Answer:
        """Answer, or say that the model is not here."""
        self.asked.append("invoke")
        answer = self.answer if self.has else GONE
        if self.late:
            await self.late.pop(0).wait()
        await asyncio.sleep(0)
        return answer

    async def load(self, _name: str, _directory: str, _until: float) -> Answer:
        """Take the model."""
        self.asked.append("load")
        await self.loading.wait()
        if self.load_answer.status == 200:
            self.has = not self.lost_at_once
            self.lost_at_once = max(0, self.lost_at_once - 1)
        return self.load_answer


Ask = Callable[[], Coroutine[Any, Any, Any]]
Case = Callable[[Ask, FakeShard, Register, Deadlines], Coroutine[Any, Any, None]]


def run(case: Case, **environ: str) -> None:
    """Run a case with a way to ask for the ready model ``m``, and all that is around it."""

    async def main() -> None:
        settings = Settings.from_environ({"MME_MODEL_ROOT": "/models"} | environ)
        shard, deadlines, register = FakeShard(), Deadlines(), Register()
        real = cast("Shard", shard)
        model = Model("m", "/models/m", "/models/m", real)
        register.add(model)
        model.load_is_over = True
        register.set_state(model, State.READY)
        invocations = Invocations(settings, [real], register, Metrics(10, {}), deadlines)

        async def ask() -> Any:
            request = Request(body=b"1", received_at=time.monotonic())
            return await invocations.invoke("m", request)

        async with asyncio.timeout(SECONDS):
            await case(ask, shard, register, deadlines)

    asyncio.run(main())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_loaded_again() -> None:
    """Whoever asks for a model that its shard has lost gets the answer, after a load."""

    async def case(ask: Ask, shard: FakeShard, register: Register, _: Deadlines) -> None:
        assert (await ask()).status == 200
        shard.has = False
        assert (await ask()).body == OK.body
        assert (await ask()).status == 200
        assert shard.asked == ["invoke", "invoke", "load", "invoke", "invoke"]
        assert register.get("m") is not None

    run(case)


def test_a_404_of_the_model_itself() -> None:
    """A script may answer 404: the model is there, and nothing is loaded."""
    nothing = Answer(404, JSON, b'{"type": "NotFoundException", "message": "no such customer"}')

    async def case(ask: Ask, shard: FakeShard, register: Register, _: Deadlines) -> None:
        shard.answer = nothing
        assert (await ask()).body == nothing.body
        assert shard.asked == ["invoke"]
        assert register.get("m") is not None

    run(case)


def test_loaded_once_for_all() -> None:
    """All who find it gone wait for one load."""

    async def case(ask: Ask, shard: FakeShard, _: Register, __: Deadlines) -> None:
        shard.has = False
        shard.loading.clear()
        asking = [asyncio.ensure_future(ask()) for _ in range(5)]
        await settle()
        assert shard.asked.count("load") == 1
        assert not any(one.done() for one in asking)
        shard.loading.set()
        assert [(await one).status for one in asking] == [200] * 5
        assert shard.asked.count("load") == 1

    run(case)


def test_a_late_answer_loads_nothing() -> None:
    """Who hears that it is gone when it is there again asks again: a load would end the new one."""

    async def case(ask: Ask, shard: FakeShard, _: Register, __: Deadlines) -> None:
        shard.has = False
        late = asyncio.Event()
        shard.late.append(late)
        first = asyncio.ensure_future(ask())
        await settle()  # it has its 404, on the way back
        assert (await ask()).status == 200
        late.set()
        assert (await first).status == 200
        assert shard.asked.count("load") == 1

    run(case)


@pytest.mark.parametrize(("times", "status"), [(1, 200), (4, 200), (5, 503), (50, 503)])
def test_gone_again_and_again(times: int, status: int) -> None:
    """One that is gone as soon as it is loaded is loaded a few times; nobody hears 404."""

    async def case(ask: Ask, shard: FakeShard, register: Register, _: Deadlines) -> None:
        shard.has = False
        shard.lost_at_once = times
        if status == 200:
            assert (await ask()).status == 200
        else:
            with pytest.raises(FaultError, match="did not stay") as fault:
                await ask()
            assert fault.value.fault.status == 503
        assert shard.asked.count("load") == min(times + 1, 5)
        assert register.get("m") is not None  # whoever asks next may have more luck

    run(case)


@pytest.mark.parametrize(("status", "stays"), [(404, False), (500, True), (507, True)])
def test_a_load_that_fails(status: int, stays: bool) -> None:
    """The reason is the answer. Without its files it is absent from then on, else tried again."""
    refused = Answer(status, JSON, b'{"type": "BadModelException", "message": "no"}')

    async def case(ask: Ask, shard: FakeShard, register: Register, _: Deadlines) -> None:
        shard.has = False
        shard.load_answer = refused
        answer = await ask()
        assert (answer.status, answer.body) == (status, refused.body)
        assert shard.asked == ["invoke", "load"]
        assert (register.get("m") is not None) is stays
        if stays:
            shard.load_answer = LOADED
            assert (await ask()).status == 200

    run(case)


def test_a_load_within_the_deadline() -> None:
    """An invocation waits for a load no longer than for an answer; the load goes on."""

    async def case(ask: Ask, shard: FakeShard, _: Register, deadlines: Deadlines) -> None:
        shard.has = False
        shard.loading.clear()
        asking = asyncio.ensure_future(ask())
        while not asking.done():
            await asyncio.sleep(0.01)
            deadlines.look()
        with pytest.raises(FaultError, match="no answer in 1 s"):
            await asking
        shard.loading.set()
        await settle()
        assert (await ask()).status == 200
        assert shard.asked.count("load") == 1

    run(case, MME_INVOKE_DEADLINE_SECONDS="1")
