"""The models of an instance, before a container of which a test says what it does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mme.local.runtime.cache import ModelCache, Served
from mme.local.runtime.faults import InvokeError
from mme.local.runtime.wire import LostError, Wire
from tests.unit.mme.local.fake_container import (
    BUCKET,
    LATE,
    SECONDS,
    FakeServer,
    in_loop,
    surroundings,
    until,
    variant,
)

OK, NOT_FOUND, NO_MEMORY = 200, 404, 507


class Rig(ModelCache):
    """A cache over a container, and short words for what tests do."""

    def __init__(
        self, folder: Path, targets: tuple[str, ...], cache_enabled: bool, **settings: float
    ) -> None:
        self.server = FakeServer()
        self.wire = Wire(lambda: ("127.0.0.1", self.server.port))
        self.around = surroundings(folder, *targets, **settings)
        root = folder / "models"
        runs = variant(cache_enabled=cache_enabled)
        super().__init__("i-1", runs, root, "/models", self.wire, self.around)

    async def served(self, target: str, body: bytes = b"", seconds: float = SECONDS) -> Served:
        """The answer."""
        return await self.invoke(target, body, b"", time.monotonic() + seconds, None)

    async def ask(self, target: str, body: bytes = b"", seconds: float = SECONDS) -> int | str:
        """The container's status, or the error's code."""
        try:
            return (await self.served(target, body, seconds)).answer.status
        except InvokeError as error:
            return error.code

    def asking(self, target: str, body: bytes = b"") -> "asyncio.Task[int | str]":
        """The same, meanwhile."""
        return asyncio.create_task(self.ask(target, body))

    async def refused(self) -> None:
        """Return when a load has been refused, and knows it."""
        await until(lambda: self.server.refused, "a refusal")
        await self.wire.ask(b"GET", b"/ping")  # is answered after it


@contextlib.asynccontextmanager
async def rig(
    folder: Path, *targets: str, cache_enabled: bool = True, **settings: float
) -> AsyncIterator[Rig]:
    """A cache, its container, and a bucket with these models."""
    made = Rig(folder, targets, cache_enabled, **settings)
    await made.server.start()
    try:
        yield made
    finally:
        made.close()
        made.wire.close()
        await made.shelf.quiet()
        await made.server.close()


@pytest.mark.parametrize(("room", "count"), [(1, 2), (2, 6)])
@in_loop
async def test_loads_at_once(tmp_path: Path, room: int, count: int) -> None:
    """Loads for which there is no room until others have ended wait for them, and all succeed."""
    targets = [f"{number}.tar.gz" for number in range(count)]
    async with rig(tmp_path, *targets) as cache:
        cache.server.room = room
        cache.server.gates["load"].clear()
        asked = [cache.asking(target) for target in targets]
        # A refusal is held back as well: the loads are answered all at once.
        await until(lambda: cache.server.refused == count - room, "refusals")
        cache.server.gates["load"].set()
        assert await asyncio.gather(*asked) == [OK] * count
        assert len(cache.memory) == len(cache.server.models) == room


@in_loop
async def test_refused_while_another_loads(tmp_path: Path) -> None:
    """A load that is refused while nothing is loaded yet waits for the load that has the room."""
    async with rig(tmp_path, "a", "b") as cache:
        cache.server.room = 1
        cache.server.gates["load"].clear()
        first = cache.asking("a")
        await until(lambda: cache.server.models, "the first load")
        gate, cache.server.gates["load"] = cache.server.gates["load"], asyncio.Event()
        cache.server.gates["load"].set()  # a refusal is answered at once
        second = cache.asking("b")
        await cache.refused()
        assert not second.done()
        gate.set()
        assert list(await asyncio.gather(first, second)) == [OK, OK]


@in_loop
async def test_no_room_at_all(tmp_path: Path) -> None:
    """A model for which an empty container has no room is the model's error, and not waited for."""
    async with rig(tmp_path, "a") as cache:
        cache.server.room = 0
        with pytest.raises(InvokeError) as raised:
            await cache.served("a")
        assert raised.value.fields["OriginalStatusCode"] == NO_MEMORY
        assert cache.server.refused == 1


