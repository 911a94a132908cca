"""What `mme local` may have to show: nothing, little, much, and names that want to be more."""

import hashlib
import math
import random
import time
from typing import Any

STEPS, STEP_SECONDS = 300, 2
GIB, MIB = 1024**3, 1024**2
INSTANCES = ("i-0c1f8a42d97be6035", "i-05e97b3a6c1d20f48", "i-0ab3d5519fe8c7624")
REASONS = ("memory: room for another model", "the container answered 507", "disk: room for another")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "</td></tr></table><h1>mine</h1>",
    "&lt;b&gt; ${7*7} {{7*7}} `x`",
    "\u202egnp.exe \u0000\u0007 \U0001f3e0",
    "a" * 1024,
)
State = dict[str, Any]


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # it makes up figures, not secrets


def nothing() -> State:
    """Right after the start."""
    return {
        "now": time.time(),
        "version": "0.5.0",
        "region": "us-east-1",
        "endpoints": [],
        "series": {},
        "evictions": [],
        "errors": [],
    }


def instance(identity: str, **known: Any) -> State:
    """One that has just come into service."""
    values = {
        "id": identity,
        "status": "InService",
        "url": "http://127.0.0.1:41837",
        "started": time.time() - 8,
        "memory_bytes": 310 * MIB,
        "memory_limit_bytes": 8 * GIB,
        "disk_bytes": 0,
        "disk_limit_bytes": 30 * GIB,
    }
    counts = ("loaded", "loading", "in_flight", "invocations", "hits", "loads", "evictions")
    return values | dict.fromkeys(counts, 0) | known


def endpoint(name: str, status: str, instances: list[State], **known: Any) -> State:
    """One with a variant of many models."""
    variant = {
        "name": "AllTraffic",
        "weight": 1.0,
        "image": "xgboost-mme:0.5.0",
        "instance_type": "ml.m5.large",
        "multi_model": True,
        "cache": True,
        "data_url": f"s3://models/{name}/",
        "instances": instances,
    }
    return {
        "name": name,
        "status": status,
        "failure_reason": None,
        "config": f"{name}-1",
        "created": time.time() - 8,
        "variants": [variant],
    } | known


def series(steps: int) -> State:
    """An endpoint's figures, of the newest so many steps: a cold start, a wave, some thrashing."""
    chance = _chance(7)
    ages = [STEPS - steps + i for i in range(steps)]
    wave = [60 + 25 * math.sin(i / 40) + chance.uniform(-9, 9) for i in ages]
    calls = [round(level * min(1.0, (k + 1) / 25)) for k, level in enumerate(wave)]
    hit = [
        (0.97 - 0.9 * math.exp(-k / 22) - (0.16 if 205 < i < 240 else 0)) * chance.uniform(0.96, 1)
        for k, i in enumerate(ages)
    ]
    warm = [1.1 + 0.25 * math.sin(i / 17) + chance.uniform(0, 0.3) for i in ages]
    cold = [chance.uniform(90, 420) if chance.random() < 0.35 + 3 * (1 - h) else None for h in hit]
    return {
        "step": STEP_SECONDS,
        "from": time.time() - steps * STEP_SECONDS,
        "invocations": calls,
        "hits": [round(n * h) for n, h in zip(calls, hit, strict=True)],
        "errors": [2 if 210 < i < 236 and i % 3 else 0 for i in ages],
        "p50_ms": warm,
        "p90_ms": [w * chance.uniform(1.7, 2.6) for w in warm],
        "cold_p90_ms": cold,
        "loaded": [round(1240 * (1 - math.exp(-k / 45))) for k in range(steps)],
    }


def little() -> State:
    """An endpoint a few seconds after its first invocations."""
    first = instance(INSTANCES[0], loaded=2, loads=2, invocations=9, hits=7, disk_bytes=3 * MIB)
    few = {
        "step": STEP_SECONDS,
        "from": time.time() - 8,
        "invocations": [0, 4, 0, 5],
        "hits": [0, 3, 0, 4],
        "errors": [0, 0, 0, 0],
        "p50_ms": [None, 1.2, None, 1.3],
        "p90_ms": [None, 2.0, None, 2.2],
        "cold_p90_ms": [None, 212.0, None, 188.0],
        "loaded": [0, 1, 1, 2],
    }
    return nothing() | {
        "endpoints": [endpoint("houses", "InService", [first])],
        "series": {"houses": few},
    }


