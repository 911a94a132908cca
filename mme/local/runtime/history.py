"""What the page shows of an endpoint's last minutes: a figure a step, evictions, errors."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mme.local.runtime.meter import rounded

STEP_SECONDS = 2
_STEPS = 300
_MOST_EVENTS, _MOST_CHARACTERS = 100, 1000


@dataclass(slots=True)
class _Step:
    invocations: int = 0
    hits: int = 0
    errors: int = 0
    loaded: int = 0
    warm: dict[float, int] = field(default_factory=dict)  # microseconds, how often
    cold: dict[float, int] = field(default_factory=dict)
    quantiles: tuple[float | None, ...] | None = None  # of one that is over: no more changes there

    def milliseconds(self) -> tuple[float | None, ...]:
        """The median, the 90th percentile, and that of the cold ones."""
        both = _all(self)
        return quantile(both, 0.5), quantile(both, 0.9), quantile(self.cold, 0.9)


class History:
    """The last minutes of one endpoint.

    Args:
        loaded: says how many models all its instances hold now.
    """

    def __init__(self, loaded: Callable[[], int]) -> None:
        self._loaded = loaded
        self._steps: deque[_Step] = deque([_Step()], maxlen=_STEPS)
        self._step = self._now()

    @staticmethod
    def _now() -> int:
        return int(time.time()) // STEP_SECONDS

    def _current(self) -> _Step:
        now = self._now()
        if now > self._step:  # nothing has come or gone meanwhile, or we would have been here
            loaded = self._loaded()
            for _ in range(min(now - self._step, _STEPS)):
                self._steps.append(_Step(loaded=loaded))
            self._step = now
        return self._steps[-1]

    def invocation(self, hit: bool, failed: bool, seconds: float) -> None:
        """One invocation has been answered."""
        step = self._current()
        step.invocations += 1
        step.hits += hit
        step.errors += failed
        times = step.warm if hit else step.cold
        value = rounded(1e6 * seconds)
        times[value] = times.get(value, 0) + 1

    def to_json(self) -> dict[str, Any]:
        """Lists of one figure a step, the oldest first."""
        self._current().loaded = self._loaded()
        steps = list(self._steps)
        for step in steps[:-1]:
            step.quantiles = step.quantiles or step.milliseconds()
        p50, p90, cold = zip(
            *[step.quantiles or step.milliseconds() for step in steps], strict=True
        )
        return {
            "step": STEP_SECONDS,
            "from": (self._step - len(steps) + 1) * STEP_SECONDS,
            "invocations": [step.invocations for step in steps],
            "hits": [step.hits for step in steps],
            "errors": [step.errors for step in steps],
            "p50_ms": list(p50),
            "p90_ms": list(p90),
            "cold_p90_ms": list(cold),
            "loaded": [step.loaded for step in steps],
        }


def _all(step: _Step) -> dict[float, int]:
    times = dict(step.warm)
    for value, count in step.cold.items():
        times[value] = times.get(value, 0) + count
    return times


def quantile(times: dict[float, int], share: float) -> float | None:
    """The value below which that share lies, in milliseconds; None of nothing."""
    left = share * sum(times.values())
    for value in sorted(times):
        left -= times[value]
        if left <= 0:
            return round(value / 1000, 3)
    return None


def _cut(value: object) -> object:
    return value[:_MOST_CHARACTERS] if isinstance(value, str) else value


class Events:
    """The newest evictions and errors of all endpoints."""

    def __init__(self) -> None:
        self.evictions: deque[dict[str, Any]] = deque(maxlen=_MOST_EVENTS)
        self.errors: deque[dict[str, Any]] = deque(maxlen=_MOST_EVENTS)

    def evicted(self, **details: object) -> None:
        """A model had to go."""
        self.evictions.appendleft({"time": round(time.time(), 3), **details})

    def failed(self, **details: object) -> None:
        """Something went wrong."""
        shown = {name: _cut(value) for name, value in details.items()}
        self.errors.appendleft({"time": round(time.time(), 3), **shown})
