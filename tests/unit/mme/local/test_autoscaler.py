"""The autoscaler over policies that boto3 registered with a real moto."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.validate import ParamValidator

from mme.local.control.autoscaler import Autoscaler
from mme.local.control.scaling import METRIC
from mme.local.control.validation import service
from tests.local.moto import MotoChild

SERVICE = "application-autoscaling"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
TARGET = 10.0
SECONDS = 30


class Instance:
    """One that counts only."""

    def __init__(self) -> None:
        self.invocations = 0


class Pool:
    """Instances of a variant."""

    def __init__(self) -> None:
        self.instances = [Instance()]


class Endpoint:
    """An endpoint in service."""

    def __init__(self, name: str, *variants: str, region: str = "us-east-1") -> None:
        self.document: dict[str, Any] = {
            "EndpointName": name,
            "EndpointArn": f"arn:aws:sagemaker:{region}:123456789012:endpoint/{name}",
            "EndpointStatus": "InService",
        }
        self.pools = {variant: Pool() for variant in variants}
        self.describe()

    def describe(self) -> None:
        """Bring the document up to date."""
        self.document["ProductionVariants"] = [
            {
                "VariantName": name,
                "CurrentInstanceCount": len(pool.instances),
                "DesiredInstanceCount": len(pool.instances),
            }
            for name, pool in self.pools.items()
        ]

    def invoke(self, variant: str, each: int) -> None:
        """So many invocations of each instance."""
        for instance in self.pools[variant].instances:
            instance.invocations += each


class Endpoints:
    """Endpoints that scale when they are told to go on."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints = {one.document["EndpointName"]: one for one in endpoints}
        self.wanted: list[dict[str, int]] = []

    def all(self) -> list[Endpoint]:
        """All of them."""
        return list(self.endpoints.values())

    async def scale(self, name: str, wanted: Mapping[str, tuple[float | None, int | None]]) -> None:
        """Begin to scale."""
        endpoint = self.endpoints[name]
        assert endpoint.document["EndpointStatus"] == "InService"
        endpoint.document["EndpointStatus"] = "Updating"
        self.wanted.append({variant: count or 0 for variant, (_, count) in wanted.items()})

    def go_on(self, name: str) -> None:
        """What it wants has come."""
        endpoint = self.endpoints[name]
        for variant, count in self.wanted[-1].items():
            pool = endpoint.pools[variant]
            pool.instances = [*pool.instances, *(Instance() for _ in range(count))][:count]
        endpoint.document["EndpointStatus"] = "InService"
        endpoint.describe()


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoChild]:
    """A moto of these tests."""
    child = MotoChild(tmp_path_factory.mktemp("moto"))
    yield child
    assert child.stop() == 0


def register(
    moto: MotoChild, endpoint: str, variant: str = "v", most: int = 4, **policy: Any
) -> None:
    """Register a variant and a policy, as a user does."""
    client = moto.client(SERVICE)
    resource = f"endpoint/{endpoint}/variant/{variant}"
    common = {"ServiceNamespace": "sagemaker", "ResourceId": resource}
    client.register_scalable_target(
        **common, ScalableDimension=DIMENSION, MinCapacity=1, MaxCapacity=most
    )
    tracking = {
        "TargetValue": TARGET,
        "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
        "ScaleOutCooldown": 0,
        "ScaleInCooldown": 0,
    }
    client.put_scaling_policy(
        **common,
        PolicyName="policy",
        ScalableDimension=DIMENSION,
        **(
            policy
            or {
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": tracking,
            }
        ),
    )
    client.close()


def activities(autoscaler: Autoscaler, **asked: Any) -> dict[str, Any]:
    """What DescribeScalingActivities answers, which must be as AWS's model says."""
    body = json.dumps({"ServiceNamespace": "sagemaker", **asked}).encode()
    status, answer = autoscaler.activities(body)
    assert status == 200
    fields: dict[str, Any] = json.loads(answer)
    shape = service(SERVICE).operation_model("DescribeScalingActivities").output_shape
    assert ParamValidator().validate(fields, shape).generate_report() == ""
    return fields


