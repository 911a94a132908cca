"""One instance of a variant: its container from start to end, healthy or replaced."""

import asyncio
import contextlib
import enum
import shutil
import time
from pathlib import Path

from mme import artifacts
from mme.instance_types import shape
from mme.local.containers.container import SINGLE, Container, ContainerError
from mme.local.runtime.cache import ModelCache, Served, Surroundings, ask
from mme.local.runtime.deployment import Variant
from mme.local.runtime.wire import LostError, Part, Wire

_START_POLL_SECONDS, _END_POLL_SECONDS = 0.05, 0.1
_PING_SECONDS = 2.0  # the platform's limit for an answer to /ping
_BAD_PINGS = 3  # in a row, before an instance is replaced
_FULL_SHARE, _LOW_SHARE = 0.95, 0.9  # of memory: models go from the first on, down to the second
_DOUBT_SECONDS = 10.0  # for an instance that lost a request to answer /ping again
_STOP_SECONDS, _FAILED_SECONDS = 30.0, 2.0  # from SIGTERM to SIGKILL, as the platform has it
_OK = 200


class State(enum.Enum):
    """``Starting → InService → Draining``, or Failed from any of them."""

    STARTING = "Starting"
    IN_SERVICE = "InService"
    DRAINING = "Draining"
    FAILED = "Failed"