@in_loop
async def test_floor_and_load_limit(tmp_path: Path) -> None:
    """A model's floor keeps nobody waiting for its room past the limit of a load."""
    async with rig(tmp_path, "a", "b", floor_seconds=1000.0, load_seconds=2.0) as cache:
        cache.server.room = 1
        assert await cache.ask("a") == OK
        with pytest.raises(InvokeError) as raised:
            await cache.served("b")
        assert raised.value.fields["OriginalStatusCode"] == NO_MEMORY
        assert (await cache.served("a")).hit


@in_loop
async def test_floor(tmp_path: Path) -> None:
    """Who needs the room of a model that is under its floor has it when the floor is over."""
    async with rig(tmp_path, "a", "b", floor_seconds=0.2) as cache:
        cache.server.room = 1
        assert await cache.ask("a") == OK
        (_, held), *_ = cache.memory.held()
        assert await cache.ask("b") == OK
        assert time.monotonic() - held.loaded_at >= 0.2
        assert cache.memory.counts.evictions == 1


@in_loop
async def test_pins(tmp_path: Path) -> None:
    """A model with a request in flight is not evicted: who needs its room waits."""
    async with rig(tmp_path, "a", "b") as cache:
        cache.server.room = 1
        cache.server.gates["invoke"].clear()
        first = cache.asking("a")
        await until(lambda: cache.pins("a"), "a request in flight")
        second = cache.asking("b")
        await cache.refused()
        assert cache.server.calls["unload"] == 0
        cache.server.gates["invoke"].set()
        assert list(await asyncio.gather(first, second)) == [OK, OK]
        assert not cache.holds("a")
        assert cache.pins("a") == cache.pins("b") == 0


@in_loop
async def test_one_load(tmp_path: Path) -> None:
    """Many requests for a model have it loaded once."""
    async with rig(tmp_path, "a") as cache:
        cache.server.gates["load"].clear()
        asked = [cache.asking("a") for _ in range(20)]
        await until(lambda: cache.memory.counts.requests == 20, "requests")
        cache.server.gates["load"].set()
        assert await asyncio.gather(*asked) == [OK] * 20
        assert cache.server.calls["load"] == 1
        assert (cache.memory.counts.misses + cache.memory.counts.waits) == 20


@in_loop
async def test_not_ready(tmp_path: Path) -> None:
    """Whose time is over is told that the model is not ready, and its load goes on."""
    async with rig(tmp_path, "a") as cache:
        cache.server.gates["load"].clear()
        assert await cache.ask("a", seconds=0.05) == "ModelNotReadyException"
        assert cache.holds("a")
        cache.server.gates["load"].set()
        await until(lambda: len(cache.memory), "the load")
        assert (await cache.served("a")).hit
        assert cache.server.calls["load"] == 1


@in_loop
async def test_lost(tmp_path: Path) -> None:
    """A model that the container lost is loaded again, also for who is told so last."""
    async with rig(tmp_path, "a") as cache:
        assert await cache.ask("a") == OK
        cache.server.models.clear()
        cache.server.late.clear()
        late = cache.asking("a", LATE)  # its 404 is on its way when another request has it loaded
        await until(lambda: cache.server.calls["invoke"] == 2, "the late request")
        assert await cache.ask("a") == OK
        cache.server.late.set()
        assert await late == OK
        assert cache.server.calls["load"] == 2


@in_loop
async def test_lost_again_and_again(tmp_path: Path) -> None:
    """However many find a model lost at the same time, none of them is answered 404."""
    async with rig(tmp_path, "a") as cache:
        for _ in range(20):
            assert await cache.ask("a") == OK
            cache.server.models.clear()
            assert await asyncio.gather(*(cache.ask("a") for _ in range(6))) == [OK] * 6


@in_loop
async def test_own_404(tmp_path: Path) -> None:
    """A model's own 404 is its answer, and no reason to load it again."""
    async with rig(tmp_path, "a") as cache:
        cache.server.statuses["invoke"] = NOT_FOUND
        assert await cache.ask("a") == NOT_FOUND
        assert cache.server.calls["load"] == 1
        assert cache.holds("a")


@in_loop
async def test_names_of_no_models(tmp_path: Path) -> None:
    """Names that were never models are errors, and are not kept."""
    async with rig(tmp_path) as cache:
        names = [f"{number}.tar.gz" for number in range(1000)]
        assert not any(map(cache.holds, names))
        assert set(await asyncio.gather(*map(cache.ask, names))) == {"ValidationError"}
        assert cache.targets == {}
        assert cache.memory.loading == 0


