"""What there is on AWS of an endpoint: read, and never changed."""

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from mme.aws import Aws, code
from mme.deploy import wanted
from mme.deploy.dashboard import mark
from mme.deploy.image import INDEXES
from mme.deploy.names import TAG, VARIANT, Names
from mme.errors import CommandError

Tags = dict[str, str]
GENERATION = "xgboost-mme:generation"  # a tag of the endpoint: see planner.py
_ABSENT = {
    *("404", "NoSuchBucket", "NoSuchTagSet", "NoSuchEntity", "RepositoryNotFoundException"),
    *("ImageNotFoundException", "ResourceNotFound", "ResourceNotFoundException"),
    *("DashboardNotFoundError", "LifecyclePolicyNotFoundException", "ObjectNotFoundException"),
    "NoSuchPublicAccessBlockConfiguration",
}
CHANGING = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Each None or empty where there is none.

    Attributes:
        repository: its tags.
        lifecycle: its policy.
        images: the tags of its images.
        role: its trust policy.
        role_tags: of the role.
        permissions: the role's policy.
        bucket: its tags; the last thing that a new one is given.
        blocked: what keeps the public out of the bucket.
        endpoint: of ``describe_endpoint``.
        endpoint_tags: of the endpoint.
        instance_type: that its configuration has; empty where that is gone.
        models: that are ours, by name.
        configs: that are ours, by name, with the number of instances that each begins with.
        target: of ``describe_scalable_targets``.
        scaling: of ``describe_scaling_policies``.
        alarms: that are ours, by name, of ``describe_alarms``.
        dashboard: its body.
    """

    repository: Tags | None = None
    lifecycle: Any = None
    images: frozenset[str] = frozenset()
    role: Any = None
    role_tags: Tags = field(default_factory=dict)
    permissions: Any = None
    bucket: Tags | None = None
    blocked: Any = None
    endpoint: dict[str, Any] | None = None
    endpoint_tags: Tags = field(default_factory=dict)
    instance_type: str = ""
    models: frozenset[str] = frozenset()
    configs: Mapping[str, int] = field(default_factory=dict)
    target: dict[str, Any] | None = None
    scaling: dict[str, Any] | None = None
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    dashboard: Any = None

    @property
    def status(self) -> str:
        """The endpoint's; empty where there is none."""
        return str(self.endpoint["EndpointStatus"]) if self.endpoint else ""

    @property
    def foreign_scaling(self) -> bool:
        """Whether somebody else has set the endpoint's scaling up."""
        return self.target is not None and self.scaling is None


def find(aws: Aws, names: Names) -> Found:
    """Read it all.

    Raises:
        CommandError: what would be ours by its name is not, by its tag.
    """
    endpoint = _or_none(
        aws.client("sagemaker").describe_endpoint, "EndpointName", names.endpoint, "Could not find"
    )
    endpoint_tags = _sagemaker_tags(aws, endpoint["EndpointArn"]) if endpoint else {}
    if endpoint is not None:
        _ours(names, "endpoint", names.endpoint, endpoint_tags)
    return Found(
        **_find_repository(aws, names),
        **_find_role(aws, names),
        **_find_scaling(aws, names),
        **_find_bucket(aws, names),
        endpoint=endpoint,
        endpoint_tags=endpoint_tags,
        instance_type=_instance_type(aws, endpoint) if endpoint else "",
        models=_versions(aws, names, "list_models", "Models", "Model"),
        configs=_find_configs(aws, names),
        alarms=_find_alarms(aws, names),
        dashboard=_find_dashboard(aws, names),
    )


def _find_configs(aws: Aws, names: Names) -> dict[str, int]:
    found = _versions(aws, names, "list_endpoint_configs", "EndpointConfigs", "EndpointConfig")
    return {name: int(_variant(aws, name).get("InitialInstanceCount", 0)) for name in found}


def _instance_type(aws: Aws, endpoint: dict[str, Any]) -> str:
    return str(_variant(aws, endpoint["EndpointConfigName"]).get("InstanceType", ""))


def _variant(aws: Aws, config: str) -> dict[str, Any]:
    """The variant of a configuration that is ours; nothing where it is gone."""
    describe = aws.client("sagemaker").describe_endpoint_config
    found = _or_none(describe, "EndpointConfigName", config, "Could not find")
    variants = found["ProductionVariants"] if found else []
    return next((one for one in variants if one["VariantName"] == VARIANT), {})


def _or_none(call: Callable[..., Any], field_name: str, value: Any, *texts: str) -> Any:
    """A description; None where AWS says that there is none."""
    try:
        return call(**{field_name: value})
    except ClientError as error:
        text = error.response["Error"].get("Message", "")
        if code(error) in _ABSENT or any(one in text for one in texts):
            return None
        raise


def _ours(names: Names, kind: str, name: str, tags: Tags) -> None:
    if tags.get(TAG) != names.endpoint:
        raise CommandError(
            f"there is a {kind} {name!r} that was not made for this endpoint (it lacks the tag "
            f"{TAG}={names.endpoint}): choose another name, or tag it if it is to be ours",
            status=1,
        )


def _tags(listed: list[dict[str, str]]) -> Tags:
    return {one["Key"]: one["Value"] for one in listed}


def _sagemaker_tags(aws: Aws, arn: str) -> Tags:
    return _tags(aws.client("sagemaker").list_tags(ResourceArn=arn)["Tags"])


