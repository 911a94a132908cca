"""The endpoints: each a state machine over real containers."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from mme.local.aws.objects import Objects
from mme.local.containers.container import ContainerError
from mme.local.control.store import Store
from mme.local.runtime.cache import Surroundings
from mme.local.runtime.deployment import Deployment
from mme.local.runtime.history import Events, History
from mme.local.runtime.meter import Meter
from mme.local.runtime.pool import DRAIN_SECONDS, Make, Pool, start_all, stop_all
from mme.local.settings import Settings

logger = logging.getLogger(__name__)
KIND = "endpoint"
CHANGING = frozenset(("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"))
_IN_SERVICE, _FAILED = "InService", "Failed"


class Endpoint:
    """One endpoint.

    ``Creating → InService → Updating → InService …``, Failed from Creating, Deleting from any.

    Args:
        document: what Describe answers, with the deployment; kept in the store.
        store: keeps it.
        around: what its instances share.
        make: makes their containers.
        folder: for their folders.
    """

    def __init__(
        self,
        document: dict[str, Any],
        store: Store,
        around: Surroundings,
        make: Make,
        folder: Path,
    ) -> None:
        self.document, self.around = document, around
        self.name: str = document["EndpointName"]
        self.deployment = Deployment.from_json(document["Deployment"])
        self.pools: dict[str, Pool] = {}
        self.history = History(self._loaded)
        self._store, self._make, self._folder = store, make, folder
        self._settled = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._leaving: dict[asyncio.Task[None], dict[str, Pool]] = {}

    def _loaded(self) -> int:
        """Models that all instances hold; one that two of them have counts twice."""
        instances = (one for pool in self.pools.values() for one in pool.instances)
        return sum(len(instance.cache.memory) for instance in instances)

    @property
    def status(self) -> str:
        """As DescribeEndpoint has it."""
        return str(self.document["EndpointStatus"])

    async def settled(self, seconds: float) -> None:
        """Return when it is not changing, or the time is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), seconds)

    def begin(self, status: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin with a change, of which DescribeEndpoint says the status."""
        self._save(status)
        self._work = asyncio.create_task(self._do(work))

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever goes wrong, the endpoint does not stay in between: nobody could delete it."""
        try:
            await work
        except Exception as error:
            if not isinstance(error, ContainerError):
                logger.exception("endpoint %s cannot be changed", self.name)
            self._save(_IN_SERVICE if self.pools else _FAILED, str(error) or repr(error))

    def _save(self, status: str, failure: str | None = None) -> None:
        self.document["EndpointStatus"] = status
        self.document["LastModifiedTime"] = round(time.time(), 3)
        self.document.pop("FailureReason", None)
        if failure is not None:
            self.document["FailureReason"] = failure
        self.document["ProductionVariants"] = [
            self._summary(variant.name) for variant in self.deployment.variants
        ]
        self._store.put(KIND, self.name, self.document)
        if status in CHANGING:
            self._settled.clear()
        else:
            self._settled.set()

    def _summary(self, name: str) -> dict[str, Any]:
        variant = next(one for one in self.deployment.variants if one.name == name)
        pool = self.pools.get(name)
        image = {
            "SpecifiedImage": variant.image,
            "ResolvedImage": variant.image,
            "ResolutionTime": self.document["CreationTime"],
        }
        return {
            "VariantName": name,
            "DeployedImages": [image],
            "CurrentWeight": variant.weight if pool is None else pool.weight,
            "DesiredWeight": variant.weight if pool is None else pool.weight,
            "CurrentInstanceCount": 0 if pool is None else len(pool.in_service),
            "DesiredInstanceCount": variant.instance_count if pool is None else pool.wanted,
        }

    def _new_pools(self, deployment: Deployment) -> dict[str, Pool]:
        return {
            variant.name: Pool(variant, self._make, self._folder, self.around)
            for variant in deployment.variants
        }

    async def bring_up(self) -> None:
        """Start all instances; in service when each answers, else failed."""
        pools = self._new_pools(self.deployment)
        await start_all(pools)
        self.pools = pools
        self._save(_IN_SERVICE)

    async def change(self, document: dict[str, Any]) -> None:
        """Start another deployment beside the one that serves; then it takes over, or is undone."""
        deployment = Deployment.from_json(document["Deployment"])
        pools = self._new_pools(deployment)
        await start_all(pools)
        old, self.pools, self.deployment = self.pools, pools, deployment
        self.document = document
        self.around.meter.period_seconds = deployment.metrics_seconds
        self._save(_IN_SERVICE)
        task = asyncio.create_task(stop_all(old, DRAIN_SECONDS))
        self._leaving[task] = old
        task.add_done_callback(self._leaving.pop)

    async def scale(self, wanted: Mapping[str, tuple[float | None, int | None]]) -> None:
        """Give variants other weights, and other numbers of instances."""
        failure = None
        for name, (weight, count) in wanted.items():
            pool = self.pools[name]
            if weight is not None:
                pool.weight = weight
            if count is not None:
                try:
                    await pool.scale(count)
                except ContainerError as error:
                    failure = str(error)
        self.deployment = self.deployment.scaled(
            {name: (pool.weight, pool.wanted) for name, pool in self.pools.items()}
        )
        self.document["Deployment"] = self.deployment.to_json()
        self._save(_IN_SERVICE, failure)

    async def end(self) -> None:
        """End whatever runs, and what is being started."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await asyncio.gather(*map(stop_all, (*self._leaving.values(), self.pools)))
        self.pools = {}

    async def delete(self) -> None:
        """End whatever runs, and leave nothing in the store."""
        self._save("Deleting")
        await self.end()
        self._store.remove(KIND, self.name)
        self._settled.set()

    def refresh(self) -> None:
        """Bring what changes by itself up to date: instances that come and go, gauges."""
        for name, pool in self.pools.items():
            for instance in pool.in_service:
                loaded = float(len(instance.cache.memory))
                self.around.meter.gauge(name, "LoadedModelCount", instance.identity, loaded)
        variants = [self._summary(variant.name) for variant in self.deployment.variants]
        if self.status == _IN_SERVICE and variants != self.document["ProductionVariants"]:
            self._save(_IN_SERVICE, self.document.get("FailureReason"))


class Endpoints:
    """All endpoints.

    Args:
        store: keeps them.
        objects: of S3.
        make: makes containers.
        folder: for the folders of instances.
        events: where evictions and errors are noted.
        settings: all limits.
        account: of AWS.
    """

    def __init__(
        self,
        store: Store,
        objects: Objects,
        make: Make,
        folder: Path,
        events: Events,
        settings: Settings,
        account: str,
    ) -> None:
        self._store, self._objects, self._make, self._folder = store, objects, make, folder
        self._events, self._settings, self._account = events, settings, account
        self._all: dict[str, Endpoint] = {}
        self._departed: list[Endpoint] = []
        self._deleting: set[asyncio.Task[None]] = set()

    def get(self, name: str) -> Endpoint | None:
        """The endpoint of that name, in whatever state."""
        return self._all.get(name)

    def all(self) -> list[Endpoint]:
        """All of them."""
        return list(self._all.values())

    def departed(self) -> list[Endpoint]:
        """Those that have been deleted since the last time."""
        departed, self._departed = self._departed, []
        return departed

    def restore(self) -> None:
        """Take over what an earlier run left, and start it again."""
        for document in self._store.all(KIND):
            name = document["EndpointName"]
            if document["EndpointStatus"] == "Deleting":
                self._store.remove(KIND, name)
                continue
            endpoint = self._all[name] = self._new(document)
            endpoint.begin("SystemUpdating", endpoint.bring_up())  # also one that had failed

    def _new(self, document: dict[str, Any]) -> Endpoint:
        region = document["EndpointArn"].split(":")[3]
        around = Surroundings(
            endpoint=document["EndpointName"],
            region=region,
            account=self._account,
            objects=self._objects,
            meter=Meter(document["Deployment"]["metrics_seconds"]),
            events=self._events,
            settings=self._settings,
        )
        return Endpoint(document, self._store, around, self._make, self._folder)

    async def create(self, document: dict[str, Any]) -> None:
        """Create an endpoint; it is in service later."""
        endpoint = self._all[document["EndpointName"]] = self._new(document)
        endpoint.begin("Creating", endpoint.bring_up())

    async def update(self, name: str, document: dict[str, Any]) -> None:
        """Replace what an endpoint runs, with nothing dropped."""
        endpoint = self._all[name]
        endpoint.begin("Updating", endpoint.change(document))

    async def scale(self, name: str, wanted: Mapping[str, tuple[float | None, int | None]]) -> None:
        """Give variants other weights and numbers of instances."""
        endpoint = self._all[name]
        endpoint.begin("Updating", endpoint.scale(wanted))

    async def delete(self, name: str) -> None:
        """Delete an endpoint; it is gone later."""
        endpoint = self._all[name]

        async def delete() -> None:
            await endpoint.delete()
            self._departed.append(self._all.pop(name))

        task = asyncio.create_task(delete())
        self._deleting.add(task)
        task.add_done_callback(self._deleting.discard)
        await asyncio.sleep(0)  # the deletion has begun when we return

    async def settled(self, name: str, seconds: float) -> None:
        """Return when the endpoint is not changing any more, or the time is over."""
        endpoint = self._all.get(name)
        if endpoint is not None:
            await endpoint.settled(seconds)
            endpoint.refresh()

    async def stop(self) -> None:
        """End whatever runs; the store keeps what there is."""
        await asyncio.gather(*self._deleting)
        await asyncio.gather(*(endpoint.end() for endpoint in self._all.values()))