def test_out_and_in(moto: MotoChild) -> None:
    """Traffic above the target adds instances, little of it takes them away; it is on record."""
    endpoint = Endpoint("out-and-in", "v")
    endpoints = Endpoints(endpoint)
    autoscaler = Autoscaler(moto.url, endpoints, 60)
    register(moto, "out-and-in")

    def minute(each: int) -> None:
        endpoint.invoke("v", each)
        asyncio.run(autoscaler.look())

    for _ in range(3):
        minute(9)
    assert endpoints.wanted == []
    minute(25)
    assert endpoints.wanted == [{"v": 3}]
    (activity,) = activities(autoscaler)["ScalingActivities"]
    assert activity["StatusCode"] == "InProgress"
    minute(0)
    endpoints.go_on("out-and-in")
    (activity,) = activities(autoscaler)["ScalingActivities"]
    assert activity["StatusCode"] == "Successful"
    assert activity["Description"] == "Setting desired instance count to 3."
    assert activity["ResourceId"] == "endpoint/out-and-in/variant/v"
    assert "triggered policy policy" in activity["Cause"]
    minute(25)  # no full minute with three instances
    for _ in range(2):
        minute(3)
    assert endpoints.wanted == [{"v": 3}]
    minute(3)
    assert endpoints.wanted == [{"v": 3}, {"v": 1}]
    endpoints.go_on("out-and-in")
    minute(0)
    page = activities(autoscaler, MaxResults=1)
    assert page["ScalingActivities"][0]["Description"] == "Setting desired instance count to 1."
    rest = activities(autoscaler, NextToken=page["NextToken"])["ScalingActivities"]
    assert [one["ActivityId"] for one in rest] == [activity["ActivityId"]]
    assert activities(autoscaler, ResourceId="endpoint/x/variant/v")["ScalingActivities"] == []


def test_variants_scale_together(moto: MotoChild) -> None:
    """Two variants of an endpoint that are to scale do so in one change."""
    endpoint = Endpoint("together", "a", "b", "c")
    endpoints = Endpoints(endpoint)
    autoscaler = Autoscaler(moto.url, endpoints, 60)
    for variant in ("a", "b"):
        register(moto, "together", variant)
    asyncio.run(autoscaler.look())
    for variant, each in (("a", 20), ("b", 100), ("c", 100)):
        endpoint.invoke(variant, each)
    asyncio.run(autoscaler.look())
    assert endpoints.wanted == [{"a": 2, "b": 4}]


def test_failure(moto: MotoChild) -> None:
    """A change that fails is on record with its reason, and is tried again."""
    endpoint = Endpoint("failure", "v")
    endpoints = Endpoints(endpoint)
    autoscaler = Autoscaler(moto.url, endpoints, 60)
    register(moto, "failure")
    for _ in range(2):
        endpoint.invoke("v", 50)
        asyncio.run(autoscaler.look())
    assert endpoints.wanted == [{"v": 4}]
    endpoint.document |= {"EndpointStatus": "InService", "FailureReason": "It did not start."}
    for _ in range(2):
        endpoint.invoke("v", 50)
        asyncio.run(autoscaler.look())
    assert endpoints.wanted == [{"v": 4}] * 2
    newest, oldest = activities(autoscaler)["ScalingActivities"]
    assert newest["StatusCode"] == "InProgress"
    assert (oldest["StatusCode"], oldest["StatusMessage"]) == ("Failed", "It did not start.")


def test_step_scaling(moto: MotoChild) -> None:
    """A policy that is not emulated is said to be so, once."""
    endpoint = Endpoint("steps", "v")
    endpoints = Endpoints(endpoint)
    autoscaler = Autoscaler(moto.url, endpoints, 60)
    step = {
        "AdjustmentType": "ChangeInCapacity",
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    }
    register(moto, "steps", PolicyType="StepScaling", StepScalingPolicyConfiguration=step)
    for _ in range(3):
        endpoint.invoke("v", 50)
        asyncio.run(autoscaler.look())
    assert endpoints.wanted == []
    (activity,) = activities(autoscaler)["ScalingActivities"]
    assert activity["StatusCode"] == "Failed"
    assert activity["StatusMessage"] == "StepScaling is not emulated by mme local."


def test_bad_question() -> None:
    """A question that cannot be is an error in AWS's form."""
    autoscaler = Autoscaler("http://127.0.0.1:1", Endpoints(), 60)
    status, answer = autoscaler.activities(b"{}")
    assert (status, json.loads(answer)["__type"]) == (400, "ValidationException")
    assert "serviceNamespace" in json.loads(answer)["message"]
    assert autoscaler.activities(b"[")[0] == 400


def test_moto_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While moto is away it looks on, and says so."""
    endpoint = Endpoint("away", "v")
    endpoints = Endpoints(endpoint)
    child = MotoChild(tmp_path / "state")
    autoscaler = Autoscaler(child.url, endpoints, 0.02)
    register(child, "away")

    async def run() -> None:
        work = asyncio.create_task(autoscaler.run())
        async with asyncio.timeout(SECONDS):
            while not endpoints.wanted:
                endpoint.invoke("v", 50)
                await asyncio.sleep(0)
            assert child.stop() == 0
            while caplog.text.count("cannot be read") < 2:  # noqa: ASYNC110  # it is only told to logs
                await asyncio.sleep(0)
        assert not work.done()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    asyncio.run(run())
