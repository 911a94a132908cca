"""The table of support says what the control plane does, field by field."""

import asyncio
import contextlib
import copy
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from botocore import xform_name
from botocore.model import ListShape, MapShape, Shape, StructureShape

from mme.local.control import support
from mme.local.control.control import Control
from mme.local.control.store import Store
from mme.local.control.support import Level
from mme.local.control.validation import operation_model, service
from tests.unit.mme.local.plane import (
    ACCOUNT,
    REGION,
    ROLE,
    MemoryEndpoints,
    MemoryJobs,
    arn,
    bucket,
    container,
    variant,
)

Requests = dict[str, dict[str, Any]]
# Requests of an endpoint's life, without anything that need not be.
LIFE: Requests = {
    "CreateModel": {"ModelName": "m", "PrimaryContainer": container()},
    "CreateEndpointConfig": {
        "EndpointConfigName": "c",
        "ProductionVariants": [variant()],
        "MetricsConfig": {"EnableEnhancedMetrics": True, "MetricPublishFrequencyInSeconds": 10},
    },
    "CreateEndpoint": {
        "EndpointName": "e",
        "EndpointConfigName": "c",
        "DeploymentConfig": {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "any"}]}},
    },
    "UpdateEndpoint": {"EndpointName": "e", "EndpointConfigName": "c"},
    "CreateTrainingJob": {
        "TrainingJobName": "j",
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "any", "TrainingInputMode": "File"},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/models/"}
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://data/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 5,
        },
    },
}
# Of each real field, a value that makes a difference; of some others, one that can be.
OTHERS: dict[str, Any] = {
    "ModelName": "other",
    "Image": "other",
    "Mode": "SingleModel",
    "ModelDataUrl": "s3://data/",
    "Environment": {"A": "b"},
    "ModelCacheSetting": "Disabled",
    "EndpointConfigName": "other",
    "EnableEnhancedMetrics": False,
    "MetricPublishFrequencyInSeconds": 30,
    "VariantName": "other",
    "InstanceType": "ml.c5.large",
    "InitialInstanceCount": 3,
    "InitialVariantWeight": 3.0,
    "VolumeSizeInGB": 77,
    "ModelDataDownloadTimeoutInSeconds": 77,
    "ContainerStartupHealthCheckTimeoutInSeconds": 77,
    "EndpointName": "other",
    "RetainAllVariantProperties": True,
    "RoleArn": f"{ROLE}-other",
    "TrainingJobName": "other",
    "HyperParameters": {"a": "b"},
    "TrainingInputMode": "Pipe",
    "MetricDefinitions": [{"Name": "n", "Regex": "x"}],
    "ChannelName": "other",
    "ContentType": "text/csv",
    "InputMode": "FastFile",
    "S3DataType": "ManifestFile",
    "S3Uri": "s3://data/other",
    "S3DataDistributionType": "ShardedByS3Key",
    "S3OutputPath": "s3://data/other",
    "CompressionType": "NONE",
    "ResourceConfig.InstanceType": "ml.c5.xlarge",
    "InstanceCount": 3,
    "MaxRuntimeInSeconds": 77,
    "StoppingCondition.MaxWaitTimeInSeconds": 100_000,
    "ExcludeRetainedVariantProperties": [{"VariantPropertyType": "DesiredInstanceCount"}],
}
# One of these fits the pattern of each other field.
TEXTS = (
    *("1", "/1", "text/csv", "mig-1g.5gb", "s3://data/models/", ROLE),
    *(arn("any", "any"), f"arn:aws:sns:{REGION}:{ACCOUNT}:t"),
    *(arn("training-plan", "any"), arn("mlflow-app", "any"), "fs-01234567"),
    *(arn("model-package-group", "any"), arn("model-package", "any")),
    *(arn("hub-content", "any/DataSet/any"), arn("hub-content", "any/Model/any")),
)
FIELDS = [(operation, field) for operation in LIFE for field in support.fields(operation)]
CASES = pytest.mark.parametrize(("operation", "field"), FIELDS)


class Outcome(NamedTuple):
    """What came of requests.

    Attributes:
        answers: by operation.
        deployed: what runs in the end.
        described: all that is said of it.
    """

    answers: dict[str, Any]
    deployed: Any
    described: list[Any]


Live = Callable[[Requests], Outcome]


@pytest.fixture
def live(tmp_path: Path) -> Live:
    """Make all requests of an endpoint's life, each time in a world of its own."""
    numbers = itertools.count()

    def live(requests: Requests) -> Outcome:
        root = tmp_path / str(next(numbers))
        root.mkdir()
        return asyncio.run(_live(root, requests))

    return live


async def _live(root: Path, requests: Requests) -> Outcome:
    with contextlib.closing(Store(root / "store")) as store:
        jobs = MemoryJobs(store)
        control = Control(store, MemoryEndpoints(store), bucket(root / "s3"), jobs, ACCOUNT)

        async def call(operation: str, **asked: Any) -> Any:
            _, answer = await control.call(operation, json.dumps(asked).encode(), REGION)
            return json.loads(answer)

        answers, described = {}, []
        for operation, asked in requests.items():
            answers[operation] = await call(operation, **asked)
            if operation == "CreateEndpoint":
                described.append(await call("DescribeEndpoint", EndpointName="e"))
                two = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
                await call(
                    "UpdateEndpointWeightsAndCapacities",
                    EndpointName="e",
                    DesiredWeightsAndCapacities=[two],
                )
                await call("DescribeEndpoint", EndpointName="e")
        described += [
            await call("DescribeModel", ModelName="m"),
            await call("DescribeEndpointConfig", EndpointConfigName="c"),
            await call("DescribeEndpoint", EndpointName="e"),
        ]
        described.append(await call("DescribeTrainingJob", TrainingJobName="j"))
        kinds = {"model": "m", "endpoint-config": "c", "endpoint": "e", "training-job": "j"}
        for kind, name in kinds.items():
            described.append(await call("ListTags", ResourceArn=arn(kind, name)))
        endpoint = store.get("endpoint", "e")
        deployed = (endpoint and endpoint["Deployment"], jobs.plans)
        return Outcome(answers, deployed, _without_times(described))


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(one) for key, one in value.items() if not key.endswith("Time")}
    return [_without_times(one) for one in value] if isinstance(value, list) else value


