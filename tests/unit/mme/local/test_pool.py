"""The instances of a variant: started, replaced, scaled and ended, over containers that obey."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mme.local.containers.container import ContainerError
from mme.local.runtime.faults import InvokeError
from mme.local.runtime.instance import Instance, State
from mme.local.runtime.pool import Pool
from mme.local.runtime.wire import LostError
from tests.unit.mme.local.fake_container import (
    SECONDS,
    FakeContainer,
    FakeServer,
    Fleet,
    in_loop,
    surroundings,
    until,
    variant,
)


class WatchedPool(Pool):
    """A pool, and the fleet that its containers are of."""

    def __init__(self, folder: Path, count: int, start_seconds: int) -> None:
        self.fleet, self.around = Fleet(), surroundings(folder, "a")
        self.home = folder / "instances"
        runs = variant(instance_count=count, start_seconds=start_seconds)
        super().__init__(runs, self.fleet.make, self.home, self.around)

    def states(self) -> list[str]:
        """Of all instances."""
        return [one.state.value for one in self.instances]

    def errors(self) -> list[str]:
        """What has been noted."""
        return [str(error["message"]) for error in self.around.events.errors]


@contextlib.asynccontextmanager
async def pool(folder: Path, count: int = 1, start_seconds: int = 10) -> AsyncIterator[WatchedPool]:
    """A pool that has not been started; in the end it leaves nothing."""
    made = WatchedPool(folder, count, start_seconds)
    try:
        yield made
    finally:
        made.fleet.starts.set()
        for container in made.fleet.running:
            container.server.gates["ping"].set()
        await made.stop()
    assert made.fleet.running == []
    assert made.instances == []
    assert not made.home.exists() or list(made.home.iterdir()) == []


def server_of(instance: Instance) -> FakeServer:
    """The container's."""
    assert isinstance(instance.container, FakeContainer)
    return instance.container.server


def kill(instance: Instance) -> None:
    """End its container."""
    assert isinstance(instance.container, FakeContainer)
    instance.container.end = "was killed"


async def ask(instance: Instance) -> int:
    """The status of an invocation."""
    served = await instance.invoke("a", b"", b"", time.monotonic() + SECONDS)
    return served.answer.status


@in_loop
async def test_start(tmp_path: Path) -> None:
    """A pool has as many instances in service as its variant says, and then answers."""
    async with pool(tmp_path, 3) as instances:
        await instances.start()
        assert instances.states() == ["InService"] * 3
        assert await ask(await instances.pick("a", time.monotonic())) == 200


@in_loop
async def test_does_not_start(tmp_path: Path) -> None:
    """Where one does not get healthy in time, starting fails with the reason, and none stays."""
    async with pool(tmp_path, 2, start_seconds=0) as instances:
        instances.fleet.ping_status = 500
        with pytest.raises(ContainerError, match="did not pass the ping health check"):
            await instances.start()
        await until(lambda: not instances.fleet.running, "the end of both")


@in_loop
async def test_replaced(tmp_path: Path) -> None:
    """An instance whose container ends is replaced by another, and it is noted why."""
    async with pool(tmp_path) as instances:
        await instances.start()
        (old,) = instances.instances
        kill(old)
        await until(lambda: instances.in_service not in ([], [old]), "a replacement")
        assert instances.errors() == [f"{old.identity} is replaced: was killed"]
        assert len(instances.fleet.running) == 1


@in_loop
async def test_waits_for_replacement(tmp_path: Path) -> None:
    """A request that comes while no instance is in service waits for the replacement."""
    async with pool(tmp_path) as instances:
        await instances.start()
        instances.fleet.starts.clear()
        kill(instances.instances[0])
        await until(lambda: instances.fleet.starting, "the start of a replacement")
        picked = asyncio.create_task(instances.pick("a", time.monotonic() + SECONDS))
        with pytest.raises(InvokeError) as raised:  # unless it has no time
            await instances.pick("a", time.monotonic() + 0.01)
        assert raised.value.status == 503
        instances.fleet.starts.set()
        assert await ask(await picked) == 200


