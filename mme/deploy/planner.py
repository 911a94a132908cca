"""From what is wanted and what there is to the steps between them; pure.

An archive that replaces another of its name is the hard case: an instance that has loaded the old
one never looks again. So the new one is uploaded, and then instances take over that have loaded
nothing. The endpoint's tag ``xgboost-mme:generation`` is set to another value *before* the upload,
and the model's name follows from it: whoever is interrupted after that finds, when started again,
an endpoint whose model is not that of its generation, and goes on.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mme.deploy import wanted
from mme.deploy.archives import Archive
from mme.deploy.found import GENERATION, Found
from mme.deploy.names import VARIANT, Names
from mme.deploy.steps import Plan, Push, Step, Upload, Wait, call, sagemaker
from mme.deploy.wanted import Wanted, tag_list

_DEAD = ("Failed", "OutOfService")  # what cannot be updated, and serves nobody
_STUCK = "UpdateRollbackFailed"


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
class Archives:
    """The folder's archives, against those below the prefix.

    Attributes:
        new: not in S3.
        changed: in S3 with other bytes.
        only_there: how many are in S3 alone.
    """

    new: Sequence[Archive] = ()
    changed: Sequence[Archive] = ()
    only_there: int = 0


def generation(found: Found, archives: Archives) -> str:
    """Of the archives: another one when some are about to replace others; empty at first."""
    if not archives.changed or found.endpoint is None:
        return found.endpoint_tags.get(GENERATION, "")
    content = sorted((archive.key, archive.etag) for archive in archives.changed)
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def plan(names: Names, image: Image, found: Found, archives: Archives) -> Plan:
    """The steps; none where nothing is to be done.

    Args:
        names: of the resources, with the configuration.
        image: that it is to run.
        found: what there is, of an endpoint that is not changing.
        archives: of a local folder; empty where the models are in S3.
    """
    now = generation(found, archives)
    goal = wanted.wanted(names, image.uri, own_image=bool(image.local), generation=now)
    dead = found.status in _DEAD
    steps: list[Step] = [
        *_repository(names, image, goal, found),
        *_role(names, goal, found),
        *_bucket(names, goal, found),
        *_uploads(names, found, archives, now),
        *_alarms(names, goal, found),
        *_versions(goal, found),
        *(_delete_dead(names, found) if dead else ()),
        *_endpoint(names, goal, found, create=dead or found.endpoint is None),
        *_scaling(names, goal, found),
        *_dashboard(names, goal, found),
        *_old_versions(goal, found),
    ]
    return Plan(steps, list(_notes(names, found, archives)))


def _repository(names: Names, image: Image, goal: Wanted, found: Found) -> Iterator[Step]:
    if goal.repository is None:
        return
    name = names.repository
    if found.repository is None:
        what = f"ECR repository {name}"
        yield call("+", what, "ecr", "create_repository", **goal.repository)
    else:
        arn = names.where.arn("ecr", f"repository/{name}")
        tags = _missing(names, found.repository)
        if tags:
            yield call("~", f"tags of {name}", "ecr", "tag_resource", resourceArn=arn, tags=tags)
    if found.lifecycle != goal.lifecycle:
        yield call(
            "+" if found.lifecycle is None else "~",
            f"lifecycle policy of {name}: the newest images are kept",
            "ecr",
            "put_lifecycle_policy",
            repositoryName=name,
            lifecyclePolicyText=json.dumps(goal.lifecycle),
        )
    if image.tag not in found.images:
        yield Push(
            what=f"push image {image.local} to {image.uri}",
            image=image.local,
            repository_uri=image.uri.rpartition(":")[0],
            tag=image.tag,
        )


def _role(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    if goal.role is None:
        return
    name = names.role
    trust = json.loads(goal.role["AssumeRolePolicyDocument"])
    if found.role is None:
        yield call("+", f"execution role {name}", "iam", "create_role", **goal.role)
    else:
        if found.role != trust:
            yield call(
                "~",
                f"who may assume {name}",
                "iam",
                "update_assume_role_policy",
                RoleName=name,
                PolicyDocument=json.dumps(trust),
            )
        if tags := _missing(names, found.role_tags):
            yield call("~", f"tags of {name}", "iam", "tag_role", RoleName=name, Tags=tags)
    if found.permissions != goal.permissions:
        yield call(
            "+" if found.permissions is None else "~",
            f"permissions of {name}, and no more than these:\n{_indented(goal.permissions)}",
            "iam",
            "put_role_policy",
            RoleName=name,
            PolicyName=wanted.POLICY,
            PolicyDocument=json.dumps(goal.permissions),
        )


def _bucket(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    if goal.bucket is None:
        return
    name, region = goal.bucket, names.where.region
    if found.bucket is None:
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        yield call(
            "+",
            f"bucket {name}",
            "s3",
            "create_bucket",
            Bucket=name,
            **({} if region == "us-east-1" else where),
        )
    if found.blocked != wanted.BLOCKED:
        yield call(
            "+" if found.blocked is None else "~",
            f"no public access to {name}",
            "s3",
            "put_public_access_block",
            Bucket=name,
            PublicAccessBlockConfiguration=wanted.BLOCKED,
        )
    if _missing(names, found.bucket or {}):
        yield call(
            "~" if found.bucket else "+",
            f"tags of {name}",
            "s3",
            "put_bucket_tagging",
            Bucket=name,
            Tagging={"TagSet": tag_list((found.bucket or {}) | names.tags)},
        )


def _uploads(names: Names, found: Found, archives: Archives, now: str) -> Iterator[Step]:
    if found.endpoint and now != found.endpoint_tags.get(GENERATION, ""):
        yield sagemaker(
            "~",
            "generation of the archives: instances that have loaded the old ones are replaced",
            "add_tags",
            ResourceArn=found.endpoint["EndpointArn"],
            Tags=tag_list({GENERATION: now}),
        )
    if all_of_them := [*archives.new, *archives.changed]:
        bucket, prefix = names.prefix
        size = sum(archive.size for archive in all_of_them)
        yield Upload(
            what=f"upload {len(archives.new)} new and {len(archives.changed)} changed archives, "
            f"{size / 1e6:.1f} MB, to {names.models_url}",
            archives=all_of_them,
            bucket=bucket,
            prefix=prefix,
            tags=names.tags,
            kms_key=names.config.kms_key,
        )


def _alarms(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    for name, alarm in goal.alarms.items():
        there = found.alarms.get(name)
        if there is None:
            yield call(
                "+",
                f"alarm {name}",
                "cloudwatch",
                "put_metric_alarm",
                **alarm,
                Tags=tag_list(names.tags),
            )
        elif not _agrees(alarm, there):
            yield call("~", f"alarm {name}", "cloudwatch", "put_metric_alarm", **alarm)
    if gone := sorted(found.alarms.keys() - goal.alarms.keys()):
        what = f"alarms {', '.join(gone)}"
        yield call("-", what, "cloudwatch", "delete_alarms", AlarmNames=gone)


def _versions(goal: Wanted, found: Found) -> Iterator[Step]:
    model, config = goal.model["ModelName"], goal.config["EndpointConfigName"]
    if model not in found.models:
        yield sagemaker("+", f"model {model}", "create_model", **goal.model)
    if config not in found.configs:
        variant = goal.config["ProductionVariants"][0]
        yield sagemaker(
            "+",
            f"endpoint configuration {config} ({variant['InstanceType']})",
            "create_endpoint_config",
            **goal.config,
        )


def _delete_dead(names: Names, found: Found) -> Iterator[Step]:
    name = names.endpoint
    reason = (found.endpoint or {}).get("FailureReason", "no reason given")
    what = f"endpoint {name}, which is {found.status}: {reason}"
    yield sagemaker("-", what, "delete_endpoint", EndpointName=name)
    yield Wait(what="until it is gone", endpoint=name, config="")


def _endpoint(names: Names, goal: Wanted, found: Found, create: bool) -> Iterator[Step]:
    name, config = names.endpoint, goal.config["EndpointConfigName"]
    waiting = Wait(what="until it is in service", endpoint=name, config=config)
    instances = f"{goal.instances} x {goal.config['ProductionVariants'][0]['InstanceType']}"
    if create or found.endpoint is None:
        yield sagemaker(
            "+",
            f"endpoint {name}: {instances}",
            "create_endpoint",
            EndpointName=name,
            EndpointConfigName=config,
            Tags=tag_list(names.tags),
        )
        yield waiting
        return
    if tags := _missing(names, found.endpoint_tags):
        arn = found.endpoint["EndpointArn"]
        yield sagemaker("~", f"tags of endpoint {name}", "add_tags", ResourceArn=arn, Tags=tags)
    if found.endpoint["EndpointConfigName"] != config:
        yield sagemaker(
            "~",
            f"endpoint {name}: to {config}, {names.config.update.strategy}",
            "update_endpoint",
            EndpointName=name,
            EndpointConfigName=config,
            RetainAllVariantProperties=True,  # the number of instances that scaling has chosen
            DeploymentConfig=goal.rollout,
        )
        yield waiting
    now = _instances(found)
    scaled = goal.target is not None or found.foreign_scaling
    if now is not None and now != goal.instances and not scaled:
        yield sagemaker(
            "~",
            f"endpoint {name}: {now} -> {instances}",
            "update_endpoint_weights_and_capacities",
            EndpointName=name,
            DesiredWeightsAndCapacities=[
                {"VariantName": VARIANT, "DesiredInstanceCount": goal.instances}
            ],
        )
        yield waiting


def _instances(found: Found) -> int | None:
    """How many there are to be by now; None where the endpoint has no variant of ours."""
    for variant in (found.endpoint or {}).get("ProductionVariants", ()):
        if variant["VariantName"] == VARIANT:
            return int(variant.get("DesiredInstanceCount", 0))
    return None


def _scaling(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    service = "application-autoscaling"
    if goal.target is None or goal.scaling is None:
        if found.target is not None and not found.foreign_scaling:
            where = {one: found.target[one] for one in wanted.SCALED}
            what = f"automatic scaling of {names.endpoint}"
            yield call("-", what, service, "deregister_scalable_target", **where)
        return
    scaling = names.config.autoscaling
    assert scaling is not None  # noqa: S101  # since there is a target
    if found.target is None or not _agrees(goal.target, found.target):
        yield call(
            "+" if found.target is None else "~",
            f"automatic scaling of {names.endpoint}: {scaling.min} to {scaling.max} instances",
            service,
            "register_scalable_target",
            **goal.target,
        )
    if found.scaling is None or not _agrees(goal.scaling, found.scaling):
        yield call(
            "+" if found.scaling is None else "~",
            f"target of {scaling.invocations_per_instance:g} invocations a minute of an instance",
            service,
            "put_scaling_policy",
            **goal.scaling,
        )


def _dashboard(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    if found.dashboard != goal.dashboard:
        yield call(
            "+" if found.dashboard is None else "~",
            f"dashboard {names.dashboard}",
            "cloudwatch",
            "put_dashboard",
            DashboardName=names.dashboard,
            DashboardBody=json.dumps(goal.dashboard),
        )


def _old_versions(goal: Wanted, found: Found) -> Iterator[Step]:
    """What no endpoint runs any more, once the new one is in service."""
    for name in sorted(found.configs - {goal.config["EndpointConfigName"]}):
        what = f"endpoint configuration {name}, which is not used any more"
        yield sagemaker("-", what, "delete_endpoint_config", EndpointConfigName=name)
    for name in sorted(found.models - {goal.model["ModelName"]}):
        what = f"model {name}, which is not used any more"
        yield sagemaker("-", what, "delete_model", ModelName=name)


def _notes(names: Names, found: Found, archives: Archives) -> Iterator[str]:
    if archives.only_there:
        yield (
            f"{archives.only_there} archives at {names.models_url} are not in "
            f"{names.config.models}; they stay (mme models remove)"
        )
    if names.config.autoscaling is None and found.foreign_scaling:
        yield "the endpoint is scaled by a policy that is not mme deploy's; it stays as it is"
    if found.status == _STUCK:
        yield f"the endpoint is {_STUCK}: AWS lets it only be deleted (mme destroy)"


def _missing(names: Names, there: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags that are wanted and not there, or otherwise."""
    return tag_list({key: value for key, value in names.tags.items() if there.get(key) != value})


def _agrees(goal: Any, there: Any) -> bool:
    """Whether all that is wanted is there; AWS adds fields of its own."""
    if isinstance(goal, Mapping) and isinstance(there, Mapping):
        return all(name in there and _agrees(value, there[name]) for name, value in goal.items())
    if isinstance(goal, list) and isinstance(there, list):
        # Their order is the service's.
        return len(goal) == len(there) and all(
            any(_agrees(one, other) for other in there) for one in goal
        )
    return bool(goal == there)


def _indented(policy: Any) -> str:
    """A policy as JSON, a line a statement."""
    lines = ",\n".join(f"        {json.dumps(one)}" for one in policy["Statement"])
    return f'      {{"Version": "{policy["Version"]}", "Statement": [\n{lines}\n      ]}}'
