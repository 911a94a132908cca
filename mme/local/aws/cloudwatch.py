"""moto's CloudWatch with metrics kept as histograms: percentiles, metric math, bounded memory."""

import datetime
import math
import threading
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from moto.cloudwatch.exceptions import (
    InvalidParameterCombination,
    InvalidParameterValue,
    ValidationError,
)
from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.cloudwatch.urls import url_bases
from moto.core.responses import ActionResult

from mme.local.aws.histogram import Histogram, percentile_of
from mme.local.aws.metric_math import MathError, Series, evaluate

_MINUTE = 60
_FINE_SECONDS = 3 * 3600  # then seconds become minutes, and values are rounded more
_KEPT_SECONDS = 15 * 86400
_STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PAGE = 500  # metrics in one answer of ListMetrics

Dimensions = tuple[tuple[str, str], ...]
MetricKey = tuple[str, str, Dimensions]  # namespace, name, dimensions in order


def install() -> None:
    """Make moto use it; to be called before CloudWatch is used."""
    cloudwatch_backends.backend = HistogramBackend


class Metric:
    """The values of one metric, by the second that they are dated, or its minute, and unit."""

    def __init__(self) -> None:
        self._bins: dict[tuple[int, str], Histogram] = {}
        self._next_sweep = 0.0

    def __len__(self) -> int:
        return len(self._bins)

    def add(self, start: int, unit: str, put: Callable[[Histogram], None]) -> None:
        """Change what was seen in a bin."""
        values = self._bins.setdefault((start, unit), Histogram())
        put(values)
        if not values:
            del self._bins[start, unit]

    def sweep(self, now: float) -> None:
        """Once a minute, forget what is too old, and make what is old smaller."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + _MINUTE
        for start, unit in [key for key in self._bins if key[0] < now - _FINE_SECONDS]:
            values = self._bins[start, unit]
            minute = start - start % _MINUTE
            if start < now - _KEPT_SECONDS:
                del self._bins[start, unit]
            elif minute != start:
                del self._bins[start, unit]
                self._bins.setdefault((minute, unit), Histogram()).merge(values)
            else:
                values.thin()

    def within(
        self, start: float, end: float, period: int, unit: str | None
    ) -> dict[tuple[int, str], Histogram]:
        """What was seen in each period, by its start and unit, in order."""
        found: dict[tuple[int, str], Histogram] = {}
        first = start - start % period
        for second, of in sorted(key for key in self._bins if first <= key[0] < end):
            if unit in (None, of):
                together = found.setdefault((second - second % period, of), Histogram())
                together.merge(self._bins[second, of])
        return found


class HistogramBackend(CloudWatchBackend):
    """moto's CloudWatch, with metrics of ours."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._lock = threading.Lock()
        self._metrics: dict[MetricKey, Metric] = {}

    @property
    def _url_module(self) -> Any:
        return types.SimpleNamespace(url_bases=url_bases, url_paths={"{0}/$": Response.dispatch})

    def put_metric_data(self, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        """Add to the histograms; all of it, or, if anything is wrong, nothing."""
        for number, datum in enumerate(metric_data, 1):
            self._validate_parameters_put_metric_data(datum, number)
            _check_finite(datum, number)
        now = time.time()
        with self._lock:
            for datum in metric_data:
                key = (namespace, datum["MetricName"], _dimensions(datum.get("Dimensions", ())))
                resolution = int(datum.get("StorageResolution") or _MINUTE)
                second = int(_seconds(datum.get("Timestamp"), now))
                start = second - second % resolution
                metric = self._metrics.setdefault(key, Metric())
                if start > now - _KEPT_SECONDS:
                    metric.add(start, datum.get("Unit") or "None", _putter(datum))
            for metric in self._metrics.values():
                metric.sweep(now)
            self._metrics = {key: metric for key, metric in self._metrics.items() if metric}

    def _histograms(
        self, key: MetricKey, start: float, end: float, period: int, unit: str | None
    ) -> dict[tuple[int, str], Histogram]:
        if period < 1:
            raise InvalidParameterValue("The parameter Period must be 1 or more.")
        with self._lock:
            metric = self._metrics.get(key)
            return {} if metric is None else metric.within(start, end, period, unit)

    def statistics(
        self,
        key: MetricKey,
        start: datetime.datetime,
        end: datetime.datetime,
        period: int,
        names: Sequence[str],
        unit: str | None,
    ) -> list[dict[str, Any]]:
        """The datapoints of GetMetricStatistics: one for each period and unit."""
        begin, stop = _seconds(start, 0), _seconds(end, 0)
        if begin >= stop:
            raise InvalidParameterValue(
                "The parameter StartTime must be less than the parameter EndTime."
            )
        points = []
        for (second, of), values in self._histograms(key, begin, stop, period, unit).items():
            point: dict[str, Any] = {"Timestamp": _time(second), "Unit": of}
            for name in names:
                value = values.statistic(name)
                if value is None:
                    continue
                if name in _STATISTICS:
                    point[name] = value
                else:
                    point.setdefault("ExtendedStatistics", {})[name] = value
            points.append(point)
        return points

    def get_metric_data(
        self,
        queries: list[dict[str, Any]],
        start_time: datetime.datetime,
        end_time: datetime.datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, Any]]:
        """What each query gives, in their order."""
        start, end = _seconds(start_time, 0), _seconds(end_time, 0)
        if start >= end:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        answers = _Answers(queries, lambda query: self._series(query, start, end))
        results = []
        for query in queries:
            series = answers.of(query["Id"])
            if not query.get("ReturnData", True):
                continue
            seconds = sorted(series, reverse=scan_by == "TimestampDescending")
            results.append(
                {
                    "Id": query["Id"],
                    "Label": query.get("Label") or _label(query),
                    "Timestamps": [_time(second) for second in seconds],
                    "Values": [series[second] for second in seconds],
                    "StatusCode": "Complete",
                }
            )
        return results

    def _series(self, query: Mapping[str, Any], start: float, end: float) -> Series:
        """The series of a query for a metric; its units together, as CloudWatch has it."""
        wanted = query["MetricStat"]
        metric, stat, period = wanted["Metric"], wanted["Stat"], int(wanted["Period"])
        _check_statistic(stat)
        key = (metric["Namespace"], metric["MetricName"], _dimensions(metric.get("Dimensions", ())))
        together: dict[int, Histogram] = {}
        for (second, _), values in self._histograms(
            key, start, end, period, wanted.get("Unit")
        ).items():
            together.setdefault(second, Histogram()).merge(values)
        found = {second: values.statistic(stat) for second, values in together.items()}
        return {second: value for second, value in found.items() if value is not None}

    def list_metrics(
        self,
        next_token: str | None,
        namespace: str | None,
        metric_name: str | None,
        dimensions: list[dict[str, str]],
    ) -> tuple[str | None, list[Any]]:
        """The metrics that have values, which may have more dimensions than are asked for."""
        with self._lock:
            keys = sorted(self._metrics)
        wanted = [(one["Name"], one.get("Value")) for one in dimensions]
        found = [
            {
                "Namespace": key[0],
                "MetricName": key[1],
                "Dimensions": [{"Name": name, "Value": value} for name, value in key[2]],
            }
            for key in keys
            if namespace in (None, key[0])
            and metric_name in (None, key[1])
            and all(any(_is_like(one, has) for has in key[2]) for one in wanted)
        ]
        if next_token is not None and not next_token.isdecimal():
            raise InvalidParameterValue("Request parameter NextToken is invalid")
        begin = int(next_token or 0)
        more = str(begin + _PAGE) if len(found) > begin + _PAGE else None
        return more, found[begin : begin + _PAGE]


