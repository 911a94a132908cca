"""The control plane's operations for training jobs, as boto3 sees them."""

from typing import Any

import pytest

from tests.unit.mme.local.plane import ROLE, arn, refused

MISSING = f'Could not find training job "{arn("training-job", "none")}".'


def create(sagemaker: Any, name: str, **more: Any) -> str:
    """Make a job; its ARN."""
    answer = sagemaker.create_training_job(
        **{
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "any", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://data/out"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 5,
            },
            **more,
        }
    )
    return str(answer["TrainingJobArn"])


def names(sagemaker: Any, **asked: Any) -> list[str]:
    """The names of a list."""
    found = sagemaker.list_training_jobs(**asked)["TrainingJobSummaries"]
    return [one["TrainingJobName"] for one in found]


def test_lists(sagemaker: Any) -> None:
    """Lists are by time, the oldest first, or as they are asked for; by status, name, page."""
    for name in ("b", "a", "c"):
        create(sagemaker, name)
    sagemaker.stop_training_job(TrainingJobName="a")
    assert names(sagemaker) == ["b", "a", "c"]
    assert names(sagemaker, SortOrder="Descending") == ["c", "a", "b"]
    assert names(sagemaker, SortBy="Name") == ["a", "b", "c"]
    assert names(sagemaker, SortBy="Status", SortOrder="Descending") == ["a", "c", "b"]
    assert names(sagemaker, StatusEquals="Stopped") == ["a"]
    assert names(sagemaker, NameContains="c") == ["c"]
    pages = sagemaker.get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 2})
    assert [len(page["TrainingJobSummaries"]) for page in pages] == [2, 1]
    first, second, _ = sagemaker.list_training_jobs()["TrainingJobSummaries"]
    assert (first["TrainingJobStatus"], first["SecondaryStatus"]) == ("InProgress", "Starting")
    assert "TrainingEndTime" not in first
    assert second["TrainingEndTime"] >= second["CreationTime"]


def test_tags(sagemaker: Any) -> None:
    """A job has tags as other resources have."""
    found = create(sagemaker, "j", Tags=[{"Key": "a", "Value": "b"}])
    assert sagemaker.list_tags(ResourceArn=found)["Tags"] == [{"Key": "a", "Value": "b"}]
    sagemaker.add_tags(ResourceArn=found, Tags=[{"Key": "c", "Value": "d"}])
    assert len(sagemaker.list_tags(ResourceArn=found)["Tags"]) == 2
    assert "Tags" not in sagemaker.describe_training_job(TrainingJobName="j")


def test_what_is_not_there(sagemaker: Any) -> None:
    """A job of no such name is an error in each operation."""
    with refused(MISSING):
        sagemaker.describe_training_job(TrainingJobName="none")
    with refused(MISSING):
        sagemaker.stop_training_job(TrainingJobName="none")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File"}},
            "AlgorithmSpecification needs TrainingImage.",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}},
            "ResourceConfig needs InstanceCount.",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "any", "TrainingInputMode": "Pipe"}},
            "TrainingInputMode Pipe is not emulated by mme local.",
        ),
        (
            {"EnableManagedSpotTraining": True},
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds.",
        ),
    ],
)
def test_refused(sagemaker: Any, more: dict[str, Any], message: str) -> None:
    """What cannot be is refused before anything runs, and leaves no job."""
    with refused(message):
        create(sagemaker, "j", **more)
    assert names(sagemaker) == []
