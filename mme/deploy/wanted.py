"""What is to exist on AWS for a configuration, as the services' own parameters; pure.

The deployment plans by this, and the exports to CloudFormation and Terraform are made of it.
"""

import json
from dataclasses import dataclass
from typing import Any

from mme.deploy import dashboard, policy
from mme.deploy.config import Config
from mme.deploy.names import VARIANT, Names

Parameters = dict[str, Any]
POLICY = "xgboost-mme"  # the role's inline policy
SCALED = ("ServiceNamespace", "ResourceId", "ScalableDimension")
SCALING_POLICY = "invocations-per-instance"
_UNTAGGED_DAYS = 14
BLOCKED = dict.fromkeys(  # of public access to the bucket: all that there is
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)
_MINUTE_SECONDS = 60
_US_PER_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The container's image.

    Attributes:
        uri: what SageMaker pulls.
        local: its name in this machine's Docker, where it is pushed from here.
    """

    uri: str
    local: str = ""

    @property
    def tag(self) -> str:
        """In its repository."""
        return self.uri.rpartition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One endpoint and all that it needs.

    Attributes:
        repository: of ``ecr.create_repository``; None where the image is somebody else's, as are
            the next ones where they are not ours to make.
        lifecycle: the repository's policy.
        role: of ``iam.create_role``.
        permissions: the role's policy.
        bucket: its name.
        model: of ``sagemaker.create_model``.
        config: of ``sagemaker.create_endpoint_config``.
        instances: that are to run, where nothing scales them.
        rollout: the ``DeploymentConfig`` of an update.
        target: of ``application-autoscaling.register_scalable_target``.
        scaling: of ``application-autoscaling.put_scaling_policy``.
        alarms: of ``cloudwatch.put_metric_alarm``, by name.
        dashboard: the body of the dashboard.
    """

    repository: Parameters | None
    lifecycle: Parameters | None
    role: Parameters | None
    permissions: Parameters | None
    bucket: str | None
    model: Parameters
    config: Parameters
    instances: int
    rollout: Parameters
    target: Parameters | None
    scaling: Parameters | None
    alarms: dict[str, Parameters]
    dashboard: Parameters


def wanted(names: Names, image: Image, generation: str = "") -> Wanted:
    """Work it out.

    Args:
        names: of the resources, with the configuration.
        image: what SageMaker is to pull.
        generation: another for each time that an archive was replaced by another of its name, so
            that new instances take over which have not loaded the old one.
    """
    config = names.config
    model = _model(names, image.uri, generation)
    return Wanted(
        repository=_repository(names) if image.local else None,
        lifecycle=_LIFECYCLE if image.local else None,
        role=None if config.role else _role(names),
        permissions=None if config.role else policy.permissions(names),
        bucket=names.own_bucket,
        model=model,
        config=_config(names, model["ModelName"]),
        instances=config.instance_count,
        rollout=_rollout(config, names.undoing_alarms),
        target=_target(names),
        scaling=_scaling(names),
        alarms=alarms(names),
        dashboard=dashboard.body(names),
    )