class _Answers:
    """The series of the queries of one request, each evaluated once and when it is needed."""

    def __init__(
        self, queries: Iterable[dict[str, Any]], look_up: Callable[[Mapping[str, Any]], Series]
    ) -> None:
        self._queries = {query["Id"]: query for query in queries}
        self._look_up = look_up
        self._known: dict[str, Series] = {}
        self._open: list[str] = []

    def of(self, identity: str) -> Series:
        """The series of a query; KeyError if there is none of that id."""
        if identity not in self._known:
            query = self._queries[identity]
            if "MetricStat" in query:
                self._known[identity] = self._look_up(query)
            else:
                self._known[identity] = self._evaluated(identity, query["Expression"])
        return self._known[identity]

    def _evaluated(self, identity: str, expression: str) -> Series:
        if identity in self._open:
            raise ValidationError(f"Error in expression '{identity}': it depends on itself")
        self._open.append(identity)
        metrics = {key: self.of(key) for key, one in self._queries.items() if "MetricStat" in one}
        try:
            return evaluate(expression, self.of, metrics)
        except MathError as error:
            raise ValidationError(f"Error in expression '{identity}': {error}") from None
        finally:
            self._open.pop()


class Response(CloudWatchResponse):
    """moto's parsing, with the one parameter that it does not take."""

    def get_metric_statistics(self) -> ActionResult:
        """Answer GetMetricStatistics, with ExtendedStatistics."""
        asked = self._get_params()
        names = [*(asked.get("Statistics") or ()), *(asked.get("ExtendedStatistics") or ())]
        if not names:
            raise InvalidParameterCombination(
                "Must specify either Statistics or ExtendedStatistics"
            )
        for name in names:
            _check_statistic(name)
        backend = self.cloudwatch_backend
        assert isinstance(backend, HistogramBackend)  # noqa: S101  # for the types
        key = (asked["Namespace"], asked["MetricName"], _dimensions(asked.get("Dimensions") or ()))
        points = backend.statistics(
            key,
            asked["StartTime"],
            asked["EndTime"],
            int(asked["Period"]),
            names,
            asked.get("Unit"),
        )
        return ActionResult({"Label": asked["MetricName"], "Datapoints": points})


