"""The control plane, asked by boto3 itself."""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from mme.local.control.validation import service
from tests.unit.mme.local.plane import ACCOUNT, REGION, ROLE, Plane, arn, container, variant


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    """A control plane, not started."""
    return Plane(tmp_path)


@pytest.fixture
def sagemaker(plane: Plane) -> Iterator[Any]:
    """boto3's client for it."""
    with plane.client() as client:
        yield client


@contextlib.contextmanager
def refused(message: str, code: str = "ValidationException") -> Iterator[None]:
    """Within the block, boto3 raises this."""
    with pytest.raises(ClientError) as raised:
        yield
    error = raised.value.response["Error"]
    assert (error["Code"], error.get("Message")) == (code, message)


def make(sagemaker: Any, *variants: dict[str, Any], name: str = "e", **config: Any) -> None:
    """A model, a configuration and an endpoint in service."""
    with contextlib.suppress(ClientError):
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, Containers=[container()])
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=list(variants) or [variant()], **config
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)


def answer(plane: Plane, operation: str, **asked: Any) -> Any:
    """What is answered, as JSON."""
    status, body = plane.do(plane.control.call(operation, json.dumps(asked).encode(), REGION))
    return status, json.loads(body)


def without_metadata(described: dict[str, Any]) -> dict[str, Any]:
    """What is described, without what boto3 adds."""
    return {name: value for name, value in described.items() if name != "ResponseMetadata"}


def test_model(sagemaker: Any) -> None:
    """A model is described as it was given: nothing empty that was not, and when it was made."""
    begun = datetime.now(UTC)
    created = sagemaker.create_model(
        ModelName="m",
        ExecutionRoleArn=ROLE,
        Containers=[container(Environment={"A": "b"})],
        Tags=[{"Key": "team", "Value": "any"}],
    )
    assert created["ModelArn"] == arn("model", "m")
    described = without_metadata(sagemaker.describe_model(ModelName="m"))
    assert abs((described.pop("CreationTime") - begun).total_seconds()) < 60
    assert described == {
        "ModelName": "m",
        "ModelArn": arn("model", "m"),
        "ExecutionRoleArn": ROLE,
        "Containers": [container(Environment={"A": "b"})],
        "EnableNetworkIsolation": False,
    }


def test_single_model(sagemaker: Any) -> None:
    """A model of one archive is one of Mode SingleModel."""
    primary = {"Image": "any", "ModelDataUrl": "s3://data/models/a.tar.gz"}
    sagemaker.create_model(ModelName="m", PrimaryContainer=primary)
    described = sagemaker.describe_model(ModelName="m")
    assert described["PrimaryContainer"] == {**primary, "Mode": "SingleModel"}
    assert "Containers" not in described


def test_config(sagemaker: Any) -> None:
    """A configuration is described as it was given, with the weight that AWS gives."""
    sagemaker.create_model(ModelName="m", Containers=[container()])
    given = {
        "EndpointConfigName": "c",
        "ProductionVariants": [
            variant(RoutingConfig={"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"})
        ],
        "MetricsConfig": {"EnableEnhancedMetrics": True, "MetricPublishFrequencyInSeconds": 10},
        "KmsKeyId": "key",
    }
    sagemaker.create_endpoint_config(**given)
    described = without_metadata(sagemaker.describe_endpoint_config(EndpointConfigName="c"))
    described.pop("CreationTime")
    given["ProductionVariants"][0]["InitialVariantWeight"] = 1.0  # type: ignore[index]  # it is a list
    assert described == {
        **given,
        "EndpointConfigArn": arn("endpoint-config", "c"),
        "EnableNetworkIsolation": False,
    }


def test_answers_are_of_the_model(plane: Plane, sagemaker: Any) -> None:
    """What Describe and List answer is what the service's model says: all that must be, no more."""
    make(sagemaker, MetricsConfig={"EnableEnhancedMetrics": True})
    for operation, asked in {
        "DescribeModel": {"ModelName": "m"},
        "DescribeEndpointConfig": {"EndpointConfigName": "e"},
        "DescribeEndpoint": {"EndpointName": "e"},
        "ListModels": {},
        "ListEndpointConfigs": {},
        "ListEndpoints": {},
        "ListTags": {"ResourceArn": arn("model", "m")},
    }.items():
        status, answered = answer(plane, operation, **asked)
        assert status == 200
        shape = service().operation_model(operation).output_shape
        assert ParamValidator().validate(answered, shape).generate_report() == ""


