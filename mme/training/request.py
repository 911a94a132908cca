"""What CreateTrainingJob is asked, as plain data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mme.training.fit import Recipe

CHANNEL = "train"
_LONGEST_NAME = 63
_ATTEMPT = len("-99")  # what a name must have room for
METRICS = ("models", "failed", "rmse_median")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What jobs run on, and as whom.

    Attributes:
        role: the ARN that they have.
        image: this container's.
        instance_type: of each instance.
        volume_gb: of each instance.
        max_run_seconds: of a job.
        spot: on spare capacity; it is waited for as long again.
        subnets: of the VPC that they run in, if any.
        security_groups: of theirs there; with subnets only.
        kms_key: that encrypts their disks and what they write, if any.
        tags: of the jobs, by name.
    """

    role: str
    image: str
    instance_type: str
    volume_gb: int
    max_run_seconds: int
    spot: bool
    subnets: Sequence[str] = ()
    security_groups: Sequence[str] = ()
    kms_key: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def hyperparameters(by: str, target: str, recipe: Recipe, skip_failed: bool) -> dict[str, str]:
    """As the container reads them: all are texts."""
    asked: dict[str, object] = {"by": by, "target": target, "rounds": recipe.rounds}
    if recipe.early_stopping is not None:
        asked["early_stopping"] = recipe.early_stopping
    asked |= asdict(recipe.parameters) | {"skip_failed": str(skip_failed).lower()}
    return {name: str(value) for name, value in asked.items()}


def request(
    fleet: Fleet, instances: int, asked: dict[str, str], data: str, work: str
) -> dict[str, Any]:
    """A job without its name.

    Args:
        fleet: what it runs on.
        instances: how many.
        asked: the hyperparameters.
        data: what the keys of its data begin with, which its instances share out.
        work: the prefix for its checkpoints and its output, ending in a slash.
    """
    stopping = {"MaxRuntimeInSeconds": fleet.max_run_seconds}
    if fleet.spot:
        stopping["MaxWaitTimeInSeconds"] = 2 * fleet.max_run_seconds
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": data,
        "S3DataDistributionType": "ShardedByS3Key",
    }
    output = {"S3OutputPath": f"{work}output", "CompressionType": "NONE"}
    instances_of = {
        "InstanceType": fleet.instance_type,
        "InstanceCount": instances,
        "VolumeSizeInGB": fleet.volume_gb,
    }
    more: dict[str, Any] = {}
    if fleet.kms_key:
        output["KmsKeyId"] = instances_of["VolumeKmsKeyId"] = fleet.kms_key
    if fleet.subnets:
        more["VpcConfig"] = {
            "Subnets": list(fleet.subnets),
            "SecurityGroupIds": list(fleet.security_groups),
        }
    if fleet.tags:
        more["Tags"] = [{"Key": key, "Value": value} for key, value in fleet.tags.items()]
    return {
        "RoleArn": fleet.role,
        "AlgorithmSpecification": {
            "TrainingImage": fleet.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": name, "Regex": rf"{name}=([0-9.e+-]+)"} for name in METRICS
            ],
        },
        "HyperParameters": asked,
        "InputDataConfig": [
            {
                "ChannelName": CHANNEL,
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": source},
            }
        ],
        "OutputDataConfig": output,
        "ResourceConfig": instances_of,
        "StoppingCondition": stopping,
        "CheckpointConfig": {"S3Uri": f"{work}checkpoints"},
        "EnableManagedSpotTraining": fleet.spot,
        **more,
    }


def job_name(prefix: str, group: str, digest: str) -> str:
    """The name of a job: the same for the same work, and one that SageMaker takes."""
    tail = f"-{digest[:12]}"
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{prefix}-{group}").strip("-") or "mme-train"
    return words[: _LONGEST_NAME - _ATTEMPT - len(tail)].rstrip("-") + tail


def attempt(name: str, number: int) -> str:
    """The name of a job's first attempt, or of a later one."""
    return name if number == 1 else f"{name}-{number}"