def _putter(datum: Mapping[str, Any]) -> Callable[[Histogram], None]:
    """What adds a datum's values, in whichever form they are."""

    def put(values: Histogram) -> None:
        if seen := datum.get("Values"):
            counts = datum.get("Counts") or [1.0] * len(seen)
            for value, count in zip(seen, counts, strict=True):
                values.add(float(value), float(count))
        elif sets := datum.get("StatisticValues"):
            names = ("SampleCount", "Sum", "Minimum", "Maximum")
            values.add_set(*(float(sets[name]) for name in names))
        else:
            values.add(float(datum.get("Value", 0.0)), 1.0)

    return put


def _check_finite(datum: Mapping[str, Any], number: int) -> None:
    numbers = [datum.get("Value", 0.0), *(datum.get("Values") or ()), *(datum.get("Counts") or ())]
    numbers += (datum.get("StatisticValues") or {}).values()
    if not all(math.isfinite(float(one)) for one in numbers):
        raise InvalidParameterValue(f"A value of MetricData.member.{number} is not finite.")


def _check_statistic(name: str) -> None:
    if name not in _STATISTICS:
        try:
            percentile_of(name)
        except ValueError:
            raise ValidationError(
                f"The statistic {name} is not supported here; {', '.join(_STATISTICS)} and "
                "percentiles (p0 to p100) are."
            ) from None


def _dimensions(given: Iterable[Mapping[str, str]]) -> Dimensions:
    return tuple(sorted((one["Name"], one["Value"]) for one in given))


def _is_like(wanted: tuple[str, str | None], dimension: tuple[str, str]) -> bool:
    return wanted[0] == dimension[0] and wanted[1] in (None, dimension[1])


def _label(query: Mapping[str, Any]) -> str:
    if "MetricStat" not in query:
        return str(query["Id"])
    return f"{query['MetricStat']['Metric']['MetricName']} {query['MetricStat']['Stat']}"


def _seconds(moment: datetime.datetime | None, now: float) -> float:
    """Since 1970; moto's times have no zone and mean UTC."""
    if moment is None:
        return now
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _time(second: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(second, datetime.UTC)