@in_loop
async def test_names_of_models(tmp_path: Path) -> None:
    """The name of a model is kept as long as the model is here, in memory or on the disk."""
    async with rig(tmp_path, "a", "b") as cache:
        cache.server.room = 1
        assert [await cache.ask("a"), await cache.ask("b")] == [OK, OK]
        assert sorted(cache.targets.values()) == ["a", "b"]
        (evicted,) = cache.around.events.evictions
        assert evicted["model"] == "a"


@in_loop
async def test_cache_disabled(tmp_path: Path) -> None:
    """Without caching, clients at once are all answered, and in the end nothing is kept."""

    async def client() -> list[int | str]:
        return [await cache.ask("a") for _ in range(30)]

    async with rig(tmp_path, "a", cache_enabled=False) as cache:
        answers = await asyncio.gather(*(client() for _ in range(3)))
        assert answers == [[OK] * 30] * 3
        await until(lambda: not cache.targets, "the end of what is kept")
        assert not cache.server.models
        assert len(cache.memory) == cache.shelf.residency.used == 0
        await until(lambda: not list((tmp_path / "models").iterdir()), "an empty disk")


@in_loop
async def test_failure_is_remembered(tmp_path: Path) -> None:
    """A load that failed is not tried again for a while, whoever asks; its error is the answer."""
    async with rig(tmp_path, "a", failure_seconds=1000.0) as cache:
        cache.server.statuses["load"] = 500
        cache.server.gates["load"].clear()
        asked = [cache.asking("a") for _ in range(3)]
        await until(lambda: cache.memory.counts.requests == 3, "requests")
        cache.server.gates["load"].set()
        assert await asyncio.gather(*asked) == ["ModelError"] * 3
        cache.server.statuses.clear()
        assert await cache.ask("a") == "ModelError"
        assert cache.server.calls["load"] == 1
        assert cache.server.calls["unload"] == 1  # Multi Model Server keeps what failed
        assert cache.targets == {}


@in_loop
async def test_failure_is_forgotten(tmp_path: Path) -> None:
    """A load that failed is tried again when that while is over."""
    async with rig(tmp_path, "a", failure_seconds=0.0) as cache:
        cache.server.statuses["load"] = 500
        assert await cache.ask("a") == "ModelError"
        cache.server.statuses.clear()
        assert await cache.ask("a") == OK
        assert cache.server.calls["load"] == 2


@pytest.mark.parametrize("content", [b"", b"no archive"])
@in_loop
async def test_damaged(tmp_path: Path, content: bytes) -> None:
    """What cannot be unpacked is an error of who put it there, and the container never sees it."""
    async with rig(tmp_path) as cache:
        (tmp_path / "s3" / BUCKET / "a").write_bytes(content)
        assert await cache.ask("a") == "ValidationError"
        assert cache.server.calls["load"] == 0
        assert cache.targets == {}


@in_loop
async def test_slow_load(tmp_path: Path) -> None:
    """A load that takes longer than it may is the model's error, and is given up."""
    async with rig(tmp_path, "a", load_seconds=0.1) as cache:
        cache.server.gates["load"].clear()
        assert await cache.ask("a") == "ModelError"
        assert not cache.holds("a")


@in_loop
async def test_close(tmp_path: Path) -> None:
    """Who waits for a load when the instance is stopped is told so, to ask another instance."""
    async with rig(tmp_path, "a") as cache:
        cache.server.gates["load"].clear()
        asked = cache.asking("a")
        await until(lambda: cache.server.calls["load"], "the load")
        cache.close()
        with pytest.raises(LostError):
            await asked


@in_loop
async def test_relieve(tmp_path: Path) -> None:
    """A share of the models goes, the least recently used, and stays on the disk."""
    targets: list[Any] = ["a", "b", "c", "d"]
    async with rig(tmp_path, *targets) as cache:
        for target in targets:
            assert await cache.ask(target) == OK
        await cache.relieve(0.5, "memory was used")
        assert [cache.holds(target) for target in targets] == [False, False, True, True]
        assert len(cache.server.models) == 2
        assert all(cache.name_of(target) in cache.shelf for target in targets)
