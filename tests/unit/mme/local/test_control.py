"""The control plane, asked by boto3 itself: models and configurations."""

from datetime import UTC, datetime
from typing import Any

from botocore.validate import ParamValidator

from mme.local.control.validation import service
from tests.unit.mme.local.plane import (
    NO_EMULATION,
    ROLE,
    SINGLE,
    Plane,
    answer,
    arn,
    container,
    make,
    refused,
    variant,
    without_metadata,
)


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
