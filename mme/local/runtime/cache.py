"""The models of one instance: downloaded, loaded once for all who wait, asked, evicted."""

import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mme import artifacts
from mme.instance_types import GIB, shape
from mme.local.aws.objects import Objects, split_url
from mme.local.runtime import faults
from mme.local.runtime.deployment import Variant
from mme.local.runtime.faults import InvokeError
from mme.local.runtime.history import Events
from mme.local.runtime.meter import Meter
from mme.local.runtime.shelf import Shelf
from mme.local.runtime.wire import Answer, LostError, Part, Wire
from mme.local.settings import Settings
from mme.residency import Held, Outcome, Residency

_LOADS_A_CPU = 4
_ROOM_SECONDS = 0.05  # between two looks whether a model that is in use may go
_NAME_DIGITS = 32
_JSON = b"Content-Type: application/json\r\n"
_OK, _NOT_FOUND, _CONFLICT, _NO_MEMORY = 200, 404, 409, 507


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all instances of an endpoint share."""

    endpoint: str
    region: str
    account: str
    objects: Objects
    meter: Meter
    events: Events
    settings: Settings


class Served(NamedTuple):
    """A container's answer, whether its model was loaded already, and the seconds it took."""

    answer: Answer
    hit: bool
    seconds: float


class ModelCache:
    """The models of one instance.

    Args:
        instance: its id.
        variant: that the instance runs.
        root: its model root, here.
        model_root: the same, as the container sees it.
        wire: to the container.
        around: what it shares with others.
    """

    def __init__(
        self,
        instance: str,
        variant: Variant,
        root: Path,
        model_root: str,
        wire: Wire,
        around: Surroundings,
    ) -> None:
        self._wire = wire
        self._instance, self._variant, self._model_root = instance, variant, model_root
        self._around, self._settings = around, around.settings
        self.memory = Residency(floor_seconds=self._settings.floor_seconds)
        capacity = variant.volume_gb * GIB
        self.shelf = Shelf(root, capacity, self._in_use, self._off_the_disk)
        self.targets: dict[str, str] = {}  # by name, of models that are here or on their way
        self._loads: dict[str, asyncio.Task[Held]] = {}
        self._waiting: Counter[str] = Counter()  # requests, by the model whose load they wait for
        self._unloads: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, tuple[float, InvokeError]] = {}
        self._few = asyncio.Semaphore(_LOADS_A_CPU * shape(variant.instance_type)[0])
        self._tasks: set[asyncio.Task[None]] = set()
        self._posting = 0  # loads that the container is at
        self.evicted_at = 0.0  # when memory was last full (CLOCK_MONOTONIC)

    def name_of(self, target: str) -> str:
        """The opaque name of a target model in the container."""
        key = f"{self._variant.model_data_url}{target}".encode()
        return hashlib.sha256(key).hexdigest()[:_NAME_DIGITS]

    def holds(self, target: str) -> bool:
        """Whether the model is loaded here, or being so."""
        name = self.name_of(target)
        return name in self.memory or name in self._loads

    def pins(self, target: str) -> int:
        """Requests for the model that are in flight here."""
        held = self.memory.get(self.name_of(target))
        return 0 if held is None else held.pins

    def _in_use(self, name: str) -> bool:
        return name in self.memory or name in self._loads or name in self._unloads

    async def invoke(
        self, target: str, body: bytes, headers: bytes, deadline: float, on_part: Part | None
    ) -> Served:
        """As ``Instance.invoke``, of a multi-model container."""
        name = self.name_of(target)
        outcome = self.memory.request(name, time.monotonic())
        meter, variant = self._around.meter, self._variant.name
        meter.count(variant, "ModelCacheHit", 1.0 if outcome is Outcome.HIT else 0.0)
        reloaded = False
        while True:
            while (held := self.memory.get(name)) is None:
                await self._wait_for(name, target, deadline)
            held.pins += 1
            try:
                path = b"/models/%b/invoke" % name.encode()
                served = await ask(self._wire, path, body, headers, deadline, on_part)
            finally:
                held.pins -= 1
            if served.answer.status != _NOT_FOUND or reloaded:
                break
            lost = self.memory.get(name) is not held or await self._has_lost(name, deadline)
            if self.memory.get(name) is held:  # nobody has unloaded or loaded it meanwhile
                if not lost:
                    break  # the 404 is the model's own
                self.memory.remove(name)
            reloaded = True  # by us or, meanwhile, by somebody else
        if not self._variant.cache_enabled and not held.pins:
            self._spawn(self._forget(name))
        return served._replace(hit=outcome is Outcome.HIT)

    async def _has_lost(self, name: str, deadline: float) -> bool:
        """Whether a 404 was the container's, which does not know the model any more."""
        answer = await self._manage(b"GET", b"/models/%b" % name.encode(), b"", b"", deadline)
        return answer.status == _NOT_FOUND

    async def _wait_for(self, name: str, target: str, deadline: float) -> None:
        """Wait until the model is loaded, by one load for all who wait."""
        begun = time.monotonic()
        failure = self._failures.get(name)
        if failure is not None:
            if begun < failure[0]:
                raise failure[1]
            del self._failures[name]
        load = self._loads.get(name)
        if load is None:
            self.memory.begin(name)
            self.targets[name] = target
            load = self._loads[name] = asyncio.create_task(self._load(name))
            load.add_done_callback(lambda task: self._load_has_ended(name, task))
        self._waiting[name] += 1
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.shield(load)
        except TimeoutError:
            raise faults.not_ready(target) from None
        except asyncio.CancelledError:
            if load.cancelled():
                raise LostError("the instance has been stopped") from None
            raise
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name]
            if load.done() and not load.cancelled() and load.exception() is None:
                load.result().pins -= 1  # who asked takes a pin of its own before anyone else runs
            waited = time.monotonic() - begun
            self._around.meter.duration(self._variant.name, "ModelLoadingWaitTime", waited)

    def _load_has_ended(self, name: str, task: "asyncio.Task[Held]") -> None:
        del self._loads[name]
        if name not in self.memory:
            self.memory.failed(name)
            self._let_go(name)
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody need wait any more

    def _let_go(self, name: str) -> None:
        """Forget what a model is called that is neither here nor on its way."""
        if name not in self.shelf and name not in self.memory and name not in self._loads:
            self.targets.pop(name, None)

    def _remember(self, name: str, error: InvokeError) -> InvokeError:
        """Answer requests for the model with this error for a while, without another load."""
        now = time.monotonic()
        for old in [old for old, (until, _) in self._failures.items() if until <= now]:
            del self._failures[old]
        self._failures[name] = (now + self._settings.failure_seconds, error)
        return error

    async def _load(self, name: str) -> Held:
        """Download, unpack, load; whatever the requests for it do meanwhile."""
        async with self._few:
            if (unload := self._unloads.get(name)) is not None:
                await asyncio.shield(unload)
            if name not in self.shelf:
                await self._download(name)
            begun = time.monotonic()
            answer = await self._load_with_room(name)
            meter, variant = self._around.meter, self._variant.name
            meter.duration(variant, "ModelLoadingTime", time.monotonic() - begun)
            if answer.status not in (_OK, _CONFLICT):
                await self._delete(name)  # Multi Model Server keeps what it failed to load
                await self.shelf.drop(name)
                raise self._remember(name, self._model_error(answer.status, answer.body))
            self.shelf.residency.request(name, time.monotonic())
            held = self.memory.loaded(name, self.shelf.size(name), time.monotonic())
            held.pins = self._waiting[name]  # who waits has it before it may go again
            return held

    async def _download(self, name: str) -> None:
        target = self.targets[name]
        url = f"{self._variant.model_data_url}{target}"
        begun = time.monotonic()
        try:
            await self.shelf.put(name, self.archive(url))
        except FileNotFoundError:
            raise faults.no_object(*split_url(url)) from None
        except artifacts.ArtifactError as error:
            damaged = faults.invalid(
                f'Failed to extract model data archive from URL "{url}": {error}. Please ensure '
                "that the object located at the URL is a valid tar.gz archive."
            )
            raise self._remember(name, damaged) from None
        seconds = time.monotonic() - begun
        self._around.meter.duration(self._variant.name, "ModelDownloadingTime", seconds)

    def archive(self, url: str) -> Path:
        """The file of an S3 object, which need not exist."""
        try:
            return self._around.objects.path(*split_url(url))
        except ValueError as error:  # no object can have that key
            raise FileNotFoundError(str(error)) from None

    async def _load_with_room(self, name: str) -> Answer:
        """Load; as long as the container lacks memory, unload others, more each time."""
        directory = f"{self._model_root}/{name}/model"
        message = json.dumps({"model_name": name, "url": directory}).encode()
        give_up, refusals = time.monotonic() + self._settings.load_seconds, 0
        headers = _JSON + b"X-Amzn-SageMaker-Target-Model: %b\r\n" % header(self.targets[name])
        while True:
            self._posting += 1
            try:
                answer = await self._manage(b"POST", b"/models", message, headers, give_up)
            except TimeoutError:
                reason = f"the container did not load the model in {self._settings.load_seconds} s"
                error = self._model_error(0, reason.encode())
                raise self._remember(name, error) from None
            finally:
                self._posting -= 1
            if answer.status != _NO_MEMORY or not await self._evict(2**refusals // 2, give_up):
                return answer
            refusals += 1

    async def _manage(
        self, method: bytes, path: bytes, body: bytes, headers: bytes, give_up: float
    ) -> Answer:
        async with asyncio.timeout(give_up - time.monotonic()):
            return await self._wire.ask(method, path, body, headers)

    async def _evict(self, count: int, give_up: float) -> bool:
        """Unload so many of the least recently used models, one at least, or fewer.

        Where none may go, wait for what has the room: models in use, loads and unloads of others.

        Returns:
            Whether it is worth to try again.
        """
        gone, waited = 0, False
        while gone < max(1, count):
            now = time.monotonic()
            name = self.memory.victim(now)
            if name is None:
                if now > give_up:
                    return False
                if gone or not (len(self.memory) or self._posting or self._unloads):
                    return gone > 0 or waited
                waited = True
                may_go = self.memory.victim_from() or now
                await asyncio.sleep(min(max(_ROOM_SECONDS, may_go - now), give_up - now))
                continue
            await self._unload(name, "the container lacked memory (507)")
            gone += 1
        return True

    async def _unload(self, name: str, reason: str) -> None:
        """Evict a model from memory; it stays on the disk."""
        held = self.memory.evict(name)
        self.evicted_at = time.monotonic()
        self._note_eviction(name, held, reason)
        await self._delete(name)

    async def _delete(self, name: str) -> None:
        """Have the container unload a model that counts as gone already."""
        task = self._unloads.get(name)
        if task is None:
            task = self._unloads[name] = asyncio.create_task(self._ask_to_unload(name))
            task.add_done_callback(lambda _: self._unloads.pop(name, None))
        await asyncio.shield(task)

    async def _ask_to_unload(self, name: str) -> None:
        begun = time.monotonic()
        path = b"/models/%b" % name.encode()
        give_up = begun + self._settings.load_seconds
        with contextlib.suppress(LostError, TimeoutError):  # then it has gone with its container
            await self._manage(b"DELETE", path, b"", b"", give_up)
        seconds = time.monotonic() - begun
        self._around.meter.duration(self._variant.name, "ModelUnloadingTime", seconds)

    async def _forget(self, name: str) -> None:
        """With caching disabled: unload, and delete from the disk."""
        if self.memory.remove(name) is not None:
            await self._delete(name)
            if name not in self._loads:
                await self.shelf.drop(name)
                self._let_go(name)

    def _off_the_disk(self, name: str, held: Held) -> None:
        self._note_eviction(name, held, "the disk was full")
        self._let_go(name)

    def _note_eviction(self, name: str, held: Held, reason: str) -> None:
        self._around.events.evicted(
            endpoint=self._around.endpoint,
            instance=self._instance,
            model=self.targets[name],
            reason=reason,
            size_bytes=held.size,
            idle_seconds=round(time.monotonic() - held.used_at, 1),
        )

    def _model_error(self, status: int, body: bytes) -> InvokeError:
        around = self._around
        return faults.of_model(around.endpoint, around.region, around.account, status, body)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def relieve(self, share: float, reason: str) -> None:
        """Unload that share of the models, the least recently used, and one at least."""
        for _ in range(max(1, round(share * len(self.memory)))):
            if (name := self.memory.victim(time.monotonic())) is None:
                return
            await self._unload(name, reason)

    def close(self) -> None:
        """Give up what is being done."""
        for task in (*self._loads.values(), *self._unloads.values(), *self._tasks):
            task.cancel()


async def ask(
    wire: Wire, path: bytes, body: bytes, headers: bytes, deadline: float, on_part: Part | None
) -> Served:
    """Have the container answer an invocation before the deadline."""
    begun = time.monotonic()
    async with asyncio.timeout(deadline - time.monotonic()):
        answer = await wire.ask(b"POST", path, body, headers, on_part)
    return Served(answer, True, time.monotonic() - begun)


def header(text: str) -> bytes:
    """A header's value that cannot be two."""
    return text.encode("utf-8").translate(None, b"\r\n\0")
