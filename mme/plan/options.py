"""What can be chosen, and what is: multi-model endpoints, an endpoint a model, serverless."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mme.figures import milliseconds
from mme.instance_types import shape
from mme.plan import latency
from mme.plan.fleet import Fleet
from mme.plan.prices import Prices
from mme.plan.simulate import GIB, Replayed, Sizes, replay
from mme.plan.trace import Floats, Trace

MIB = 1024**2
# As handler/memory.py has it: the container keeps so much free, and says 507 before.
_LEAST_RESERVE, _RESERVE_SHARE = 64 * MIB, 16
_SPREAD_AT = 8  # requests for one model in flight, before another instance loads it too
_PART = 0.2  # of an instance's processors; a model that takes more is held by more instances
# A price list has a hundred types, with accelerators that trees have no use for and with processors
# that are lent for bursts. These are considered where nothing else is said.
USUAL = (
    *(f"ml.c5.{size}" for size in ("large", "xlarge", "2xlarge", "4xlarge")),
    *(f"ml.m5.{size}" for size in ("large", "xlarge", "2xlarge", "4xlarge")),
    *(f"ml.r5.{size}" for size in ("large", "xlarge", "2xlarge", "4xlarge", "12xlarge")),
)
_TRIES = 8  # at numbers of instances, for one type, to come closer to the fewest
_DOUBLINGS = 7  # of the step up from the guess, to nine times as many, before a type is given up
_AT_MOST = 2  # times as many as hold all models and have the processors: what the guess ends at
_ROUGH = 20_000  # draws, where many numbers of instances are tried
_POINTS = 150  # of a curve


@dataclass(frozen=True)
class Option:
    """One way to serve the models.

    Attributes:
        name: an instance type, or what it is instead.
        instances: all of them; 0 where there are none to pay.
        resident: models in an instance's memory.
        hit_rate: share of requests that find their model loaded.
        cold_rate: requests a second that do not.
        latency: milliseconds; None where it cannot be said.
        utilisation: of the busiest instance's processors, 0 to 1.
        monthly: dollars.
        lacks: what keeps it from being chosen; empty if it is known to meet the goals.
    """

    name: str
    instances: int
    resident: float
    hit_rate: float
    cold_rate: float
    latency: latency.Latency | None
    utilisation: float
    monthly: float
    lacks: str = ""


def capacity_bytes(instance_type: str, base_mb: float) -> int:
    """Memory for models on an instance: without the container's base and what it keeps free."""
    limit = shape(instance_type)[1]
    reserve = _LEAST_RESERVE + limit // _RESERVE_SHARE
    return max(0, limit - reserve - int(base_mb * MIB))