def test_duplicates(sagemaker: Any) -> None:
    """A name can be taken once, in whatever case; the error names the one that has it."""
    make(sagemaker)
    with refused(f'Cannot create already existing model "{arn("model", "m")}".'):
        sagemaker.create_model(ModelName="M", Containers=[container()])
    with refused(
        f'Cannot create already existing endpoint configuration "{arn("endpoint-config", "e")}".'
    ):
        sagemaker.create_endpoint_config(EndpointConfigName="e", ProductionVariants=[variant()])
    with refused(f'Cannot create already existing endpoint "{arn("endpoint", "e")}".'):
        sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")


def test_missing(sagemaker: Any) -> None:
    """What there is not is named by its ARN, whatever is done with it."""
    no_model = f'Could not find model "{arn("model", "m")}".'
    no_config = f'Could not find endpoint configuration "{arn("endpoint-config", "e")}".'
    no_endpoint = f'Could not find endpoint "{arn("endpoint", "e")}".'
    for call in (sagemaker.describe_model, sagemaker.delete_model):
        with refused(no_model):
            call(ModelName="m")
    with refused(no_model):
        sagemaker.create_endpoint_config(EndpointConfigName="e", ProductionVariants=[variant()])
    for call in (sagemaker.describe_endpoint_config, sagemaker.delete_endpoint_config):
        with refused(no_config):
            call(EndpointConfigName="e")
    with refused(no_config):
        sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")
    for call in (sagemaker.describe_endpoint, sagemaker.delete_endpoint):
        with refused(no_endpoint):
            call(EndpointName="e")
    with refused(no_endpoint):
        sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="e")
    make(sagemaker)
    sagemaker.create_endpoint_config(EndpointConfigName="orphan", ProductionVariants=[variant()])
    sagemaker.delete_model(ModelName="m")
    with refused(no_model):
        sagemaker.create_endpoint(EndpointName="orphan", EndpointConfigName="orphan")


SINGLE = {"Image": "any"}
NO_EMULATION = "is not emulated by mme local."
BAD_MODELS = {
    "neither": ({}, "A model has either PrimaryContainer or Containers."),
    "both": (
        {"PrimaryContainer": SINGLE, "Containers": [SINGLE]},
        "A model has either PrimaryContainer or Containers.",
    ),
    "two multi-model": (
        {"Containers": [container(), container()]},
        "More than one container in MultiModel mode is not supported with inference pipeline.",
    ),
    "pipeline": (
        {"Containers": [SINGLE, container()]},
        f"A model of more than one container {NO_EMULATION}",
    ),
    "no image": ({"PrimaryContainer": {"Mode": "SingleModel"}}, "A container needs Image."),
    "no prefix": (
        {"PrimaryContainer": {"Image": "any", "Mode": "MultiModel"}},
        "A container of Mode MultiModel needs ModelDataUrl.",
    ),
    "no slash": (
        {"PrimaryContainer": container(ModelDataUrl="s3://data/models")},
        "The ModelDataUrl of a container of Mode MultiModel is an S3 prefix and ends with "
        '"/": s3://data/models',
    ),
    "no bucket": (
        {"PrimaryContainer": container(ModelDataUrl="s3://none/models/")},
        "Could not find model data at s3://none/models/.",
    ),
    "empty prefix": (
        {"PrimaryContainer": container(ModelDataUrl="s3://data/other/")},
        "Could not find model data at s3://data/other/.",
    ),
    "no object": (
        {"PrimaryContainer": {"Image": "any", "ModelDataUrl": "s3://data/models/c.tar.gz"}},
        "Could not find model data at s3://data/models/c.tar.gz.",
    ),
    "no key": (
        {"PrimaryContainer": {"Image": "any", "ModelDataUrl": "s3://data/../../etc"}},
        "Could not find model data at s3://data/../../etc.",
    ),
    "https": (
        {"PrimaryContainer": container(ModelDataUrl="https://data/models/")},
        f"ModelDataUrl without s3:// {NO_EMULATION}",
    ),
    "zero byte": (
        {"PrimaryContainer": container(Environment={"A": "b\0"})},
        "The environment variable A cannot have a zero byte.",
    ),
    "data source": (
        {
            "PrimaryContainer": container(
                ModelDataSource={
                    "S3DataSource": {
                        "S3Uri": "s3://data/models/",
                        "S3DataType": "S3Prefix",
                        "CompressionType": "None",
                    }
                }
            )
        },
        f"PrimaryContainer.ModelDataSource {NO_EMULATION}",
    ),
    "tag twice": (
        {"PrimaryContainer": container(), "Tags": [{"Key": "a", "Value": "b"}] * 2},
        "Duplicate tag keys found.",
    ),
    "aws's tag": (
        {"PrimaryContainer": container(), "Tags": [{"Key": "aws:a", "Value": "b"}]},
        "aws: prefixed tag key names are not allowed for external use.",
    ),
}


