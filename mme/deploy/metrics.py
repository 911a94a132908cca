"""What CloudWatch knows of an endpoint's last hour."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mme.aws import Aws

_HOUR_SECONDS, _MINUTE_SECONDS = 3600, 60
_US_PER_MS = 1000.0
_ENDPOINT, _INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
Values = Sequence[float]


def _newest(values: Values) -> float:
    return values[0]


class _Metric(NamedTuple):
    """One number: which metric it is of, and how many become one.

    An hour that does not begin with the clock's can come as two values. Of two percentiles the
    larger is shown, since nothing tells what that of both would be.
    """

    namespace: str
    name: str
    stat: str
    together: Callable[[Values], float]
    period_seconds: int = _HOUR_SECONDS


_METRICS = {
    "invocations": _Metric(_ENDPOINT, "Invocations", "Sum", sum),
    "errors_4xx": _Metric(_ENDPOINT, "Invocation4XXErrors", "Sum", sum),
    "errors_5xx": _Metric(_ENDPOINT, "Invocation5XXErrors", "Sum", sum),
    "latency_p50_us": _Metric(_ENDPOINT, "ModelLatency", "p50", max),
    "latency_p90_us": _Metric(_ENDPOINT, "ModelLatency", "p90", max),
    "cold_wait_p90_us": _Metric(_ENDPOINT, "ModelLoadingWaitTime", "p90", max),
    "hits": _Metric(_ENDPOINT, "ModelCacheHit", "Sum", sum),
    "looked": _Metric(_ENDPOINT, "ModelCacheHit", "SampleCount", sum),
    "loaded": _Metric(_INSTANCES, "LoadedModelCount", "Sum", _newest, _MINUTE_SECONDS),
    "loaded_per_instance": _Metric(
        _INSTANCES, "LoadedModelCount", "Average", _newest, _MINUTE_SECONDS
    ),
    "memory_percent": _Metric(_INSTANCES, "MemoryUtilization", "Maximum", max),
}


def last_hour(
    aws: Aws, endpoint: str, variant: str, now: datetime.datetime | None = None
) -> dict[str, float | None]:
    """Numbers of one variant; None for what there is no data of.

    Times are in milliseconds; the loaded models are those of the newest minute, all others those
    of the hour.
    """
    end = now or datetime.datetime.now(datetime.UTC)
    pages = aws.client("cloudwatch").get_paginator("get_metric_data")
    values: dict[str, list[float]] = {name: [] for name in _METRICS}
    for page in pages.paginate(
        MetricDataQueries=[_query(name, endpoint, variant) for name in _METRICS],
        StartTime=end - datetime.timedelta(seconds=_HOUR_SECONDS),
        EndTime=end,
        ScanBy="TimestampDescending",
    ):
        for result in page["MetricDataResults"]:
            values[result["Id"]] += result["Values"]
    return _made(
        {
            name: _METRICS[name].together(several) if several else None
            for name, several in values.items()
        }
    )


def _query(name: str, endpoint: str, variant: str) -> dict[str, Any]:
    metric = _METRICS[name]
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [
                    {"Name": "EndpointName", "Value": endpoint},
                    {"Name": "VariantName", "Value": variant},
                ],
            },
            "Period": metric.period_seconds,
            "Stat": metric.stat,
        },
    }


def _made(found: dict[str, float | None]) -> dict[str, float | None]:
    """Microseconds become milliseconds, and hits of all looks a percentage."""
    hits, looked = found.pop("hits"), found.pop("looked")
    ratio = 100 * (hits or 0.0) / looked if looked else None
    times = {
        name.replace("_us", "_ms"): None if value is None else value / _US_PER_MS
        for name, value in found.items()
        if name.endswith("_us")
    }
    others = {name: value for name, value in found.items() if not name.endswith("_us")}
    return {**others, **times, "cache_hit_percent": ratio}