def busy() -> State:
    """An endpoint in the midst of it, one that starts, and one that has failed."""
    now, chance = time.time(), _chance(3)
    full = [
        instance(
            identity,
            started=now - 5300 + 900 * i,
            url=f"http://127.0.0.1:{41837 + 7 * i}",
            memory_bytes=round((7.5 - 1.9 * i) * GIB),
            disk_bytes=round((11.2 - 2 * i) * GIB),
            loaded=700 - 160 * i,
            loading=2 - 2 * i,
            in_flight=3 - i,
            invocations=148_211 - 31_907 * i,
            hits=139_022 - 31_000 * i,
            loads=3_204 - 900 * i,
            evictions=2_504 - 900 * i,
        )
        for i, identity in enumerate(INSTANCES[:2])
    ]
    reason = (
        "The primary container for production variant AllTraffic did not pass the ping health "
        "check. Its last words: OSError: libxgboost.so: cannot open shared object file"
    )
    return nothing() | {
        "endpoints": [
            endpoint("houses", "InService", full, created=now - 5300),
            endpoint("prices", "Creating", [instance(INSTANCES[2], status="Starting")]),
            endpoint("orders", "Failed", [], failure_reason=reason, created=now - 700),
        ],
        "series": {"houses": series(STEPS), "prices": series(0), "orders": series(0)},
        "evictions": [
            {
                "time": now - 3 - 2.7 * i,
                "endpoint": "houses",
                "instance": INSTANCES[i % 2],
                "model": city(3000 + i),
                "reason": REASONS[chance.choice((0, 0, 0, 1, 2))],
                "size_bytes": chance.randrange(4 * MIB, 14 * MIB),
                "idle_seconds": chance.uniform(95, 400),
            }
            for i in range(100)
        ],
        "errors": errors(now),
    }


def errors(now: float) -> list[State]:
    """What clients were told, the newest first."""
    waits = "Model {} is still being downloaded or loaded on the instance. Retry later."
    said = [(429, "ModelNotReadyException", city(4), waits.format(city(4)))] * 12
    absent = "Failed to download model data(bucket: models, key: houses/Atlantis.tar.gz)."
    said.append((400, "ValidationError", "Atlantis.tar.gz", f"{absent} Please ensure that …"))
    column = 'Received client error (400) from primary with message "row 1 has 5 columns, not 6".'
    said.append((424, "ModelError", city(11), column))
    said.append((400, "ValidationError", "", "Request 7c1 is missing a target model header."))
    return [
        {
            "time": now - 5 - 11 * i,
            "endpoint": "houses",
            "model": model or None,
            "status": status,
            "type": kind,
            "message": message,
        }
        for i, (status, kind, model, message) in enumerate(said)
    ]


def hostile() -> State:
    """As busy, but whoever named things meant harm."""
    state = busy()
    for events in (state["evictions"], state["errors"]):
        for event, name in zip(events, HOSTILE, strict=False):
            event.update(model=name, endpoint=name)
    for event, name in zip(state["errors"], HOSTILE, strict=False):
        event.update(type=name, message=name)
    for event, name in zip(state["evictions"], HOSTILE, strict=False):
        event.update(reason=name, instance=name)
    shown = state["endpoints"][0]
    shown.update(name=HOSTILE[0], failure_reason=HOSTILE[1], config=HOSTILE[2], status=HOSTILE[3])
    shown["variants"][0].update(name=HOSTILE[0], image=HOSTILE[1], data_url=HOSTILE[4])
    shown["variants"][0]["instances"][0].update(id=HOSTILE[0], url=HOSTILE[1], status=HOSTILE[1])
    state["series"] = {HOSTILE[0]: state["series"]["houses"]}
    return state | {"version": HOSTILE[0], "region": HOSTILE[1]}


def city(number: int) -> str:
    """A target model's name."""
    cities = ("NewYork_NY", "Chicago_IL", "Houston_TX", "Austin_TX", "Boston_MA", "Denver_CO")
    part, which = divmod(number, len(cities))
    return f"{cities[which]}/{part:04d}.tar.gz" if part else f"{cities[which]}.tar.gz"


def models(targets: list[str]) -> list[State]:
    """Models in memory, the one that was used last first."""
    now, chance = time.time(), _chance(5)
    return [
        {
            "target": target,
            "name": hashlib.sha256(target.encode()).hexdigest()[:32],
            "instances": list(INSTANCES[: 2 if i % 7 == 0 else 1]),
            "size_bytes": chance.randrange(4 * MIB, 14 * MIB),
            "state": "loading" if i in (2, 5) else "resident",
            "last_used": now - 0.4 * i,
            "invocations": round(9000 / (i + 1)) + 1,
        }
        for i, target in enumerate(targets)
    ]