def _versions(aws: Aws, names: Names, listing: str, many: str, one: str) -> frozenset[str]:
    """Our models, or our configurations."""
    pages = aws.client("sagemaker").get_paginator(listing).paginate(NameContains=names.versions)
    found = {
        item[f"{one}Name"]: item[f"{one}Arn"]
        for page in pages
        for item in page[many]
        if re.fullmatch(rf"{re.escape(names.versions)}-[0-9a-f]{{8}}", item[f"{one}Name"])
    }
    return frozenset(
        name for name, arn in found.items() if _sagemaker_tags(aws, arn).get(TAG) == names.endpoint
    )


def _find_repository(aws: Aws, names: Names) -> dict[str, Any]:
    ecr = aws.client("ecr")
    found = _or_none(ecr.describe_repositories, "repositoryNames", [names.repository])
    if found is None:
        return {}
    name = names.repository
    arn = found["repositories"][0]["repositoryArn"]
    tags = _tags(ecr.list_tags_for_resource(resourceArn=arn)["tags"])
    _ours(names, "repository", name, tags)
    lifecycle = _or_none(ecr.get_lifecycle_policy, "repositoryName", name)
    pages = ecr.get_paginator("describe_images").paginate(repositoryName=name)
    images = {
        tag
        for page in pages
        for one in page["imageDetails"]
        if one.get("imageManifestMediaType") not in INDEXES  # SageMaker would refuse it
        for tag in one.get("imageTags", [])
    }
    return {
        "repository": tags,
        "lifecycle": json.loads(lifecycle["lifecyclePolicyText"]) if lifecycle else None,
        "images": frozenset(images),
    }


def _find_role(aws: Aws, names: Names) -> dict[str, Any]:
    iam = aws.client("iam")
    found = _or_none(iam.get_role, "RoleName", names.role)
    if found is None:
        return {}
    tags = _tags(iam.list_role_tags(RoleName=names.role)["Tags"])
    if names.config.role and tags.get(TAG) != names.endpoint:
        return {}  # somebody else's, and not wanted
    _ours(names, "role", names.role, tags)
    try:
        answer = iam.get_role_policy(RoleName=names.role, PolicyName=wanted.POLICY)
        permissions = _document(answer["PolicyDocument"])
    except iam.exceptions.NoSuchEntityException:
        permissions = None
    trust = _document(found["Role"]["AssumeRolePolicyDocument"])
    return {"role": trust, "role_tags": tags, "permissions": permissions}


def _document(value: Any) -> Any:
    """A policy, which botocore decodes unless the service has it encoded in a way of its own."""
    return json.loads(value) if isinstance(value, str) else value


def _find_bucket(aws: Aws, names: Names) -> dict[str, Any]:
    name = names.made_bucket
    s3 = aws.client("s3")
    mine = functools.partial(s3.head_bucket, ExpectedBucketOwner=names.where.account)
    try:
        if _or_none(mine, "Bucket", name) is None:
            return {}
    except ClientError as error:
        if code(error) == "403" and names.own_bucket:
            raise CommandError(
                f"bucket {name} is another account's, or closed to you: name one with `bucket`", 1
            ) from None
        if code(error) == "403":
            return {}
        raise
    answer = _or_none(s3.get_bucket_tagging, "Bucket", name)
    tags = _tags(answer["TagSet"]) if answer else {}
    if names.own_bucket is None and tags.get(TAG) != names.endpoint:
        return {}  # somebody else's, and not wanted
    if tags or s3.list_objects_v2(Bucket=name, MaxKeys=1)["KeyCount"]:
        _ours(names, "bucket", name, tags)
    # Without tags, but empty: made a moment ago, when something came between.
    blocked = _or_none(s3.get_public_access_block, "Bucket", name)
    return {
        "bucket": tags,
        "blocked": blocked and blocked["PublicAccessBlockConfiguration"],
    }


def _find_scaling(aws: Aws, names: Names) -> dict[str, Any]:
    client = aws.client("application-autoscaling")
    targets = client.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[names.scaled]
    )["ScalableTargets"]
    if not targets:
        return {}
    policies = client.describe_scaling_policies(
        ServiceNamespace="sagemaker", ResourceId=names.scaled
    )["ScalingPolicies"]
    ours = [one for one in policies if one["PolicyName"] == wanted.SCALING_POLICY]
    return {"target": targets[0], "scaling": ours[0] if ours else None}


def _find_alarms(aws: Aws, names: Names) -> dict[str, dict[str, Any]]:
    client = aws.client("cloudwatch")
    pages = client.get_paginator("describe_alarms").paginate(AlarmNamePrefix=names.alarm(""))
    found = {}
    for alarm in (one for page in pages for one in page["MetricAlarms"]):
        name = alarm["AlarmName"]
        tags = _tags(client.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])
        if name in wanted.alarms(names):
            _ours(names, "alarm", name, tags)
        if tags.get(TAG) == names.endpoint:
            found[name] = alarm
    return found


def _find_dashboard(aws: Aws, names: Names) -> Any:
    client = aws.client("cloudwatch")
    found = _or_none(client.get_dashboard, "DashboardName", names.dashboard, "does not exist")
    if found is None:
        return None
    body = found["DashboardBody"]
    _ours(names, "dashboard", names.dashboard, {TAG: names.endpoint} if mark(names) in body else {})
    return json.loads(body)