class Instance:
    """One instance.

    Args:
        identity: its id.
        variant: what it runs.
        container: that runs it, not started yet.
        home: its folder, removed at its end.
        around: what it shares with others.
    """

    def __init__(
        self,
        identity: str,
        variant: Variant,
        container: Container,
        home: Path,
        around: Surroundings,
    ) -> None:
        self.identity, self.variant, self.container = identity, variant, container
        self.state = State.STARTING
        self.started_at = time.time()
        self.in_flight = self.invocations = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._life = asyncio.Lock()
        self.memory_bytes = 0
        self.memory_limit_bytes = memory_limit_bytes(variant, around)
        self._doubt: asyncio.Task[None] | None = None
        self._cpu: tuple[float, float] | None = None  # when, and how many seconds by then
        self._home, self._around = home, around
        self._wire = Wire(lambda: (container.url_host, container.url_port))
        root = home / "models"
        self.cache = ModelCache(identity, variant, root, container.model_root, self._wire, around)

    async def start(self) -> None:
        """Return when the container answers ``/ping``, or the instance has been stopped.

        Raises:
            ContainerError: it does not; the message says why.
        """
        (self._home / "models").mkdir(parents=True, exist_ok=True)
        try:
            if not self.variant.multi_model and self.variant.model_data_url:
                await self._fetch_the_one_model()
            async with self._life:
                if self.state is State.STARTING:
                    await self.container.start()
            await self._until_healthy()
        except ContainerError:
            if self.state is not State.STARTING:
                return  # it has been stopped meanwhile
            self.state = State.FAILED
            raise
        if self.state is State.STARTING:
            self.state = State.IN_SERVICE

    async def _fetch_the_one_model(self) -> None:
        url = self.variant.model_data_url
        try:
            await self.cache.shelf.put(SINGLE, self.cache.archive(url))
        except (FileNotFoundError, artifacts.ArtifactError) as error:
            raise ContainerError(
                f'Failed to download model data for container "container_1" from URL: "{url}". '
                f"Please ensure that there is an object located at the URL. ({error})"
            ) from None

    async def _until_healthy(self) -> None:
        give_up = time.monotonic() + self.variant.start_seconds
        while self.state is State.STARTING and not await self._ping():
            reason = self.container.ended()
            if reason is None and time.monotonic() > give_up:
                reason = f"no answer to GET /ping with 200 in {self.variant.start_seconds} s"
            if reason is not None:
                raise ContainerError(
                    f"The primary container for production variant {self.variant.name} did not "
                    "pass the ping health check. Please check CloudWatch logs for this endpoint. "
                    f"({reason})"
                )
            await asyncio.sleep(_START_POLL_SECONDS)

    async def _ping(self) -> bool:
        """``GET /ping`` and, of a multi-model container, ``GET /models``, as the platform does."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                answers = [await self._wire.ask(b"GET", b"/ping")]
                if self.variant.multi_model:
                    answers.append(await self._wire.ask(b"GET", b"/models"))
        except (LostError, TimeoutError):
            return False
        return all(answer.status == _OK for answer in answers)

    async def watch(self) -> str:
        """Look after the container until it has to be replaced; returns why."""
        bad, next_ping = 0, time.monotonic()
        while True:
            reason = self.container.ended()
            if reason is None and time.monotonic() >= next_ping:
                next_ping = time.monotonic() + self._around.settings.ping_seconds
                bad = 0 if await self._ping() else bad + 1
                if bad == _BAD_PINGS:
                    reason = f"{bad} times no answer to GET /ping with 200 in {_PING_SECONDS} s"
                elif not bad:
                    await self._measure()
            if reason is not None:
                self.state = State.FAILED
                return reason
            await asyncio.sleep(_END_POLL_SECONDS)

    async def doubt(self) -> None:
        """It has lost a request: return when it answers ``/ping`` again, or has failed."""
        if self._doubt is None:
            self._doubt = asyncio.create_task(self._look_again())
            self._doubt.add_done_callback(lambda _: setattr(self, "_doubt", None))
        await asyncio.shield(self._doubt)

    async def _look_again(self) -> None:
        give_up = time.monotonic() + _DOUBT_SECONDS
        while time.monotonic() < give_up and self.state is State.IN_SERVICE:
            if self.container.ended() is not None:
                self.state = State.FAILED
            elif await self._ping():
                return
            await asyncio.sleep(_START_POLL_SECONDS)

    async def _measure(self) -> None:
        """Measure memory and processors; when memory is nearly full, unload models."""
        used, seconds = await asyncio.gather(
            self.container.memory_bytes(), self.container.cpu_seconds()
        )
        self.memory_bytes, limit = used, self.memory_limit_bytes
        now, before = time.monotonic(), self._cpu
        self._cpu = (now, seconds)
        if before is not None and now > before[0]:
            self._gauge("CPUUtilization", 100 * (seconds - before[1]) / (now - before[0]))
        self._gauge("MemoryUtilization", 100 * used / limit)
        disk = self.cache.shelf.residency
        self._gauge("DiskUtilization", 100 * disk.used / (disk.capacity or 1))
        if used > _FULL_SHARE * limit:
            share = (used - _LOW_SHARE * limit) / used
            await self.cache.relieve(share, f"{100 * used // limit} % of memory was used")

    def _gauge(self, metric: str, value: float) -> None:
        self._around.meter.gauge(self.variant.name, metric, self.identity, round(value, 1))

    async def invoke(
        self, target: str, body: bytes, headers: bytes, deadline: float, on_part: Part | None = None
    ) -> Served:
        """Ask the model, and load it first if it is not loaded.

        Args:
            target: the target model; of a variant that is not multi-model, nothing.
            body: the request's.
            headers: for the container, as bytes of HTTP.
            deadline: by the monotonic clock.
            on_part: as of ``Wire.ask``.

        Returns:
            The container's answer, whether the model was loaded when the request came, and the
            seconds that the container took.

        Raises:
            InvokeError: the model cannot be had.
            LostError: the container went away meanwhile.
            TimeoutError: it did not answer in time.
        """
        self.in_flight += 1
        self.invocations += 1
        self._idle.clear()
        try:
            if self.variant.multi_model:
                return await self.cache.invoke(target, body, headers, deadline, on_part)
            return await ask(self._wire, b"/invocations", body, headers, deadline, on_part)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()

    def holds(self, target: str) -> bool:
        """Whether it has the model, or is loading it."""
        return self.cache.holds(target)

    def pins(self, target: str) -> int:
        """Requests for the model that are in flight here."""
        return self.cache.pins(target)

    def fullness(self) -> tuple[float, int, int]:
        """How little it wants another model."""
        return self.cache.evicted_at, *self.weight()

    def weight(self) -> tuple[int, int]:
        """What goes with it: models, and requests in flight."""
        return len(self.cache.memory) + self.cache.memory.loading, self.in_flight

    def hurry(self) -> None:
        """Wait no longer for what is in flight, if ``stop`` does."""
        self._idle.set()

    async def stop(self, drain_seconds: float = 0.0) -> None:
        """Let what is in flight come to its end, then end the container and leave nothing."""
        patience = _FAILED_SECONDS
        if self.state is not State.FAILED:
            patience = _STOP_SECONDS
            self.state = State.DRAINING
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), drain_seconds)
        self.state = State.FAILED
        self.cache.close()
        self._wire.close()  # what still waits for an answer is asked of another instance
        async with self._life:  # what is being started cannot be stopped yet
            await self.container.stop(patience)
        self._around.meter.forget(self.identity)
        await self.cache.shelf.quiet()
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)


def memory_limit_bytes(variant: Variant, around: Surroundings) -> int:
    """What an instance of the variant has."""
    return int(around.settings.instance_memory_mb * 1024**2) or shape(variant.instance_type)[1]
