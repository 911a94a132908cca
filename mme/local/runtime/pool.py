"""The instances of one variant: as many as wanted, each replaced when it fails."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from mme.local.containers.container import Container, ContainerError
from mme.local.runtime import faults
from mme.local.runtime.cache import Surroundings
from mme.local.runtime.deployment import Variant
from mme.local.runtime.instance import Instance, State
from mme.local.runtime.routing import choose
from mme.local.runtime.wire import LostError

INSTANCES = "i-*"  # the folders of instances
DRAIN_SECONDS = 60.0  # as long as an invocation may take
_FIRST_REST_SECONDS, _LONGEST_REST_SECONDS = 0.5, 30.0  # before a replacement is tried again

logger = logging.getLogger(__name__)
# id, what it shares, variant, the folder of the instance -> its container, not started
Make = Callable[[str, Surroundings, Variant, Path], Container]


class Pool:
    """One variant's instances.

    Args:
        variant: what each of them runs.
        make: makes a container for one.
        folder: where each has a folder.
        around: what they share.
    """

    def __init__(self, variant: Variant, make: Make, folder: Path, around: Surroundings) -> None:
        self.variant, self.weight = variant, variant.weight
        self.wanted = variant.instance_count
        self.instances: list[Instance] = []
        self._make, self._folder, self._around = make, folder, around
        self._waiters: list[asyncio.Future[None]] = []
        self._tending: dict[Instance, asyncio.Task[None]] = {}
        self._replacing: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._going: set[Instance] = set()  # those that are being ended, in whatever state
        self._closed = False

    @property
    def in_service(self) -> list[Instance]:
        """Those that answer."""
        return [one for one in self.instances if one.state is State.IN_SERVICE]

    async def start(self) -> None:
        """Start all instances, at once.

        Raises:
            ContainerError: of the first that does not start.
        """
        await self._add(self.wanted)

    async def _add(self, count: int) -> None:
        added = [self._new() for _ in range(count)]
        starts = (one.start() for one in added)
        ends = await asyncio.gather(*starts, return_exceptions=True)
        errors = [error for error in ends if error is not None]
        if errors:
            for instance in added:
                self._end(instance)
            raise errors[0]
        for instance in added:
            if instance.state is State.IN_SERVICE:  # else it has been ended meanwhile
                self._watch(instance)
        self._notify()

    def _new(self) -> Instance:
        identity = f"i-{secrets.token_hex(9)[:17]}"
        home = self._folder / identity
        container = self._make(identity, self._around, self.variant, home)
        instance = Instance(identity, self.variant, container, home, self._around)
        self.instances.append(instance)
        return instance

    def _watch(self, instance: Instance) -> None:
        self._tending[instance] = asyncio.create_task(self._tend(instance))

    async def _tend(self, instance: Instance) -> None:
        """Watch an instance; when it fails, have another put in its place."""
        reason = await instance.watch()
        self._note(f"{instance.identity} is replaced: {reason}")
        self._end(instance)
        task = asyncio.create_task(self._replace())
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _replace(self) -> None:
        rest = _FIRST_REST_SECONDS
        while len(self._staying()) < self.wanted:
            try:
                await self._add(1)
                return
            except ContainerError as error:
                self._note(f"a replacement does not start: {error}")
            await asyncio.sleep(rest)
            rest = min(2 * rest, _LONGEST_REST_SECONDS)

    def _staying(self) -> list[Instance]:
        return [one for one in self.instances if one not in self._going]

    def _note(self, message: str) -> None:
        logger.warning("endpoint %s: %s", self._around.endpoint, message)
        self._around.events.failed(
            endpoint=self._around.endpoint,
            model=None,
            status="",
            type="InstanceFailed",
            message=message,
        )

    def _end(self, instance: Instance, drain_seconds: float = 0.0) -> None:
        """Take an instance out; it ends when it has answered what is in flight."""

        async def end() -> None:
            try:
                await instance.stop(drain_seconds)
            finally:
                self.instances.remove(instance)
                self._going.discard(instance)

        if instance in self._going:
            return
        self._going.add(instance)
        tending = self._tending.pop(instance, None)
        if tending is not None and tending is not asyncio.current_task():
            tending.cancel()
        if instance.state is not State.FAILED:
            instance.state = State.DRAINING
        task = asyncio.create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def scale(self, wanted: int) -> None:
        """Start or end instances until there are so many.

        Raises:
            ContainerError: one does not start; there are as many as before then.
        """
        if wanted > len(self._staying()):
            await self._add(wanted - len(self._staying()))
        self.wanted = wanted
        staying = sorted(self._staying(), key=_worth)
        for instance in staying[: len(staying) - wanted]:
            self._end(instance, DRAIN_SECONDS)

    async def pick(self, target: str, deadline: float) -> Instance:
        """The instance for a request; waits while there is none in service.

        Raises:
            InvokeError: 503, there is none before the deadline.
            LostError: the pool has been closed: there may be another one.
        """
        while not (candidates := self.in_service):
            if self._closed:
                raise LostError("the variant has been taken out of service")
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter, deadline - time.monotonic())
            except TimeoutError:
                raise faults.unavailable("No instance of the variant is in service.") from None
        return choose(candidates, target)

    def _notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """End all instances, each when it has answered what is in flight.

        Also those that are draining already; without time to drain, they get none either. Who is
        cancelled here does not keep them from ending.
        """
        self._closed, self.wanted = True, 0
        self._notify()
        for instance in self._staying():
            self._end(instance, drain_seconds)
        if not drain_seconds:
            for instance in self.instances:
                instance.hurry()
        for task in self._replacing:
            task.cancel()
        await asyncio.gather(*self._replacing, return_exceptions=True)
        if self._ending:
            await asyncio.wait(self._ending)


def _worth(instance: Instance) -> tuple[bool, tuple[int, int]]:
    """The less, the sooner it goes: one that does not answer yet before one that does."""
    return instance.state is State.IN_SERVICE, instance.weight()


async def start_all(pools: dict[str, Pool]) -> None:
    """Start the pools of a deployment; when one does not start, end them all.

    Raises:
        ContainerError: of the first that does not start.
    """
    try:
        await asyncio.gather(*(pool.start() for pool in pools.values()))
    except BaseException:
        await stop_all(pools)
        raise


async def stop_all(pools: dict[str, Pool], drain_seconds: float = 0.0) -> None:
    """End the pools of a deployment."""
    await asyncio.gather(*(pool.stop(drain_seconds) for pool in pools.values()))
