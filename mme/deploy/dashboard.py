"""The endpoint's dashboard in CloudWatch: what a multi-model endpoint is watched by."""

from typing import Any

from mme.deploy.names import TAG, VARIANT, Names

_RUNTIME, _INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
_WIDTH, _HEIGHT, _COLUMNS = 8, 6, 3
_PERIOD_SECONDS = 60
_HEADING_HEIGHT = 1
# Title, namespace, and the metrics with their statistics.
_CHARTS: list[tuple[str, str, list[tuple[str, str]]]] = [
    (
        "Cache hits: share of requests that found their model",
        _RUNTIME,
        [("ModelCacheHit", "Average")],
    ),
    ("Models loaded", _INSTANCES, [("LoadedModelCount", "Average"), ("LoadedModelCount", "Sum")]),
    ("Wait for a cold model (us)", _RUNTIME, [("ModelLoadingWaitTime", s) for s in ("p50", "p90")]),
    ("Download of a model (us)", _RUNTIME, [("ModelDownloadingTime", s) for s in ("p50", "p90")]),
    ("Load of a model (us)", _RUNTIME, [("ModelLoadingTime", s) for s in ("p50", "p90")]),
    ("Unload of a model (us)", _RUNTIME, [("ModelUnloadingTime", s) for s in ("p50", "p90")]),
    ("Latency of the models (us)", _RUNTIME, [("ModelLatency", s) for s in ("p50", "p90", "p99")]),
    ("Invocations", _RUNTIME, [("Invocations", "Sum"), ("InvocationsPerInstance", "Sum")]),
    (
        "Errors",
        _RUNTIME,
        [(f"Invocation{kind}Errors", "Sum") for kind in ("4XX", "5XX", "Model")],
    ),
    (
        "Memory, disk and processors (%)",
        _INSTANCES,
        [(f"{what}Utilization", "Maximum") for what in ("Memory", "Disk", "CPU")],
    ),
]


def body(names: Names) -> dict[str, Any]:
    """The body of ``cloudwatch.put_dashboard``, before it is made JSON."""
    heading = {
        "type": "text",
        "x": 0,
        "y": 0,
        "width": _WIDTH * _COLUMNS,
        "height": _HEADING_HEIGHT,
        "properties": {"markdown": f"Made by mme deploy: {mark(names)}"},
    }
    charts = [
        {
            "type": "metric",
            "x": _WIDTH * (number % _COLUMNS),
            "y": _HEADING_HEIGHT + _HEIGHT * (number // _COLUMNS),
            "width": _WIDTH,
            "height": _HEIGHT,
            "properties": {
                "title": title,
                "region": names.where.region,
                "view": "timeSeries",
                "period": _PERIOD_SECONDS,
                "metrics": [_metric(names, namespace, *one) for one in metrics],
            },
        }
        for number, (title, namespace, metrics) in enumerate(_CHARTS)
    ]
    return {"widgets": [heading, *charts]}


def mark(names: Names) -> str:
    """What tells our dashboard from others', since dashboards have no tags."""
    return f"{TAG}={names.endpoint}"


def _metric(names: Names, namespace: str, metric: str, statistic: str) -> list[Any]:
    dimensions = ["EndpointName", names.endpoint, "VariantName", VARIANT]
    return [namespace, metric, *dimensions, {"stat": statistic, "label": f"{metric} {statistic}"}]