def base(field: str) -> Requests:
    """The requests that a field is put into."""
    requests = copy.deepcopy(LIFE)
    if field.startswith("Containers"):
        model = requests["CreateModel"]
        model["Containers"] = [model.pop("PrimaryContainer")]
    if field == "ExcludeRetainedVariantProperties":
        requests["UpdateEndpoint"]["RetainAllVariantProperties"] = True
    if field.startswith("CheckpointConfig."):
        requests["CreateTrainingJob"]["CheckpointConfig"] = {"S3Uri": "s3://data/any"}
    if field == "EnableManagedSpotTraining":
        requests["CreateTrainingJob"]["StoppingCondition"] = {"MaxWaitTimeInSeconds": 100_000}
    if field.endswith(".PrefixAwareRoutingConfig"):
        (one,) = requests["CreateEndpointConfig"]["ProductionVariants"]
        one["RoutingConfig"] = {"RoutingStrategy": "RANDOM"}
    return requests


def put(requests: Requests, operation: str, field: str, value: Any) -> Requests:
    """The requests with the field."""
    *path, name = field.split(".")
    place: Any = requests[operation]
    for step in path:
        place = place.setdefault(step, {})
        place = place[0] if isinstance(place, list) else place
    place[name] = value
    return requests


def shape_of(operation: str, field: str) -> Shape:
    """The shape of a field."""
    shape: Shape | None = operation_model("sagemaker", operation).input_shape
    for name in field.split("."):
        shape = shape.member if isinstance(shape, ListShape) else shape
        assert isinstance(shape, StructureShape)
        shape = shape.members[name]
    assert shape is not None
    return shape


def sample(shape: Shape) -> Any:
    """A value that AWS would take."""
    rules = shape.metadata
    if isinstance(shape, StructureShape):
        names = shape.required_members or [*shape.members][:1]
        return {name: sample(shape.members[name]) for name in names}
    if isinstance(shape, ListShape):
        return [sample(shape.member)]
    if isinstance(shape, MapShape):
        return {"A": sample(shape.value)}
    if shape.type_name == "string":
        fitting = (text for text in TEXTS if re.fullmatch(_pattern(shape), text))
        return rules["enum"][0] if "enum" in rules else next(fitting)
    return True if shape.type_name == "boolean" else max(1, rules.get("min", 1))


def _pattern(shape: Shape) -> str:
    pattern = shape.metadata.get("pattern", ".*")
    return ".*" if r"\p" in pattern else str(pattern)


@CASES
def test_fields(operation: str, field: str, live: Live) -> None:
    """A field has an effect, or is described only, or is refused, as the table says."""
    level = support.fields(operation)[field]
    name = field.rpartition(".")[2]
    value = OTHERS.get(field)
    if value is None:
        value = OTHERS[name] if level is Level.REAL else sample(shape_of(operation, field))
    before = live(base(field))
    assert not any("__type" in answer for answer in before.answers.values())
    outcome = live(put(base(field), operation, field, value))
    if level is Level.REFUSED:
        assert outcome.answers[operation] == {
            "__type": "ValidationException",
            "message": f"{field} is not emulated by mme local.",
        }
    elif level is Level.KEPT:
        assert (outcome.answers, outcome.deployed) == (before.answers, before.deployed)
        assert outcome.described != before.described
    else:
        assert (outcome.answers, outcome.deployed) != (before.answers, before.deployed)


def test_every_field_is_known() -> None:
    """The table names no field that AWS has not."""
    for operation, taken in support.OURS.items():
        assert taken.keys() <= support.fields(operation).keys()


def test_new_fields_are_refused() -> None:
    """A field that the table does not name is refused, however deep; one that is empty is none."""
    asked = {"ModelName": "m", "PrimaryContainer": {"Image": "i", "MultiModelConfig": {"New": 1}}}
    assert support.refused_field("CreateModel", asked) == "PrimaryContainer.MultiModelConfig.New"
    assert support.refused_field("CreateModel", {"New": {}, "Containers": [{"New": []}]}) is None


def test_operations() -> None:
    """Each operation of SageMaker is ours, moto's or refused; moto's are those that it implements.

    To others moto answers with 500, which boto3 would try again.
    """
    from moto.sagemaker.responses import SageMakerResponse

    names = service().operation_names
    implemented = {name for name in names if hasattr(SageMakerResponse, xform_name(name))}
    assert implemented - support.OURS.keys() == support.MOTO
    levels = support.operations()
    assert levels.keys() == set(names)
    assert levels["CreateModel"] is Level.REAL
    assert levels["CreateTransformJob"] is Level.MOTO
    assert levels["CreateInferenceComponent"] is Level.REFUSED
