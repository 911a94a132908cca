"""What is wanted as a configuration of Terraform, in its JSON syntax; pure.

The provider has the services' own names, in small letters; what differs is written out below.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from mme.deploy import wanted
from mme.deploy.names import Names
from mme.deploy.wanted import Wanted

Block = dict[str, Any]
_NAME = "endpoint"  # what each resource is called here
_READY = "ready"
_TWICE = (
    "false at first, which makes what the image and the models go into; true once they are there, "
    "which makes the endpoint"
)


def configuration(names: Names, goal: Wanted) -> dict[str, Any]:
    """The configuration, as JSON's types.

    Where the repository or the bucket is of its own making, it is applied twice: an endpoint
    cannot be made before its image and its models are there.
    """
    twice = goal.repository is not None or goal.bucket is not None
    endpoint = _endpoint(names, goal, "[0]" if twice else "")
    found: dict[str, Any] = {
        "terraform": {"required_providers": {"aws": {"source": "hashicorp/aws"}}},
        "provider": {"aws": {"region": names.where.region}},
    }
    if twice:
        variable = {"type": "bool", "default": False, "description": _TWICE}
        found["variable"] = {_READY: variable}
        for block in endpoint.values():
            block["count"] = f"${{var.{_READY} ? 1 : 0}}"
    around = {kind: {_NAME: block} for kind, block in _around(names, goal).items()}
    found["resource"] = around | {kind: {_NAME: block} for kind, block in endpoint.items()}
    if goal.alarms:
        found["resource"]["aws_cloudwatch_metric_alarm"] = {
            name.rpartition("-")[2]: _alarm(names, alarm) for name, alarm in goal.alarms.items()
        }
    return found


def _around(names: Names, goal: Wanted) -> dict[str, Block]:
    """What needs no image and no models, by kind."""
    body = {"dashboard_name": names.dashboard, "dashboard_body": _text(goal.dashboard)}
    found: dict[str, Block] = {"aws_cloudwatch_dashboard": body}
    if goal.repository is not None:
        repository = _small({key: goal.repository[key] for key in goal.repository if key != "tags"})
        found["aws_ecr_repository"] = {
            "name": repository.pop("repository_name"),
            **repository,
            "force_delete": True,
            "tags": names.tags,
        }
        found["aws_ecr_lifecycle_policy"] = {
            "repository": f"${{aws_ecr_repository.{_NAME}.name}}",
            "policy": _text(goal.lifecycle),
        }
    if goal.role is not None:
        found["aws_iam_role"] = {
            "name": names.role,
            "description": goal.role["Description"],
            "assume_role_policy": _escaped(goal.role["AssumeRolePolicyDocument"]),
            "tags": names.tags,
        }
        found["aws_iam_role_policy"] = {
            "name": wanted.POLICY,
            "role": f"${{aws_iam_role.{_NAME}.id}}",
            "policy": _text(goal.permissions),
        }
    if goal.bucket is not None:
        found["aws_s3_bucket"] = {"bucket": goal.bucket, "tags": names.tags}
        bucket = f"${{aws_s3_bucket.{_NAME}.id}}"
        found["aws_s3_bucket_public_access_block"] = {"bucket": bucket, **_small(wanted.BLOCKED)}
    return found


def _alarm(names: Names, alarm: Mapping[str, Any]) -> Block:
    dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
    return {**_small(alarm), "dimensions": dimensions, "tags": names.tags}


def _endpoint(names: Names, goal: Wanted, index: str) -> dict[str, Block]:
    """The endpoint and what it consists of, by kind."""
    replaced = {"create_before_destroy": True}  # a version goes when the endpoint has the next
    (container,) = goal.model["Containers"]
    environment = {name: _escaped(value) for name, value in names.config.environment.items()}
    role = f"${{aws_iam_role.{_NAME}.arn}}" if goal.role is not None else names.role_arn
    found: dict[str, Block] = {
        "aws_sagemaker_model": {
            "name": goal.model["ModelName"],
            "execution_role_arn": role,
            "container": _small(container) | {"environment": environment},
            "tags": names.tags,
            "lifecycle": replaced,
        }
    }
    if goal.role is not None:
        found["aws_sagemaker_model"]["depends_on"] = [f"aws_iam_role_policy.{_NAME}"]
    if "VpcConfig" in goal.model:
        found["aws_sagemaker_model"]["vpc_config"] = _small(goal.model["VpcConfig"])
    (variant,) = goal.config["ProductionVariants"]
    found["aws_sagemaker_endpoint_configuration"] = {
        "name": goal.config["EndpointConfigName"],
        "production_variants": _small(variant)
        | {"model_name": f"${{aws_sagemaker_model.{_NAME}{index}.name}}"},
        "tags": names.tags,
        "lifecycle": replaced,
    }
    if names.config.kms_key:
        found["aws_sagemaker_endpoint_configuration"]["kms_key_arn"] = names.config.kms_key
    config = f"${{aws_sagemaker_endpoint_configuration.{_NAME}{index}.name}}"
    found["aws_sagemaker_endpoint"] = {
        "name": names.endpoint,
        "endpoint_config_name": config,
        "deployment_config": _small(goal.rollout),
        "tags": names.tags,
    }
    if goal.alarms:
        found["aws_sagemaker_endpoint"]["depends_on"] = sorted(
            f"aws_cloudwatch_metric_alarm.{name.rpartition('-')[2]}" for name in goal.alarms
        )
    if goal.target is not None and goal.scaling is not None:
        after = [f"aws_sagemaker_endpoint.{_NAME}"]
        scaling = _small(goal.scaling)
        found["aws_appautoscaling_target"] = _small(goal.target) | {"depends_on": after}
        found["aws_appautoscaling_policy"] = {
            "name": scaling.pop("policy_name"),
            **scaling,
            "depends_on": [f"aws_appautoscaling_target.{_NAME}"],
        }
    return found


def _text(document: Any) -> str:
    return _escaped(json.dumps(document))


def _escaped(text: str) -> str:
    """Terraform reads expressions in text, also in JSON."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _small(value: Any) -> Any:
    """A service's parameters, with names as the provider writes them."""
    if isinstance(value, Mapping):
        return {_words(name): _small(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_small(one) for one in value]
    return _escaped(value) if isinstance(value, str) else value


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