class Planner:
    """Finds the fewest instances of each type that meet the goals.

    Args:
        fleet: with all that a model takes.
        prices: of its region.
        trace: the traffic.
        progress: is told each replay, in words.
    """

    def __init__(
        self,
        fleet: Fleet,
        prices: Prices,
        trace: Trace,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.fleet, self.prices, self.trace = fleet, prices, trace
        self._progress = progress
        self._curve = Curve(trace.shares)
        self._replays: dict[tuple[int, int, tuple[tuple[int, int], ...]], Replayed] = {}
        self.sizes = Sizes(
            memory=max(1, int(fleet.memory_mb * MIB)),
            disk=max(4096, int(fleet.memory_mb * MIB / DISK_SHARE)),
            load_seconds=load_ms(fleet) / 1000,
            download_seconds=download_ms(fleet) / 1000,
        )

    def types(self) -> Sequence[str]:
        """Those to consider.

        Raises:
            CommandError: one of them has no price, or is no instance type.
        """
        usual = tuple(kind for kind in USUAL if kind in self.prices.hourly)
        wanted = self.fleet.instance_types or usual or tuple(self.prices.hourly)
        hourly = {kind: self.prices.hour(kind) for kind in wanted}
        return sorted(hourly, key=lambda kind: (shape(kind)[1], hourly[kind]))

    def option(self, kind: str) -> Option:
        """About the fewest instances of the type that meet the goals, or the most tried."""
        cpus, _ = shape(kind)
        slots = capacity_bytes(kind, self.fleet.base_mb) // self.sizes.memory
        least = max(self.fleet.least_instances, self._for_processors(cpus))
        if not slots:
            return self._impossible(kind, least)
        tried: dict[int, Option] = {}

        def at(number: int) -> Option:
            if number not in tried:
                tried[number] = self._at(kind, number, int(slots))
            return tried[number]

        enough = max(least, math.ceil(len(self.trace.shares) / slots))  # no model is ever cold
        guess = self._guess(cpus, int(slots), least, _AT_MOST * enough + 1)
        if guess is None:
            return at(enough)
        low = number = guess
        # The guess has the same to do for each instance. Hot models are not spread so evenly, and
        # may take many more: the step doubles until the goals are met.
        step = max(1, number // 16)
        for _ in range(_DOUBLINGS):
            if not at(number).lacks:
                break
            low, number, step = number + 1, number + step, 2 * step
        if at(number).lacks:
            return replace(at(number), lacks=f"{at(number).lacks}; more were not tried")
        # It is also for requests that come independently of each other, as drawn ones do. What was
        # recorded may need fewer.
        if self.fleet.trace:
            low = least
        tries = len(tried) + _TRIES
        while low < number and len(tried) < tries:
            middle = (low + number) // 2
            if at(middle).lacks:
                low = middle + 1
            else:
                number = middle
        return tried[number]

    def _impossible(self, kind: str, instances: int) -> Option:
        return Option(
            name=kind,
            instances=instances,
            resident=0.0,
            hit_rate=0.0,
            cold_rate=self.trace.rate,
            latency=None,
            utilisation=0.0,
            monthly=self.prices.month(kind, instances),
            lacks="no model fits into its memory",
        )

    def _guess(self, cpus: int, slots: int, least: int, most: int) -> int | None:
        """About how many instances meet the goals, by an approximation, without a replay.

        None where not even the most do.
        """

        def lacks(number: int) -> str:
            hits = self._curve.hit_rate(number * slots)
            rates = np.full(number, self.trace.rate / number)
            load = self._load(cpus, rates, rates * (1 - hits), 0.0)
            busy = float(np.max(load.utilisations))
            taken = latency.estimate(load, self.fleet.percentile, 0, _ROUGH)
            return self._lacks(hits, busy, taken)

        if lacks(most):
            return None
        low, high = least, most
        while low < high:
            middle = (low + high) // 2
            if lacks(middle):
                low = middle + 1
            else:
                high = middle
        return low

    def _for_processors(self, cpus: int) -> int:
        able = cpus * self.fleet.rate_a_cpu * self.fleet.most_utilisation
        return math.ceil(self.trace.rate / able)

    def _at(self, kind: str, instances: int, slots: int) -> Option:
        cpus, _ = shape(kind)
        fleet, trace = self.fleet, self.trace
        copies = self._copies(cpus, instances)
        found = self._replay(instances, slots, copies)
        rates, colds = found.shares * trace.rate, found.cold * trace.rate
        load = self._load(cpus, rates, colds, found.download_rate)
        busy = float(np.max(load.utilisations))
        taken = latency.estimate(load, fleet.percentile, fleet.seed)
        return Option(
            name=kind,
            instances=instances,
            resident=found.resident,
            hit_rate=found.hit_rate,
            cold_rate=(1 - found.hit_rate) * trace.rate,
            latency=taken,
            utilisation=busy,
            monthly=self.prices.month(kind, instances),
            lacks=self._lacks(found.hit_rate, busy, taken),
        )

    def _load(self, cpus: int, rates: Floats, colds: Floats, downloads: float) -> latency.Load:
        return latency.Load(
            rates=rates,
            colds=colds,
            cpus=cpus,
            rate_a_cpu=self.fleet.rate_a_cpu,
            warm_median_ms=self.fleet.warm_median_ms,
            load_ms=1000 * self.sizes.load_seconds,
            download_ms=1000 * self.sizes.download_seconds,
            download_rate=downloads,
        )

    def _lacks(self, hits: float, busy: float, taken: latency.Latency) -> str:
        goal = self.fleet
        if busy > goal.most_utilisation:
            return f"an instance is {min(busy, 9.99):.0%} busy"
        if hits < goal.hit_rate:
            return f"hit rate {hits:.1%}"
        if taken.warm > goal.warm_ms:
            return f"warm p{goal.percentile:g} {milliseconds(taken.warm)}"
        if hits < 1 and taken.cold > goal.cold_ms:
            return f"cold p{goal.percentile:g} {milliseconds(taken.cold)}"
        return ""

    def _copies(self, cpus: int, instances: int) -> dict[int, int]:
        """Models that one instance cannot answer alone, and how many will hold each."""
        copies = {}
        for model in self.trace.by_share[:100].tolist():
            rate = float(self.trace.shares[model]) * self.trace.rate
            flight = rate * self.fleet.warm_median_ms / 1000 / _SPREAD_AT
            work = rate / (_PART * cpus * self.fleet.rate_a_cpu)
            number = min(instances, math.ceil(max(flight, work, 1)))
            if number > 1:
                copies[model] = number
        return copies

    def _replay(self, instances: int, slots: int, copies: dict[int, int]) -> Replayed:
        # More room than all models need is the same as enough.
        slots = min(slots, len(self.trace.shares) + sum(copies.values()))
        key = (instances, slots, tuple(sorted(copies.items())))
        if key not in self._replays:
            self._progress(
                f"{len(self.trace.times):,} requests, {instances} instances of {slots:,} models"
            )
            self._replays[key] = replay(
                self.trace,
                instances,
                slots * self.sizes.memory,
                self.sizes,
                int(self.fleet.volume_gb * GIB),
                copies,
            )
        return self._replays[key]

    def all(self) -> list[Option]:
        """An option for each type."""
        return [self.option(kind) for kind in self.types()]


# Of models that are forests, as most are; XGBoost's take ten times the memory of the same file.
DISK_SHARE = 0.14  # a model's memory to its file: 0.12 and 0.17 for 0.006 and 1.1 MB, measured
_ARCHIVE_SHARE = 0.5  # a model's memory to its archive: 0.47 and 0.56, measured
_LOAD_MS, _LOAD_MS_A_MB = 1.3, 3.5  # peers.json at 0.007 MB; a model of 1.1 MB, loaded here
_DOWNLOAD_MS, _DOWNLOAD_MS_A_MB = 30.0, 20.0  # assumed: no account was there to measure S3


def archive_mb(fleet: Fleet) -> float:
    """Of one archive, MiB."""
    return fleet.archive_mb or fleet.memory_mb / _ARCHIVE_SHARE


def load_ms(fleet: Fleet) -> float:
    """Of a model that is on the disk, and its first answer."""
    return fleet.load_ms or _LOAD_MS + _LOAD_MS_A_MB * fleet.memory_mb


def download_ms(fleet: Fleet) -> float:
    """Of an archive, from S3."""
    return fleet.download_ms or _DOWNLOAD_MS + _DOWNLOAD_MS_A_MB * archive_mb(fleet)


class Curve:
    """LRU's hit rate against its size, by Che's approximation: requests are independent.

    Args:
        shares: (models,) of all requests.
    """

    def __init__(self, shares: Floats) -> None:
        self._all = int(np.count_nonzero(shares))
        least = max(float(np.min(shares[shares > 0])), 1e-12)
        ages = np.geomspace(0.01, 40 / least, _POINTS)  # in requests: how long a model is held
        points = [(0.0, 0.0)]
        for age in ages:
            held = -np.expm1(-shares * age)
            points.append((float(held.sum()), float((shares * held).sum())))
        self._sizes, self._hits = np.array(points).T

    def hit_rate(self, slots: int) -> float:
        """With room for so many models."""
        if slots >= self._all:
            return 1.0
        return float(np.interp(slots, self._sizes, self._hits))


def recommend(options: Sequence[Option]) -> Option | None:
    """The cheapest that meets the goals; of two at one price the one with more hits."""
    good = [one for one in options if not one.lacks and one.latency is not None]
    return min(good, key=lambda one: (one.monthly, -one.hit_rate, one.instances), default=None)