def test_bad_models(sagemaker: Any) -> None:
    """A model that cannot be is refused in words that help, and nothing of it is left."""
    for asked, message in BAD_MODELS.values():
        with refused(message):
            sagemaker.create_model(ModelName="m", **asked)  # type: ignore[arg-type]  # of boto3
    assert sagemaker.list_models()["Models"] == []


BAD_CONFIGS = {
    "same name": (
        {"ProductionVariants": [variant(), variant()]},
        'Variant names must be unique: "AllTraffic" is not.',
    ),
    "no weight": (
        {
            "ProductionVariants": [
                variant(InitialVariantWeight=0),
                variant("b", InitialVariantWeight=0),
            ]
        },
        "The weight of at least one production variant must be above zero.",
    ),
    "frequency": (
        {
            "ProductionVariants": [variant()],
            "MetricsConfig": {"MetricPublishFrequencyInSeconds": 0},
        },
        "MetricPublishFrequencyInSeconds is 0; valid values: 10, 30, 60, 120, 180, 240, 300.",
    ),
    "no type": (
        {"ProductionVariants": [{"VariantName": "a", "ModelName": "m"}]},
        "InstanceType is missing in the production variant a: mme local emulates variants that "
        "name a model and run on instances.",
    ),
    "serverless": (
        {
            "ProductionVariants": [
                {
                    "VariantName": "a",
                    "ModelName": "m",
                    "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
                }
            ]
        },
        f"ProductionVariants.ServerlessConfig {NO_EMULATION}",
    ),
    "unknown type": (
        {"ProductionVariants": [variant(VariantName="a_b", InitialInstanceCount=1)]},
        "1 validation error detected: Value 'a_b' at 'productionVariants.1.member.variantName' "
        "failed to satisfy constraint: Member must satisfy regular expression pattern: "
        "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
    ),
}


def test_bad_configs(sagemaker: Any) -> None:
    """A configuration that cannot be is refused in words that help, and nothing of it is left."""
    sagemaker.create_model(ModelName="m", Containers=[container()])
    for asked, message in BAD_CONFIGS.values():
        with refused(message):
            sagemaker.create_endpoint_config(EndpointConfigName="c", **asked)  # type: ignore[arg-type]  # of boto3
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []


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
    assert time.monotonic() - begun < 20


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


def test_tags(sagemaker: Any) -> None:
    """Tags are added, replaced by key, listed and deleted, and go with their resource."""
    make(sagemaker)
    endpoint = arn("endpoint", "e")
    sagemaker.add_tags(ResourceArn=endpoint, Tags=[{"Key": "a", "Value": "1"}])
    sagemaker.add_tags(
        ResourceArn=endpoint, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}]
    )
    assert sagemaker.list_tags(ResourceArn=endpoint)["Tags"] == [
        {"Key": "a", "Value": "2"},
        {"Key": "b", "Value": ""},
    ]
    sagemaker.delete_tags(ResourceArn=endpoint, TagKeys=["a", "none"])
    assert sagemaker.list_tags(ResourceArn=endpoint)["Tags"] == [{"Key": "b", "Value": ""}]
    many = [{"Key": str(number), "Value": ""} for number in range(50)]
    with refused(f'A resource has at most 50 tags: "{endpoint}".'):
        sagemaker.add_tags(ResourceArn=endpoint, Tags=many)
    sagemaker.delete_endpoint(EndpointName="e")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="e")
    with refused(f'Could not find endpoint "{endpoint}".'):
        sagemaker.list_tags(ResourceArn=endpoint)
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="e")
    assert sagemaker.list_tags(ResourceArn=endpoint)["Tags"] == []


