"""The life of endpoints over containers that obey, and over such as do not."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mme.local.control.store import Store
from mme.local.runtime.deployment import Deployment
from mme.local.runtime.endpoints import Endpoint, Endpoints
from mme.local.runtime.instance import Instance
from mme.local.runtime.wire import LostError
from mme.local.settings import Settings
from tests.unit.mme.local.fake_container import (
    SECONDS,
    FakeContainer,
    Fleet,
    in_loop,
    surroundings,
    until,
    variant,
)

NAME = "e"


class Watched(Endpoints):
    """Endpoints, and the fleet that their containers are of."""

    def __init__(self, folder: Path, store: Store) -> None:
        around = surroundings(folder, "a")
        self.fleet, self.store, self.home = Fleet(), store, folder / "instances"
        super().__init__(
            store, around.objects, self.fleet.make, self.home, around.events, Settings(), "1"
        )

    async def made(self, count: int = 1) -> Endpoint:
        """An endpoint that has settled."""
        await self.create(document(count))
        return await self.when_settled()

    async def when_settled(self) -> Endpoint:
        """The endpoint, as soon as it is not changing."""
        await self.settled(NAME, SECONDS)
        endpoint = self.get(NAME)
        assert endpoint is not None
        return endpoint

    async def gone(self) -> None:
        """Delete the endpoint; nothing of it stays."""
        await self.delete(NAME)
        await until(lambda: self.get(NAME) is None, "the end of the endpoint")
        assert self.store.get("endpoint", NAME) is None
        assert self.fleet.running == []
        assert self.left() == []

    def left(self) -> list[Path]:
        """Folders of instances."""
        return list(self.home.iterdir()) if self.home.exists() else []


@contextlib.asynccontextmanager
async def endpoints(folder: Path) -> AsyncIterator[Watched]:
    """Endpoints, of which none is left running."""
    with contextlib.closing(Store(folder / "control.sqlite")) as store:
        made = Watched(folder, store)
        yield made
        made.fleet.starts.set()
        await made.stop()
        assert made.fleet.running == []


def document(count: int = 1) -> dict[str, Any]:
    """What the control plane hands over."""
    deployment = Deployment(variants=(variant(instance_count=count),))
    return {
        "EndpointName": NAME,
        "EndpointArn": f"arn:aws:sagemaker:us-east-1:1:endpoint/{NAME}",
        "CreationTime": 0,
        "EndpointConfigName": "c",
        "EndpointStatus": "Creating",
        "Deployment": deployment.to_json(),
    }


def instances_of(endpoint: Endpoint) -> list[Instance]:
    """All of its only variant."""
    (pool,) = endpoint.pools.values()
    return pool.instances


async def held_back(instance: Instance) -> "asyncio.Task[Any]":
    """An invocation in flight that the container does not answer."""
    assert isinstance(instance.container, FakeContainer)
    server = instance.container.server
    server.gates["invoke"].clear()
    asked = asyncio.create_task(instance.invoke("a", b"", b"", time.monotonic() + SECONDS))
    await until(lambda: server.calls["invoke"], "the invocation")
    return asked


async def replaced_while_asked(
    endpoints: Watched,
) -> "tuple[Endpoint, Instance, asyncio.Task[Any]]":
    """An endpoint after an update; the instance that it had, and an invocation held back there."""
    endpoint = await endpoints.made()
    (old,) = instances_of(endpoint)
    asked = await held_back(old)
    await endpoints.update(NAME, document())
    await endpoints.when_settled()
    return endpoint, old, asked


@in_loop
async def test_life(tmp_path: Path) -> None:
    """An endpoint is created and in service, and when it is deleted nothing of it stays."""
    async with endpoints(tmp_path) as all_of_them:
        endpoint = await all_of_them.made(2)
        assert endpoint.status == "InService"
        assert len(all_of_them.fleet.running) == len(all_of_them.left()) == 2
        await all_of_them.gone()
        assert all_of_them.departed() == [endpoint]


@in_loop
async def test_deleted_while_an_old_deployment_drains(tmp_path: Path) -> None:
    """A deletion ends also what an update has left to drain, and does not wait for it."""
    async with endpoints(tmp_path) as all_of_them:
        endpoint, old, asked = await replaced_while_asked(all_of_them)
        assert instances_of(endpoint) != [old]
        assert len(all_of_them.fleet.running) == 2
        await all_of_them.gone()
        with pytest.raises(LostError):
            await asked


@in_loop
async def test_old_deployment_drains(tmp_path: Path) -> None:
    """An update lets the deployment that it replaces answer what is in flight, and then ends it."""
    async with endpoints(tmp_path) as all_of_them:
        _, old, asked = await replaced_while_asked(all_of_them)
        assert isinstance(old.container, FakeContainer)
        old.container.server.gates["invoke"].set()
        assert (await asked).answer.status == 200
        await until(lambda: len(all_of_them.fleet.running) == 1, "the end of the old one")


@in_loop
async def test_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no container can even be made the endpoint has failed, says why, and can be deleted."""
    async with endpoints(tmp_path) as all_of_them:
        all_of_them.fleet.make_error = OSError(36, "File name too long")
        endpoint = await all_of_them.made()
        assert endpoint.status == "Failed"
        assert "File name too long" in endpoint.document["FailureReason"]
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        await all_of_them.gone()


