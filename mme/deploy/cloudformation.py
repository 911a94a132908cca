"""What is wanted as a template of CloudFormation; pure."""

import json
from collections.abc import Mapping
from typing import Any

from mme.deploy import wanted
from mme.deploy.names import Names
from mme.deploy.wanted import Wanted, tag_list

Resource = dict[str, Any]
_READY = "Ready"
_DESCRIPTION = "The SageMaker multi-model endpoint {name} and all that it needs"
_TWICE = (
    "no at first, which makes what the image and the models go into; yes once they are there, "
    "which makes the endpoint"
)


def template(names: Names, goal: Wanted) -> dict[str, Any]:
    """The template, as JSON's types.

    Where the repository or the bucket is of its own making, it is applied twice: an endpoint
    cannot be made before its image and its models are there.
    """
    twice = goal.repository is not None or goal.bucket is not None
    found: dict[str, Any] = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": _DESCRIPTION.format(name=names.endpoint),
    }
    if twice:
        found["Parameters"] = {
            _READY: {
                "Type": "String",
                "AllowedValues": ["no", "yes"],
                "Default": "no",
                "Description": _TWICE,
            }
        }
        found["Conditions"] = {_READY: {"Fn::Equals": [{"Ref": _READY}, "yes"]}}
    found["Resources"] = _before(names, goal) | {
        name: resource | ({"Condition": _READY} if twice else {})
        for name, resource in _after(names, goal).items()
    }
    return found


def _before(names: Names, goal: Wanted) -> dict[str, Resource]:
    """What needs no image and no models."""
    found: dict[str, Resource] = {}
    if goal.repository is not None:
        repository = _capitals(goal.repository)
        lifecycle = {"LifecyclePolicyText": json.dumps(goal.lifecycle)}
        found["Repository"] = _resource(
            "ECR::Repository", **repository, LifecyclePolicy=lifecycle, EmptyOnDelete=True
        )
    if goal.role is not None:
        inline = {"PolicyName": wanted.POLICY, "PolicyDocument": goal.permissions}
        trust = json.loads(goal.role["AssumeRolePolicyDocument"])
        role = {**goal.role, "AssumeRolePolicyDocument": trust, "Policies": [inline]}
        found["Role"] = _resource("IAM::Role", **role)
    if goal.bucket is not None:
        found["Bucket"] = _resource(
            "S3::Bucket",
            BucketName=goal.bucket,
            PublicAccessBlockConfiguration=wanted.BLOCKED,
            Tags=tag_list(names.tags),
        ) | {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
    for number, alarm in enumerate(goal.alarms.values(), 1):
        tagged = {**alarm, "Tags": tag_list(names.tags)}
        found[f"Alarm{number}"] = _resource("CloudWatch::Alarm", **tagged)
    found["Dashboard"] = _resource(
        "CloudWatch::Dashboard",
        DashboardName=names.dashboard,
        DashboardBody=json.dumps(goal.dashboard),
    )
    return found


def _after(names: Names, goal: Wanted) -> dict[str, Resource]:
    """The endpoint."""
    model = dict(goal.model)
    if goal.role is not None:
        model["ExecutionRoleArn"] = {"Fn::GetAtt": ["Role", "Arn"]}
    (variant,) = goal.config["ProductionVariants"]
    variant = {**variant, "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]}}
    config = {**goal.config, "ProductionVariants": [variant]}
    found = {
        "Model": _resource("SageMaker::Model", **model),
        "EndpointConfig": _resource("SageMaker::EndpointConfig", **config),
        "Endpoint": _resource(
            "SageMaker::Endpoint",
            EndpointName=names.endpoint,
            EndpointConfigName={"Fn::GetAtt": ["EndpointConfig", "EndpointConfigName"]},
            RetainAllVariantProperties=goal.target is not None,
            DeploymentConfig=goal.rollout,
            Tags=tag_list(names.tags),
        ),
    }
    if alarms := [f"Alarm{number}" for number in range(1, len(goal.alarms) + 1)]:
        found["Endpoint"]["DependsOn"] = alarms
    if goal.target is not None and goal.scaling is not None:
        target = _resource("ApplicationAutoScaling::ScalableTarget", **goal.target)
        policy = _resource("ApplicationAutoScaling::ScalingPolicy", **goal.scaling)
        found["ScalableTarget"] = target | {"DependsOn": "Endpoint"}
        found["ScalingPolicy"] = policy | {"DependsOn": "ScalableTarget"}
    return found


def _resource(kind: str, **properties: Any) -> Resource:
    return {"Type": f"AWS::{kind}", "Properties": properties}


def _capitals(value: Any) -> Any:
    """The parameters of a service that begins names with small letters, as CloudFormation's."""
    if isinstance(value, Mapping):
        return {name[0].upper() + name[1:]: _capitals(one) for name, one in value.items()}
    return value