def test_lists(sagemaker: Any) -> None:
    """Lists have what is asked for, in the order asked for, the newest first by default."""
    names = [f"m-{number}" for number in range(25)]
    for name in names:
        sagemaker.create_model(ModelName=name, Containers=[container()])

    def listed(**asked: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_models").paginate(**asked)
        return [one["ModelName"] for page in pages for one in page["Models"]]

    assert listed() == names[::-1]
    assert listed(SortOrder="Ascending", MaxResults=7) == names
    assert listed(SortBy="Name", SortOrder="Ascending") == sorted(names)
    assert listed(NameContains="-2") == ["m-24", "m-23", "m-22", "m-21", "m-20", "m-2"]
    middle = sagemaker.describe_model(ModelName="m-7")["CreationTime"]
    after = listed(CreationTimeAfter=middle)
    before = listed(CreationTimeBefore=middle)
    assert sorted(after + before) == sorted(names)
    assert "m-7" in after
    assert len(sagemaker.list_models()["Models"]) == 10
    with refused("Invalid NextToken: it is none of this list."):
        sagemaker.list_models(NextToken="any")


def test_pages_hold_still(sagemaker: Any) -> None:
    """What comes and goes between two pages makes no other resource appear twice or not at all."""
    for number in range(6):
        sagemaker.create_model(ModelName=f"m-{number}", Containers=[container()])
    first = sagemaker.list_models(MaxResults=3)
    sagemaker.create_model(ModelName="new", Containers=[container()])
    sagemaker.delete_model(ModelName="m-3")
    second = sagemaker.list_models(MaxResults=3, NextToken=first["NextToken"])
    shown = [one["ModelName"] for one in (*first["Models"], *second["Models"])]
    assert shown == ["m-5", "m-4", "m-3", "m-2", "m-1", "m-0"]
    assert "NextToken" not in second


def test_endpoints_by_status(plane: Plane, sagemaker: Any) -> None:
    """Endpoints are listed by their status, too."""
    make(sagemaker)
    make(sagemaker, name="f")
    plane.do(plane.endpoints.fail("f", "any"))

    def listed(**asked: Any) -> list[str]:
        return [one["EndpointName"] for one in sagemaker.list_endpoints(**asked)["Endpoints"]]

    assert listed(StatusEquals="Failed") == ["f"]
    assert listed(SortBy="Status", SortOrder="Descending") == ["e", "f"]
    assert listed(LastModifiedTimeBefore=datetime(2020, 1, 1, tzinfo=UTC)) == []
    assert listed(LastModifiedTimeAfter=datetime(2020, 1, 1, tzinfo=UTC)) == ["f", "e"]


def test_not_emulated(plane: Plane, sagemaker: Any) -> None:
    """What nobody here implements is refused at once: boto3 does not try it again."""
    with refused(f"ListInferenceComponents {NO_EMULATION}"):
        sagemaker.list_inference_components()
    assert plane.requests == 1


@pytest.mark.usefixtures("sagemaker")
def test_unreadable(plane: Plane) -> None:
    """What is no request of the operation is an answer, too."""
    for operation, body, kind in (
        ("Nope", b"{}", "UnknownOperationException"),
        ("CreateModel", b"{", "SerializationException"),
        ("CreateModel", b'{"ModelName": 1}', "SerializationException"),
        ("AddTags", b"[]", "SerializationException"),
    ):
        status, answered = plane.do(plane.control.call(operation, body, REGION))
        assert (status, json.loads(answered)["__type"]) == (400, kind)
        assert plane.control.owns(operation, body)


@pytest.mark.usefixtures("sagemaker")
def test_owns(plane: Plane) -> None:
    """Operations that moto implements are moto's, and so are tags of what is moto's."""
    ours = json.dumps({"ResourceArn": arn("endpoint-config", "any")}).encode()
    job = json.dumps({"ResourceArn": arn("training-job", "any")}).encode()
    assert plane.control.owns("CreateModel", b"{}")
    assert plane.control.owns("CreateInferenceComponent", b"{}")
    assert not plane.control.owns("CreateTrainingJob", b"{}")
    assert plane.control.owns("AddTags", ours)
    assert not plane.control.owns("AddTags", job)


def test_names_are_the_same_everywhere(plane: Plane, sagemaker: Any) -> None:
    """A resource keeps the ARN of the region that it was made in."""
    sagemaker.create_model(ModelName="m", Containers=[container()])
    body = b'{"ModelName": "m"}'
    _, described = plane.do(plane.control.call("DescribeModel", body, "eu-west-1"))
    assert json.loads(described)["ModelArn"] == arn("model", "m")
    _, missing = plane.do(plane.control.call("DescribeModel", b'{"ModelName": "n"}', "eu-west-1"))
    assert f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model/n" in json.loads(missing)["message"]
