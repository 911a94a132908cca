"""What is counted: CloudWatch's metrics of an endpoint, gathered here until somebody asks."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

PLATFORM, INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
_UNITS = {
    "ModelLoadingWaitTime": "Microseconds",
    "ModelUnloadingTime": "Microseconds",
    "ModelDownloadingTime": "Microseconds",
    "ModelLoadingTime": "Microseconds",
    "ModelLatency": "Microseconds",
    "OverheadLatency": "Microseconds",
    "CPUUtilization": "Percent",
    "MemoryUtilization": "Percent",
    "DiskUtilization": "Percent",
}
_STEPS = 100.0  # a factor of e in latency has so many values: each is within half a percent

Histogram = dict[float, int]


class Datum(NamedTuple):
    """What happened to one metric within one period: how often each value was seen.

    A count below zero takes back what was handed over before: a gauge has one value a period.
    """

    namespace: str
    variant: str
    metric: str
    unit: str
    period_start: int
    values: Histogram


def rounded(microseconds: float) -> float:
    """A duration with two digits or so, so that a histogram stays small."""
    if microseconds < 1:
        return 0.0
    return round(math.exp(round(math.log(microseconds) * _STEPS) / _STEPS), 1)


class Meter:
    """The metrics of one endpoint.

    Args:
        period_seconds: between two publications, as the endpoint's configuration has it.
    """

    def __init__(self, period_seconds: int) -> None:
        self.period_seconds = period_seconds
        self._counted: dict[tuple[int, str, str], Histogram] = defaultdict(dict)
        self._gauges: dict[tuple[str, str, str], float] = {}  # variant, metric, instance
        self._handed: dict[tuple[str, str, str], tuple[int, float]] = {}

    def count(self, variant: str, metric: str, value: float) -> None:
        """One sample of a metric of the namespace AWS/SageMaker."""
        period = int(time.time()) // self.period_seconds
        values = self._counted[period, variant, metric]
        values[value] = values.get(value, 0) + 1

    def duration(self, variant: str, metric: str, seconds: float) -> None:
        """One sample of a metric in microseconds."""
        self.count(variant, metric, rounded(1e6 * seconds))

    def gauge(self, variant: str, metric: str, instance: str, value: float) -> None:
        """What a metric of an instance is now."""
        self._gauges[variant, metric, instance] = value

    def forget(self, instance: str) -> None:
        """An instance has gone."""
        for key in [key for key in self._gauges if key[2] == instance]:
            del self._gauges[key]
            self._handed.pop(key, None)

    def take(self) -> Iterator[Datum]:
        """What has come since the last time, and leave nothing of it."""
        counted, self._counted = self._counted, defaultdict(dict)
        for (period, variant, metric), values in counted.items():
            unit = _UNITS.get(metric, "None")
            yield Datum(PLATFORM, variant, metric, unit, period * self.period_seconds, values)
        period = int(time.time()) // self.period_seconds
        for key, value in self._gauges.items():
            change: Histogram = {value: 1}
            handed = self._handed.get(key)
            if handed is not None and handed[0] == period:
                if handed[1] == value:
                    continue
                change[handed[1]] = -1
            self._handed[key] = (period, value)
            variant, metric, _ = key
            unit = _UNITS.get(metric, "None")
            yield Datum(INSTANCES, variant, metric, unit, period * self.period_seconds, change)
