"""The control plane, asked by boto3 itself: endpoints."""

import asyncio
import json
import time
from typing import Any

from tests.unit.mme.local.plane import (
    NO_EMULATION,
    REGION,
    SINGLE,
    Plane,
    arn,
    container,
    make,
    refused,
    variant,
    without_metadata,
)


def test_endpoint_life(sagemaker: Any) -> None:
    """An endpoint is created, updated, scaled and deleted, and boto3's waiters return at once."""
    begun = time.monotonic()
    make(sagemaker)
    described = without_metadata(sagemaker.describe_endpoint(EndpointName="e"))
    assert described.keys() == {
        *("EndpointName", "EndpointArn", "EndpointConfigName", "ProductionVariants"),
        *("EndpointStatus", "CreationTime", "LastModifiedTime"),
    }
    sagemaker.create_endpoint_config(
        EndpointConfigName="other", ProductionVariants=[variant(InitialInstanceCount=3)]
    )
    policy = {"MaximumBatchSize": {"Type": "INSTANCE_COUNT", "Value": 1}}
    deployment = {"RollingUpdatePolicy": {**policy, "WaitIntervalInSeconds": 0}}
    updated = sagemaker.update_endpoint(
        EndpointName="e", EndpointConfigName="other", DeploymentConfig=deployment
    )
    assert updated["EndpointArn"] == arn("endpoint", "e")
    described = sagemaker.describe_endpoint(EndpointName="e")
    assert described["EndpointConfigName"] == "other"
    assert described["LastDeploymentConfig"] == deployment
    assert described["ProductionVariants"][0]["DesiredInstanceCount"] == 3
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="e",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}],
    )
    (now,) = sagemaker.describe_endpoint(EndpointName="e")["ProductionVariants"]
    assert (now["DesiredInstanceCount"], now["DesiredWeight"]) == (2, 1.0)
    sagemaker.delete_endpoint(EndpointName="e")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="e")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert time.monotonic() - begun < 29  # boto3's waiter asks every 30


def test_describe_waits(plane: Plane, sagemaker: Any) -> None:
    """DescribeEndpoint does not answer before the endpoint is in service, or is so in vain."""
    with plane.changing():
        make_without_waiting(sagemaker)
        assert sagemaker.list_endpoints()["Endpoints"][0]["EndpointStatus"] == "Creating"
        waiting = plane.do(begin_describing(plane))
        assert not waiting.done()
    assert json.loads(plane.do(result_of(waiting))[1])["EndpointStatus"] == "InService"


def make_without_waiting(sagemaker: Any) -> None:
    sagemaker.create_model(ModelName="m", Containers=[container()])
    sagemaker.create_endpoint_config(EndpointConfigName="e", ProductionVariants=[variant()])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")


async def begin_describing(plane: Plane) -> asyncio.Task[tuple[int, bytes]]:
    task = asyncio.create_task(
        plane.control.call("DescribeEndpoint", b'{"EndpointName": "e"}', REGION)
    )
    for _ in range(10):
        await asyncio.sleep(0)
    return task


async def result_of(task: asyncio.Task[tuple[int, bytes]]) -> tuple[int, bytes]:
    return await task


def test_in_progress(plane: Plane, sagemaker: Any) -> None:
    """An endpoint that is changing is not changed, and not deleted."""
    busy = f'Cannot update in-progress endpoint "{arn("endpoint", "e")}".'
    with plane.changing():
        make_without_waiting(sagemaker)
        for _ in range(2):
            with refused(busy):
                sagemaker.delete_endpoint(EndpointName="e")
        with refused(busy):
            sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="e")
        with refused(busy):
            sagemaker.update_endpoint_weights_and_capacities(
                EndpointName="e",
                DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredWeight": 2}],
            )


def test_failed(plane: Plane, sagemaker: Any) -> None:
    """A failed endpoint says why, and can only be deleted."""
    make(sagemaker)
    plane.do(plane.endpoints.fail("e", "It did not start."))
    assert sagemaker.describe_endpoint(EndpointName="e")["FailureReason"] == "It did not start."
    with refused(
        f'Cannot update endpoint "{arn("endpoint", "e")}" with status "Failed": all that can be '
        "done with it is to delete it."
    ):
        sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="e")
    sagemaker.delete_endpoint(EndpointName="e")


def test_retained(sagemaker: Any) -> None:
    """An update keeps weights and counts of variants if it is told to, all but the excluded."""
    make(sagemaker, variant("a"), variant("b"))
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="e",
        DesiredWeightsAndCapacities=[
            {"VariantName": "a", "DesiredWeight": 7, "DesiredInstanceCount": 4}
        ],
    )
    sagemaker.describe_endpoint(EndpointName="e")
    sagemaker.create_endpoint_config(
        EndpointConfigName="next",
        ProductionVariants=[variant("a"), variant("c", InitialVariantWeight=3)],
    )

    def updated(**more: Any) -> dict[str, tuple[float, int]]:
        sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="next", **more)
        variants = sagemaker.describe_endpoint(EndpointName="e")["ProductionVariants"]
        return {
            one["VariantName"]: (one["DesiredWeight"], one["DesiredInstanceCount"])
            for one in variants
        }

    kept = {"RetainAllVariantProperties": True}
    assert updated(**kept) == {"a": (7.0, 4), "c": (3.0, 1)}
    excluded = [{"VariantPropertyType": "DesiredInstanceCount"}]
    assert updated(**kept, ExcludeRetainedVariantProperties=excluded) == {
        "a": (7.0, 1),
        "c": (3.0, 1),
    }
    assert updated() == {"a": (1.0, 1), "c": (3.0, 1)}


def test_bad_scaling(sagemaker: Any) -> None:
    """Only variants that there are have weights and counts, and some traffic must go somewhere."""
    make(sagemaker)
    for wanted, message in (
        (
            {"VariantName": "b", "DesiredWeight": 1},
            'The variant name(s) "b" is/are not present within endpoint configuration "e".',
        ),
        (
            {"VariantName": "AllTraffic", "DesiredInstanceCount": 0},
            "DesiredInstanceCount of variant AllTraffic must be above zero.",
        ),
        (
            {"VariantName": "AllTraffic", "DesiredWeight": 0},
            "The weight of at least one production variant must be above zero.",
        ),
    ):
        with refused(message):
            sagemaker.update_endpoint_weights_and_capacities(
                EndpointName="e", DesiredWeightsAndCapacities=[wanted]
            )


def test_mixed_variants(sagemaker: Any) -> None:
    """Variants with many models and with one do not go together here."""
    make(sagemaker)
    sagemaker.create_model(ModelName="single", PrimaryContainer=SINGLE)
    sagemaker.create_endpoint_config(
        EndpointConfigName="mixed",
        ProductionVariants=[variant("a"), variant("b", ModelName="single")],
    )
    with refused(f"An endpoint with multi-model variants and others {NO_EMULATION}"):
        sagemaker.create_endpoint(EndpointName="mixed", EndpointConfigName="mixed")
