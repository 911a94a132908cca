"""How long requests take: what one takes alone, the wait for a processor, and the load of a model.

The processors of an instance are a queue of ``c`` servers (M/M/c); loads take processor time, too.
"""

import math
from dataclasses import dataclass

import numpy as np

from mme.plan.trace import Floats, Numbers

# One warm row, one connection, to its median; benchmarks/results/peers.json has p50 0.198 ms, p90
# 0.297 ms, p99 2.394 ms. The two ends are set so that the curve has some.
_QUANTILES = (0.0, 0.5, 0.9, 0.99, 1.0)
_OF_MEDIAN = (0.8, 1.0, 1.5, 12.1, 18.0)
_LOAD_SPREAD = 0.06  # of a load's logarithm: its p90 is 1.08 of its median at 100,000 models
DRAWS = 200_000


@dataclass(frozen=True)
class Load:
    """What the instances of an endpoint have to do.

    Attributes:
        rates: (instances,) requests a second of each.
        colds: (instances,) those whose model is to be loaded.
        cpus: of each.
        rate_a_cpu: warm requests a second that one of them can answer.
        warm_median_ms: a warm request alone.
        load_ms: a load from the disk; it takes a processor all the time.
        download_ms: before it, where the model comes from S3; it takes none.
        download_rate: share of the colds where it does.
    """

    rates: Floats
    colds: Floats
    cpus: int
    rate_a_cpu: float
    warm_median_ms: float
    load_ms: float
    download_ms: float
    download_rate: float

    @property
    def utilisations(self) -> Floats:
        """(instances,) shares of processor time; 1 and more cannot be done."""
        seconds = self.rates / self.rate_a_cpu + self.colds * self.load_ms / 1000
        return seconds / self.cpus


@dataclass(frozen=True)
class Latency:
    """Milliseconds: of all requests, and at the goal's percentile of warm ones and of cold ones."""

    p50: float
    p90: float
    p99: float
    warm: float
    cold: float


def erlang_c(servers: int, utilisation: float) -> float:
    """The share of requests that find all servers of an M/M/c queue at work."""
    if utilisation >= 1:
        return 1.0
    offered = servers * utilisation
    blocked = 1.0  # Erlang B, by its recursion
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - utilisation * (1 - blocked))


def estimate(load: Load, percentile: float, seed: int, draws: int = DRAWS) -> Latency:
    """Draw requests and take the percentiles; all infinite where an instance cannot keep up."""
    if float(np.max(load.utilisations)) >= 1:
        return Latency(*[math.inf] * 5)
    random = np.random.default_rng(seed)
    total = load.rates.sum()
    where = random.choice(len(load.rates), draws, p=load.rates / total)
    warm = load.warm_median_ms * np.interp(random.random(draws), _QUANTILES, _OF_MEDIAN)
    warm += _waits(load, where, random)
    cold = warm + load.load_ms * np.exp(_LOAD_SPREAD * random.standard_normal(draws))
    cold += load.download_ms * (random.random(draws) < load.download_rate)
    share = np.divide(load.colds, load.rates, out=np.zeros_like(load.rates), where=load.rates > 0)
    both = np.where(random.random(draws) < share[where], cold, warm)
    p50, p90, p99 = np.percentile(both, (50, 90, 99))
    return Latency(
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
        warm=float(np.percentile(warm, percentile)),
        cold=float(np.percentile(cold, percentile)),
    )


def _waits(load: Load, where: Numbers, random: np.random.Generator) -> Floats:
    """Milliseconds before a processor is free: none, or exponential."""
    busy = load.utilisations
    waits = np.array([erlang_c(load.cpus, float(one)) for one in busy])
    # A queue empties at the rate that the processors have to spare; loads make its items longer.
    items = np.maximum(load.rates + load.colds, 1e-9)
    seconds_an_item = np.maximum(busy * load.cpus / items, 1 / load.rate_a_cpu)
    means = 1000 * seconds_an_item / (load.cpus * (1 - busy))
    late = random.random(len(where)) < waits[where]
    wait: Floats = late * random.exponential(1.0, len(where)) * means[where]
    return wait