@in_loop
async def test_update_that_cannot_be_made(tmp_path: Path) -> None:
    """An update that fails leaves in service what was so before, with the reason."""
    async with endpoints(tmp_path) as all_of_them:
        endpoint = await all_of_them.made()
        before = list(instances_of(endpoint))
        all_of_them.fleet.make_error = OSError("no more descriptors")
        await all_of_them.update(NAME, document())
        await all_of_them.when_settled()
        assert endpoint.status == "InService"
        assert endpoint.document["FailureReason"] == "no more descriptors"
        assert instances_of(endpoint) == before
        await all_of_them.gone()


@in_loop
async def test_container_that_does_not_stop(tmp_path: Path) -> None:
    """A container whose end raises does not keep an endpoint in Deleting."""
    async with endpoints(tmp_path) as all_of_them:
        await all_of_them.made(2)
        all_of_them.fleet.stop_error = OSError("cannot be stopped")
        await all_of_them.delete(NAME)
        await until(lambda: all_of_them.get(NAME) is None, "the end of the endpoint")
        assert all_of_them.store.get("endpoint", NAME) is None


@in_loop
async def test_deleted_while_it_starts(tmp_path: Path) -> None:
    """An endpoint that is deleted while its containers are not healthy yet leaves nothing."""
    async with endpoints(tmp_path) as all_of_them:
        all_of_them.fleet.ping_status = 500
        await all_of_them.create(document(2))
        await until(lambda: len(all_of_them.fleet.running) == 2, "both containers")
        await all_of_them.gone()


@in_loop
async def test_restored(tmp_path: Path) -> None:
    """A restart tries an endpoint that had failed again, and forgets one that was being deleted."""
    async with endpoints(tmp_path) as all_of_them:
        all_of_them.fleet.make_error = OSError("no more descriptors")
        assert (await all_of_them.made()).status == "Failed"
        deleting = document() | {"EndpointName": "deleting", "EndpointStatus": "Deleting"}
        all_of_them.store.put("endpoint", "deleting", deleting)
    async with endpoints(tmp_path) as all_of_them:
        all_of_them.restore()
        endpoint = await all_of_them.when_settled()
        assert endpoint.status == "InService"
        assert "FailureReason" not in endpoint.document
        assert all_of_them.all() == [endpoint]
        assert all_of_them.store.get("endpoint", "deleting") is None


@in_loop
async def test_scaled_in_while_one_is_replaced(tmp_path: Path) -> None:
    """An endpoint that is scaled in while a replacement starts keeps the instance that serves."""
    async with endpoints(tmp_path) as all_of_them:
        endpoint = await all_of_them.made(2)
        failing, serving = instances_of(endpoint)
        all_of_them.fleet.starts.clear()
        assert isinstance(failing.container, FakeContainer)
        failing.container.end = "was killed"
        await until(lambda: all_of_them.fleet.starting, "the start of a replacement")
        await all_of_them.scale(NAME, {"AllTraffic": (None, 1)})
        await all_of_them.when_settled()
        all_of_them.fleet.starts.set()
        await until(lambda: instances_of(endpoint) == [serving], "the end of the other")
        assert endpoint.status == "InService"
        await all_of_them.gone()
