"""Metrics and logs: what happened is what CloudWatch says, as soon as it is asked."""

import datetime
import json
from typing import Any

import pytest

from tests.local.support import SECONDS, Local
from tests.support import wait_until

PLATFORM, INSTANCES = "AWS/SageMaker", "/aws/sagemaker/Endpoints"


def statistics(local: Local, endpoint: str, metric: str, namespace: str = PLATFORM) -> Any:
    """Every statistic of a metric over the last hours, one number each."""
    now = datetime.datetime.now(datetime.UTC)
    answer = local.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - datetime.timedelta(hours=3),
        EndTime=now + datetime.timedelta(hours=3),
        Period=6 * 3600,
        Statistics=["Average", "Sum", "Minimum", "Maximum", "SampleCount"],
    )
    points = answer["Datapoints"]
    return {
        "Sum": sum(point["Sum"] for point in points),
        "SampleCount": sum(point["SampleCount"] for point in points),
        "Minimum": min((point["Minimum"] for point in points), default=None),
        "Maximum": max((point["Maximum"] for point in points), default=None),
        "Unit": {point["Unit"] for point in points},
    }


@pytest.fixture(scope="module")
def endpoint(local: Local, model: bytes) -> str:
    """An endpoint that was asked 12 times for 3 models, and twice in vain."""
    local.bucket("metrics", {f"m{number}.tar.gz": model for number in range(3)})
    local.create("metrics", "metrics", InitialInstanceCount=2)
    for _ in range(4):
        for number in range(3):
            local.invoke("metrics", f"m{number}.tar.gz")
    runtime = local.client("sagemaker-runtime")
    for body in (b"1,2", b"words"):
        with pytest.raises(runtime.exceptions.ModelError):
            local.invoke("metrics", "m0.tar.gz", body=body)
    return "metrics"


@pytest.mark.parametrize(
    ("metric", "total", "samples", "unit"),
    [
        ("Invocations", 14, 14, "None"),
        ("InvocationsPerInstance", 7, 14, "None"),
        ("ModelCacheHit", 11, 14, "None"),
        ("Invocation4XXErrors", 2, 14, "None"),
        ("Invocation5XXErrors", 0, 14, "None"),
        ("InvocationModelErrors", 2, 14, "None"),
    ],
)
def test_counts(
    local: Local, endpoint: str, metric: str, total: float, samples: float, unit: str
) -> None:
    """Each request is a sample of each metric of invocations, with the sum that AWS would have."""
    seen = statistics(local, endpoint, metric)
    assert (seen["Sum"], seen["SampleCount"], seen["Unit"]) == (total, samples, {unit})


@pytest.mark.parametrize(
    ("metric", "samples"),
    [
        ("ModelLatency", 14),
        ("OverheadLatency", 14),
        ("ModelLoadingWaitTime", 3),
        ("ModelLoadingTime", 3),
        ("ModelDownloadingTime", 3),
    ],
)
def test_durations(local: Local, endpoint: str, metric: str, samples: int) -> None:
    """Durations are microseconds, a sample for each time that something took."""
    seen = statistics(local, endpoint, metric)
    assert (seen["SampleCount"], seen["Unit"]) == (samples, {"Microseconds"})
    assert 1 < seen["Minimum"] <= seen["Maximum"] < 60e6


def test_loaded_models(local: Local, endpoint: str) -> None:
    """LoadedModelCount has a sample an instance: its sum is all models, its average a share."""
    now = datetime.datetime.now(datetime.UTC)

    def newest() -> Any:
        answer = local.client("cloudwatch").get_metric_data(
            MetricDataQueries=[
                {
                    "Id": statistic.lower(),
                    "MetricStat": {
                        "Metric": {
                            "Namespace": INSTANCES,
                            "MetricName": "LoadedModelCount",
                            "Dimensions": [
                                {"Name": "EndpointName", "Value": endpoint},
                                {"Name": "VariantName", "Value": "AllTraffic"},
                            ],
                        },
                        "Period": 60,
                        "Stat": statistic,
                    },
                }
                for statistic in ("Sum", "Average", "SampleCount")
            ],
            StartTime=now - datetime.timedelta(minutes=10),
            EndTime=now + datetime.timedelta(minutes=10),
            ScanBy="TimestampDescending",
        )
        return {result["Id"]: result["Values"][0] for result in answer["MetricDataResults"]}

    assert newest() == {"sum": 3, "average": 1.5, "samplecount": 2}


def test_percentiles(local: Local, endpoint: str) -> None:
    """Percentiles of latency can be had, which moto alone does not have."""
    now = datetime.datetime.now(datetime.UTC)
    (point,) = local.client("cloudwatch").get_metric_statistics(
        Namespace=PLATFORM,
        MetricName="ModelLatency",
        Dimensions=[
            {"Name": "EndpointName", "Value": endpoint},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - datetime.timedelta(hours=12),
        EndTime=now + datetime.timedelta(hours=12),
        Period=86400,
        ExtendedStatistics=["p50", "p99"],
    )["Datapoints"][:1]
    assert 1 < point["ExtendedStatistics"]["p50"] <= point["ExtendedStatistics"]["p99"]


def test_utilisation(local: Local, endpoint: str) -> None:
    """Memory, disk and processors of the instances are measured."""

    def measured() -> bool:
        return all(
            statistics(local, endpoint, metric, INSTANCES)["SampleCount"]
            for metric in ("CPUUtilization", "MemoryUtilization", "DiskUtilization")
        )

    wait_until(measured, SECONDS, "utilisation")
    memory = statistics(local, endpoint, "MemoryUtilization", INSTANCES)
    assert 0 < memory["Maximum"] < 50
    assert memory["Unit"] == {"Percent"}


def test_logs(local: Local, endpoint: str) -> None:
    """What the containers write is in CloudWatch Logs, one stream an instance."""
    logs = local.client("logs")
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    expected = {f"AllTraffic/{one['id']}" for one in local.instances(endpoint)}

    def streams() -> set[str]:
        found = logs.describe_log_streams(logGroupName=group)["logStreams"]
        return {stream["logStreamName"] for stream in found}

    wait_until(lambda: streams() >= expected, SECONDS, "a stream of each")
    assert streams() == expected

    def events() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = logs.filter_log_events(
            logGroupName=group, filterPattern="serving"
        )["events"]
        return found

    wait_until(events, SECONDS, "a line of the start")
    assert {json.loads(event["message"])["event"] for event in events()} == {"serving"}