def tag_list(tags: dict[str, str]) -> list[Parameters]:
    """Tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


_LIFECYCLE: Parameters = {
    "rules": [
        {
            "rulePriority": 1,
            "description": "Layers and images that no tag names any more",
            "selection": {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": _UNTAGGED_DAYS,
            },
            "action": {"type": "expire"},
        }
    ]
}


def _repository(names: Names) -> Parameters:
    return {
        "repositoryName": names.repository,
        "imageTagMutability": "IMMUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
        "tags": tag_list(names.tags),
    }


def _role(names: Names) -> Parameters:
    return {
        "RoleName": names.role,
        "Description": f"Execution role of the SageMaker endpoint {names.endpoint}",
        "AssumeRolePolicyDocument": json.dumps(policy.trust(names.where)),
        "Tags": tag_list(names.tags),
    }


def _model(names: Names, image_uri: str, generation: str) -> Parameters:
    config = names.config
    container = {
        "Image": image_uri,
        "Mode": "MultiModel",
        "ModelDataUrl": names.models_url,
        "MultiModelConfig": {"ModelCacheSetting": "Enabled" if config.cache else "Disabled"},
    }
    if config.environment:
        container["Environment"] = dict(config.environment)
    content: Parameters = {"ExecutionRoleArn": names.role_arn, "Containers": [container]}
    if config.vpc:
        content["VpcConfig"] = {
            "Subnets": config.vpc.subnets,
            "SecurityGroupIds": config.vpc.security_groups,
        }
    name = names.version([content, generation] if generation else content)
    return {"ModelName": name, **content, "Tags": tag_list(names.tags)}


def _config(names: Names, model: str) -> Parameters:
    config = names.config
    variant: Parameters = {
        "VariantName": VARIANT,
        "ModelName": model,
        "InstanceType": config.instance_type,
        "InitialVariantWeight": 1.0,
    }
    if config.volume_gb:
        variant["VolumeSizeInGB"] = config.volume_gb
    content: Parameters = {"KmsKeyId": config.kms_key} if config.kms_key else {}
    # The number of instances changes without another configuration.
    name = names.version({**content, "ProductionVariants": [variant]})
    variant["InitialInstanceCount"] = config.instance_count
    content["ProductionVariants"] = [variant]
    return {"EndpointConfigName": name, **content, "Tags": tag_list(names.tags)}


def _rollout(config: Config, alarms: list[str]) -> Parameters:
    update = config.update
    size = {"Type": "CAPACITY_PERCENT", "Value": update.step_percent}
    if update.strategy == "rolling":
        rolling = {"MaximumBatchSize": size, "WaitIntervalInSeconds": update.wait_seconds}
        rollout: Parameters = {"RollingUpdatePolicy": rolling}
    else:
        kind = update.strategy.replace("-", "_").upper()
        routing: Parameters = {"Type": kind, "WaitIntervalInSeconds": update.wait_seconds}
        if kind == "CANARY":
            routing["CanarySize"] = size
        elif kind == "LINEAR":
            routing["LinearStepSize"] = size
        rollout = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    if alarms:
        undone_by = [{"AlarmName": name} for name in sorted(alarms)]
        rollout["AutoRollbackConfiguration"] = {"Alarms": undone_by}
    return rollout


def _scaled(names: Names) -> Parameters:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": names.scaled,
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def _target(names: Names) -> Parameters | None:
    scaling = names.config.autoscaling
    if scaling is None:
        return None
    return {**_scaled(names), "MinCapacity": scaling.min, "MaxCapacity": scaling.max}


def _scaling(names: Names) -> Parameters | None:
    scaling = names.config.autoscaling
    if scaling is None:
        return None
    return {
        "PolicyName": SCALING_POLICY,
        **_scaled(names),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": scaling.invocations_per_instance,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
            "ScaleInCooldown": scaling.scale_in_cooldown_seconds,
            "ScaleOutCooldown": scaling.scale_out_cooldown_seconds,
        },
    }


def alarms(names: Names) -> dict[str, Parameters]:
    """Of ``cloudwatch.put_metric_alarm``, by name."""
    wished = names.config.alarms
    found: dict[str, Parameters] = {}
    if wished.errors_per_minute is not None:
        found[names.alarm("errors")] = {
            "AlarmDescription": "Answers with 5xx in a minute",
            "Namespace": "AWS/SageMaker",
            "MetricName": "Invocation5XXErrors",
            "Statistic": "Sum",
            "Threshold": wished.errors_per_minute,
            "EvaluationPeriods": 1,
        }
    if wished.latency_ms is not None:
        found[names.alarm("latency")] = {
            "AlarmDescription": "The models' 90th percentile, in microseconds",
            "Namespace": "AWS/SageMaker",
            "MetricName": "ModelLatency",
            "ExtendedStatistic": "p90",
            "Threshold": wished.latency_ms * _US_PER_MS,
            "EvaluationPeriods": 3,
        }
    if wished.memory_percent is not None:
        found[names.alarm("memory")] = {
            "AlarmDescription": "Memory of the instances, in percent",
            "Namespace": "/aws/sagemaker/Endpoints",
            "MetricName": "MemoryUtilization",
            "Statistic": "Maximum",
            "Threshold": wished.memory_percent,
            "EvaluationPeriods": 3,
        }
    for name, alarm in found.items():
        alarm |= {
            "AlarmName": name,
            "Dimensions": [
                {"Name": "EndpointName", "Value": names.endpoint},
                {"Name": "VariantName", "Value": VARIANT},
            ],
            "Period": _MINUTE_SECONDS,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": [wished.notify] if wished.notify else [],
        }
    return found
