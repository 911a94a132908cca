"""Automatic scaling of a real endpoint, by a policy that boto3 registers."""

import contextlib
import threading

from botocore.exceptions import ClientError

from tests.local.support import SECONDS, Local
from tests.support import wait_until

NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"


def test_scaled_by_its_policy(local: Local, model: bytes, name: str) -> None:
    """Traffic above the target adds instances, up to the most; its end takes them away again."""
    local.bucket("scaled-by-policy", {f"m{number}.tar.gz": model for number in range(4)})
    local.create(name, "scaled-by-policy")
    scaling = local.client("application-autoscaling")
    variant = {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": f"endpoint/{name}/variant/AllTraffic",
        "ScalableDimension": DIMENSION,
    }
    scaling.register_scalable_target(**variant, MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(
        **variant,
        PolicyName="invocations",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
            "ScaleOutCooldown": 0,
            "ScaleInCooldown": 0,
        },
    )

    def serving(count: int) -> bool:
        states = [one["status"] for one in local.instances(name)]
        return states == ["InService"] * count

    end = threading.Event()

    def traffic() -> None:
        number = 0
        while not end.is_set():
            number += 1
            with contextlib.suppress(ClientError):
                local.invoke(name, f"m{number % 4}.tar.gz")

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        wait_until(lambda: serving(2), SECONDS, "a second instance")
    finally:
        end.set()
        thread.join(SECONDS)
    wait_until(lambda: serving(1), SECONDS, "one instance again")
    activities = scaling.describe_scaling_activities(
        ServiceNamespace=NAMESPACE, ResourceId=variant["ResourceId"]
    )["ScalingActivities"]
    assert len(activities) >= 2
    assert {one["StatusCode"] for one in activities} <= {"Successful", "InProgress"}
