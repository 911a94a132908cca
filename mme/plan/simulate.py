"""Replay a trace through the residency of instances: who holds what, who hits, who loads."""

import contextlib
import gc
import heapq
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mme.plan.trace import Floats, Trace
from mme.residency import Outcome, Residency

WARM_UP = 0.25  # of the trace's requests, which are replayed and not counted
GIB = 1024**3
_MODELS = operator.attrgetter("models")


@dataclass(frozen=True)
class Sizes:
    """What a model takes.

    Attributes:
        memory: bytes.
        disk: bytes, unpacked.
        load_seconds: from the disk.
        download_seconds: from S3 to the disk, before that.
    """

    memory: int
    disk: int
    load_seconds: float
    download_seconds: float


@dataclass(frozen=True, eq=False)
class Replayed:
    """What the counted requests found.

    Attributes:
        hit_rate: share that found their model loaded, as CloudWatch's ModelCacheHit.
        download_rate: share of the others whose model came from S3 first.
        resident: models an instance, the mean at the end.
        shares: (instances,) of requests, what each got.
        cold: (instances,) of requests, what each got whose model was not loaded.
    """

    hit_rate: float
    download_rate: float
    resident: float
    shares: Floats
    cold: Floats


@dataclass(slots=True, eq=False, order=False)
class _Instance:
    number: int
    memory: Residency
    disk: Residency | None  # None: all models fit, and have been here before
    models: int = 0  # in memory or on their way; asked for often, so it is kept
    requests: int = 0
    colds: int = 0
    downloads: int = 0


def replay(
    trace: Trace,
    instances: int,
    capacity: int,
    sizes: Sizes,
    disk_capacity: int = 30 * GIB,
    copies: dict[int, int] | None = None,
) -> Replayed:
    """Route requests as the platform does, and keep each instance's memory as it does.

    A request goes to the instance that holds its model, or is loading it; if none does, to the one
    with the fewest models, and when all are full to each in its turn. A load takes its time, and
    requests that come meanwhile wait for it.
    Before the trace, memory holds the models that are asked for most, as it does on an endpoint
    that has been up for long; its first requests (``WARM_UP``) are not counted.

    Left out: an instance that fails, scaling, models that come or change, and the platform's
    choices that AWS does not document.

    Args:
        trace: the requests.
        instances: one or more.
        capacity: bytes for models in an instance's memory.
        sizes: of each model.
        disk_capacity: bytes for models on an instance's disk.
        copies: how many instances hold a model that is too hot for one; others have one.
    """
    fits = len(trace.shares) * sizes.disk <= disk_capacity
    fleet = [
        _Instance(number, Residency(capacity), None if fits else Residency(disk_capacity))
        for number in range(instances)
    ]
    homes = _fill(trace, fleet, sizes, copies or {})
    hot = {trace.names[model]: on for model, on in _spread(copies or {}, instances).items()}
    moments, asked = trace.moments, trace.asked
    counted_from = int(len(asked) * WARM_UP)
    run = _Run(fleet, sizes, homes, hot)
    with _no_collection():
        run.play(moments[:counted_from], asked[:counted_from])
        for one in fleet:
            one.requests = one.colds = one.downloads = 0
        run.play(moments[counted_from:], asked[counted_from:])
    return _result(fleet, len(asked) - counted_from)


