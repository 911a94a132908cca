"""What is counted: for each of a bounded number of models, and for all others together.

Counting is plain integers. Prometheus' text is made when someone asks for it, and CloudWatch's
embedded metric lines once a minute where they are wanted.
"""

import bisect
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

OTHER = "other"  # the name under which the models beyond the bound are counted
BOUNDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
NAMESPACE = "XGBoostMME"
_MOST_SAMPLES = 100  # of one metric in one embedded line, as CloudWatch takes them
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Counts:
    """Of one model, or of all the others."""

    loads: int = 0
    invocations: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # by the type of the error
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    new: list[float] = field(default_factory=list)  # seconds of each since the last embedded line
    reported: tuple[int, int, int] = (0, 0, 0)  # loads, invocations, faults until then

    def observe(self, seconds: float) -> None:
        """An invocation was answered after so long."""
        self.invocations += 1
        self.seconds += seconds
        self.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        if len(self.new) < _MOST_SAMPLES:
            self.new.append(seconds)


class Metrics:
    """All counts.

    Args:
        most: models that are counted one by one; the first that are invoked, until unloaded.
        gauges: what is true now, by name, with a description.
    """

    def __init__(self, most: int, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._most = most
        self._gauges = gauges
        self._counts = {OTHER: Counts()}

    def of(self, model: str) -> Counts:
        """Where to count what concerns a model."""
        counts = self._counts.get(model)
        if counts is None:
            if len(self._counts) > self._most:
                return self._counts[OTHER]
            counts = self._counts[model] = Counts()
        return counts

    def forget(self, model: str) -> None:
        """A model is unloaded: its place is another's."""
        if model != OTHER:
            self._counts.pop(model, None)

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        from prometheus_client.core import CollectorRegistry  # only who asks pays for it
        from prometheus_client.exposition import generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return bytes(generate_latest(registry))

    def collect(self) -> Iterator["Metric"]:
        """What ``prometheus_client`` asks of a collector."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        loads = CounterMetricFamily("mme_loads", "Models loaded", labels=["model"])
        asked = CounterMetricFamily("mme_invocations", "Invocations answered", labels=["model"])
        faults = CounterMetricFamily("mme_errors", "Errors answered", labels=["model", "type"])
        seconds = HistogramMetricFamily(
            "mme_invocation_seconds", "From the request whole to its answer", labels=["model"]
        )
        for model, counts in self._counts.items():
            loads.add_metric([model], counts.loads)
            asked.add_metric([model], counts.invocations)
            for kind, count in counts.faults.items():
                faults.add_metric([model, kind], count)
            sums = itertools.accumulate(counts.buckets)
            bounds = [*map(str, BOUNDS), "+Inf"]
            seconds.add_metric([model], list(zip(bounds, sums, strict=True)), counts.seconds)
        yield from (loads, asked, faults, seconds)
        for name, (text, value) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value())

    def embedded_lines(self) -> Iterator[bytes]:
        """Lines in CloudWatch's embedded metric format, of what has changed since the last."""
        for model, counts in self._counts.items():
            total = counts.loads, counts.invocations, sum(counts.faults.values())
            loads, invocations, faults = (
                now - then for now, then in zip(total, counts.reported, strict=True)
            )
            if not (loads or invocations or faults):
                continue
            counts.reported = total
            latency = [round(seconds * 1000, 3) for seconds in counts.new]
            counts.new = []
            values: dict[str, object] = {"Loads": loads, "Errors": faults}
            values |= {"Invocations": invocations, **({"Latency": latency} if latency else {})}
            units = {"Latency": "Milliseconds"}
            metrics = [{"Name": name, "Unit": units.get(name, "Count")} for name in values]
            head = {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {"Namespace": NAMESPACE, "Dimensions": [["Model"]], "Metrics": metrics}
                ],
            }
            yield json.dumps({"_aws": head, "Model": model, **values}).encode() + b"\n"