@in_loop
async def test_scale_in_while_one_is_replaced(tmp_path: Path) -> None:
    """Of one that is starting and one that serves, the first goes."""
    async with pool(tmp_path, 2) as instances:
        await instances.start()
        failing, serving = instances.instances
        instances.fleet.starts.clear()
        kill(failing)
        await until(lambda: instances.fleet.starting, "the start of a replacement")
        await instances.scale(1)
        assert instances.in_service == [serving]
        instances.fleet.starts.set()
        await until(lambda: instances.instances == [serving], "the end of the other")
        assert len(instances.fleet.running) == 1
        assert instances.errors() == [f"{failing.identity} is replaced: was killed"]


@in_loop
async def test_scale_in_drains(tmp_path: Path) -> None:
    """An instance that is scaled in answers what is in flight before it ends."""
    async with pool(tmp_path, 2) as instances:
        await instances.start()
        one = instances.instances[0]
        server_of(one).gates["invoke"].clear()
        asked = asyncio.create_task(ask(one))
        await until(lambda: server_of(one).calls["invoke"], "the invocation")
        await instances.scale(0)
        assert instances.in_service == []
        await until(lambda: instances.instances == [one], "the end of the other")
        server_of(one).gates["invoke"].set()
        assert await asked == 200
        await until(lambda: not instances.fleet.running, "the end of both")


@in_loop
async def test_stop_while_draining(tmp_path: Path) -> None:
    """A pool that is ended at once does not wait for those that are draining already."""
    async with pool(tmp_path) as instances:
        await instances.start()
        (one,) = instances.instances
        server_of(one).gates["invoke"].clear()
        asked = asyncio.create_task(ask(one))
        await until(lambda: server_of(one).calls["invoke"], "the invocation")
        await instances.scale(0)
        assert one.state is State.DRAINING
        await instances.stop()
        with pytest.raises(LostError):
            await asked
        assert instances.fleet.running == []


@in_loop
async def test_stop_while_starting(tmp_path: Path) -> None:
    """A pool that is ended while its containers are not healthy yet leaves none of them."""
    async with pool(tmp_path, 2) as instances:
        instances.fleet.ping_status = 500
        start = asyncio.create_task(instances.start())
        await until(lambda: len(instances.fleet.running) == 2, "both containers")
        await instances.stop()
        await asyncio.wait([start], timeout=SECONDS)
        assert start.done()
        assert instances.fleet.running == []


@in_loop
async def test_stopped(tmp_path: Path) -> None:
    """Who asks a pool that has been ended is told to look for another one."""
    async with pool(tmp_path) as instances:
        await instances.start()
        await instances.stop()
        with pytest.raises(LostError):
            await instances.pick("a", time.monotonic() + SECONDS)


@in_loop
async def test_container_that_does_not_stop(tmp_path: Path) -> None:
    """A container that cannot be stopped keeps neither its pool nor its instance."""
    async with pool(tmp_path) as instances:
        await instances.start()
        instances.fleet.stop_error = OSError("cannot be stopped")
        await instances.stop()
        assert instances.instances == []
        instances.fleet.stop_error = None
        for home in instances.home.iterdir():
            (home / "models").rmdir()
            home.rmdir()


@in_loop
async def test_replacement_that_does_not_start(tmp_path: Path) -> None:
    """A replacement that does not start is noted, and tried again."""
    async with pool(tmp_path) as instances:
        await instances.start()
        (old,) = instances.instances
        instances.fleet.start_error = ContainerError("no room")
        kill(old)
        await until(lambda: len(instances.errors()) > 1, "the failure of a replacement")
        assert "a replacement does not start: no room" in instances.errors()
        instances.fleet.start_error = None
        await until(lambda: instances.in_service not in ([], [old]), "a replacement")
