"""The other ways: an endpoint a model, and a serverless endpoint a model."""

import math
from dataclasses import dataclass

import numpy as np

from mme.figures import milliseconds
from mme.instance_types import shape
from mme.plan import latency
from mme.plan.fleet import Fleet
from mme.plan.options import Option, capacity_bytes, load_ms
from mme.plan.prices import HOURS_A_MONTH, Prices, Serverless
from mme.plan.trace import Trace

MIB = 1024**2
SERVERLESS_QUOTA = 50  # serverless endpoints an account may have in a region, unless AWS is asked
_IDLE_SECONDS = 600.0  # assumed: AWS does not say after how long an idle one is cold again
_START_MS = 786.0  # of this container, measured; what AWS takes before that is not known
_BODY_BYTES = 100  # of a row and its answer, together
_SPARE_MB = 128  # beside the container's base and its model
_SECONDS_A_MONTH = 3600 * HOURS_A_MONTH
ENDPOINT_A_MODEL = "one endpoint a model"
SERVERLESS = "serverless, one a model"
_NOT_KNOWN = "latency not known"


@dataclass(frozen=True)
class Dedicated:
    """One endpoint a model: the cheapest type whose memory takes one."""

    instance_type: str
    option: Option


def dedicated(fleet: Fleet, prices: Prices, trace: Trace, types: list[str]) -> Dedicated | None:
    """Every model on its own instances, always loaded; None where a model fits nowhere."""
    fits = [kind for kind in types if capacity_bytes(kind, fleet.base_mb) >= fleet.memory_mb * MIB]
    found = []
    for kind in fits:
        cpus, _ = shape(kind)
        able = cpus * fleet.rate_a_cpu * fleet.most_utilisation
        each = np.maximum(fleet.least_instances, np.ceil(trace.shares * trace.rate / able))
        instances = int(each.sum())
        busiest = float(np.max(trace.shares * trace.rate / each))
        load = latency.Load(
            rates=np.array([busiest]),
            colds=np.zeros(1),
            cpus=cpus,
            rate_a_cpu=fleet.rate_a_cpu,
            warm_median_ms=fleet.warm_median_ms,
            load_ms=0.0,
            download_ms=0.0,
            download_rate=0.0,
        )
        taken = latency.estimate(load, fleet.percentile, fleet.seed)
        late = taken.warm > fleet.warm_ms
        found.append(
            Dedicated(
                kind,
                Option(
                    name=ENDPOINT_A_MODEL,
                    instances=instances,
                    resident=1.0,
                    hit_rate=1.0,
                    cold_rate=0.0,
                    latency=taken,
                    utilisation=float(np.max(load.utilisations)),
                    monthly=prices.month(kind, instances),
                    lacks=f"warm p{fleet.percentile:g} {milliseconds(taken.warm)}" if late else "",
                ),
            )
        )
    return min(found, key=lambda one: one.option.monthly, default=None)


def serverless(fleet: Fleet, prices: Serverless, trace: Trace) -> Option | None:
    """A serverless endpoint a model; None where a model takes more memory than they have.

    Serverless inference has no multi-model mode. An endpoint that nobody asks for ten minutes is
    taken to be cold, and requests to come independently of each other. How long it takes to
    answer, AWS does not say, so it is never said to meet the goals.
    """
    needed = fleet.base_mb + fleet.memory_mb + _SPARE_MB
    size = min((one for one in prices.second if one >= needed), default=None)
    if size is None:
        return None
    rates = trace.shares * trace.rate
    cold_rate = float((rates * np.exp(-rates * _IDLE_SECONDS)).sum())
    warm_seconds = fleet.warm_median_ms / 1000
    cold_ms = _START_MS + load_ms(fleet)
    seconds = max(0.001, warm_seconds) * trace.rate + cold_rate * cold_ms / 1000
    gigabytes = trace.rate * _BODY_BYTES / 1e9
    monthly = _SECONDS_A_MONTH * (seconds * prices.second[size] + gigabytes * prices.gb_processed)
    hits = 1 - cold_rate / trace.rate
    lacks = _NOT_KNOWN
    if len(rates) > SERVERLESS_QUOTA:
        lacks = f"{len(rates):,} endpoints; an account has {SERVERLESS_QUOTA}"
    elif hits < fleet.hit_rate:
        lacks = f"hit rate {hits:.1%}"
    elif fleet.warm_median_ms > fleet.warm_ms:
        lacks = f"warm p50 {fleet.warm_median_ms:.1f} ms"
    elif hits < 1 and cold_ms > fleet.cold_ms:
        lacks = f"cold {milliseconds(cold_ms)}"
    return Option(
        name=SERVERLESS,
        instances=0,
        resident=math.nan,
        hit_rate=hits,
        cold_rate=cold_rate,
        latency=None,
        utilisation=0.0,
        monthly=monthly,
        lacks=lacks,
    )