class _Run:
    """A replay on its way.

    Args:
        fleet: the instances.
        sizes: of each model.
        homes: the instance that holds a model, or is loading it, by the model's name.
        hot: the instances that hold a model that is too hot for one, by its name.
    """

    def __init__(
        self,
        fleet: list[_Instance],
        sizes: Sizes,
        homes: dict[str, _Instance],
        hot: dict[str, list[int]],
    ) -> None:
        self._fleet, self._sizes, self._homes, self._hot = fleet, sizes, homes, hot
        self._loading: list[tuple[float, str, _Instance]] = []  # a heap: what is done next
        self._turn = self._next = 0

    def play(self, moments: list[float], names: list[str]) -> None:
        """Ask for a model at each moment."""
        loading, homes, hot = self._loading, self._homes, self._hot
        hit, miss = Outcome.HIT, Outcome.MISS
        for now, name in zip(moments, names, strict=True):
            while loading and loading[0][0] <= now:
                self._hold(*heapq.heappop(loading))
            if name in hot:
                self._turn += 1
                copy = hot[name][self._turn % len(hot[name])]
                one = self._fleet[copy]
                name = f"{name}#{copy}"  # a copy is a model of its own
                homes[name] = one
            elif name in homes:
                one = homes[name]
            else:
                one = homes[name] = self._emptiest()
            one.requests += 1
            outcome = one.memory.request(name, now)
            if outcome is hit:
                continue
            one.colds += 1
            if outcome is miss:
                one.memory.begin(name)
                one.models += 1
                heapq.heappush(loading, (now + self._seconds(one, name, now), name, one))

    def _emptiest(self) -> _Instance:
        """The instance with the fewest models; of several, each in its turn."""
        fleet = self._fleet
        least = min(map(_MODELS, fleet))
        while True:
            self._next = (self._next + 1) % len(fleet)
            if fleet[self._next].models == least:
                return fleet[self._next]

    def _seconds(self, one: _Instance, name: str, now: float) -> float:
        """Until the model is loaded."""
        sizes = self._sizes
        if one.disk is None or one.disk.request(name, now) is Outcome.HIT:
            return sizes.load_seconds
        one.disk.make_room(sizes.disk, now)
        one.disk.loaded(name, sizes.disk, now)
        one.downloads += 1
        return sizes.load_seconds + sizes.download_seconds

    def _hold(self, now: float, name: str, one: _Instance) -> None:
        """The load of a model has come to its end."""
        size = self._sizes.memory
        for gone in one.memory.make_room(size, now):
            self._homes.pop(gone, None)
            one.models -= 1
        if one.memory.lacks(size):  # it can never fit
            one.memory.failed(name)
            one.models -= 1
            self._homes.pop(name, None)
            return
        one.memory.loaded(name, size, now)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the garbage collector, which looks at all models again and again, and finds none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _spread(copies: dict[int, int], instances: int) -> dict[int, list[int]]:
    """The numbers of the instances that hold each hot model: one after another takes one more."""
    hot, first = {}, 0
    for model, number in copies.items():
        hot[model] = [(first + step) % instances for step in range(min(number, instances))]
        first += number
    return hot


def _fill(
    trace: Trace, fleet: list[_Instance], sizes: Sizes, copies: dict[int, int]
) -> dict[str, _Instance]:
    """Load what fits, the most asked first, so that the least asked is the next to go."""
    homes: dict[str, _Instance] = {}
    hot = _spread(copies, len(fleet))
    room = [(one.memory.capacity or 0) // max(1, sizes.memory) for one in fleet]
    placed: list[tuple[str, _Instance]] = []
    filled = 0
    for model in trace.by_share.tolist():
        name = trace.names[model]
        if model in hot:
            for copy in hot[model]:
                placed.append((f"{name}#{copy}", fleet[copy]))
                room[copy] -= 1
            continue
        number = filled % len(fleet)
        if room[number] <= 0:
            number = int(np.argmax(room))
            if room[number] <= 0:
                break
        room[number] -= 1
        filled += 1
        placed.append((name, fleet[number]))
    for name, one in reversed(placed):
        if one.memory.lacks(sizes.memory):
            continue
        homes[name] = one
        one.models += 1
        one.memory.loaded(name, sizes.memory, 0.0)
        if one.disk is not None:
            one.disk.make_room(sizes.disk, 0.0)
            one.disk.loaded(name, sizes.disk, 0.0)
    return homes


def _result(fleet: list[_Instance], requests: int) -> Replayed:
    counted = np.array([one.requests for one in fleet], dtype=float)
    colds = np.array([one.colds for one in fleet], dtype=float)
    downloads = sum(one.downloads for one in fleet)
    return Replayed(
        hit_rate=1 - float(colds.sum()) / requests,
        download_rate=downloads / float(colds.sum()) if colds.sum() else 0.0,
        resident=sum(len(one.memory) for one in fleet) / len(fleet),
        shares=counted / requests,
        cold=colds / requests,
    )
