"""The steps for what is around an endpoint: image, role, bucket, alarms, dashboard; pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mme.deploy import wanted
from mme.deploy.found import Found
from mme.deploy.names import Names
from mme.deploy.steps import Push, Step, call
from mme.deploy.wanted import Image, Wanted, tag_list


def repository(names: Names, image: Image, goal: Wanted, found: Found) -> Iterator[Step]:
    """The image's repository, and the image in it."""
    if goal.repository is None:
        return
    name = names.repository
    if found.repository is None:
        what = f"ECR repository {name}"
        yield call("+", what, "ecr", "create_repository", **goal.repository)
    else:
        arn = names.where.arn("ecr", f"repository/{name}")
        tags = missing(names, found.repository)
        if tags:
            yield call("~", f"tags of {name}", "ecr", "tag_resource", resourceArn=arn, tags=tags)
    if found.lifecycle != goal.lifecycle:
        yield call(
            "+" if found.lifecycle is None else "~",
            f"lifecycle policy of {name}: images without a tag expire",
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


def role(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    """The execution role; while an endpoint runs it may never do less than that needs."""
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
        if tags := missing(names, found.role_tags):
            yield call("~", f"tags of {name}", "iam", "tag_role", RoleName=name, Tags=tags)
    if found.endpoint is None or found.permissions is None:
        yield from narrowed(names, goal, found, running=False)
    elif updated(goal, found) and _lacks(found, goal):
        yield _put_policy(
            "~",
            f"permissions of {name}: those of the old instances and of the new, while both run",
            name,
            _widened(found.permissions, goal),
        )


def narrowed(names: Names, goal: Wanted, found: Found, running: bool = True) -> Iterator[Step]:
    """The role may do what is wanted and no more: of a running endpoint, once it has changed."""
    was_there = found.endpoint is not None and found.permissions is not None
    if goal.role is None or found.permissions == goal.permissions or running != was_there:
        return
    yield _put_policy(
        "+" if found.permissions is None else "~",
        f"permissions of {names.role}, and no more than these:\n{_indented(goal.permissions)}",
        names.role,
        goal.permissions,
    )


def _put_policy(sign: str, what: str, role_name: str, document: Any) -> Step:
    return call(
        sign,
        what,
        "iam",
        "put_role_policy",
        RoleName=role_name,
        PolicyName=wanted.POLICY,
        PolicyDocument=json.dumps(document),
    )


def updated(goal: Wanted, found: Found) -> bool:
    """Whether other instances are to take over from those of the endpoint."""
    config = goal.config["EndpointConfigName"]
    return found.endpoint is not None and found.endpoint["EndpointConfigName"] != config


def _lacks(found: Found, goal: Wanted) -> bool:
    return not all(one in found.permissions["Statement"] for one in _statements(goal))


def _statements(goal: Wanted) -> list[Any]:
    return list((goal.permissions or {})["Statement"])


def _widened(there: Any, goal: Wanted) -> Any:
    """What is wanted and what there is; names of statements may not be there twice."""
    before = [one for one in there["Statement"] if one not in _statements(goal)]
    kept = [{**one, "Sid": f"Before{number}"} for number, one in enumerate(before)]
    return {**(goal.permissions or {}), "Statement": _statements(goal) + kept}


def bucket(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    """The bucket, closed to the public."""
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
    if missing(names, found.bucket or {}):
        yield call(
            "~" if found.bucket else "+",
            f"tags of {name}",
            "s3",
            "put_bucket_tagging",
            Bucket=name,
            Tagging={"TagSet": tag_list((found.bucket or {}) | names.tags)},
        )


def alarms(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    """The alarms; those that are not wanted any more go."""
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
        elif not agrees(alarm, there):
            yield call("~", f"alarm {name}", "cloudwatch", "put_metric_alarm", **alarm)
    if gone := sorted(found.alarms.keys() - goal.alarms.keys()):
        what = f"alarms {', '.join(gone)}"
        yield call("-", what, "cloudwatch", "delete_alarms", AlarmNames=gone)


def dashboard(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    """The dashboard."""
    if found.dashboard != goal.dashboard:
        yield call(
            "+" if found.dashboard is None else "~",
            f"dashboard {names.dashboard}",
            "cloudwatch",
            "put_dashboard",
            DashboardName=names.dashboard,
            DashboardBody=json.dumps(goal.dashboard),
        )


def unused(names: Names, goal: Wanted, found: Found) -> Iterator[str]:
    """What was made for the endpoint and is not wanted any more, since others are given."""
    made = {
        f"role {names.role}": goal.role is None and found.role is not None,
        f"bucket {names.made_bucket}": goal.bucket is None and found.bucket is not None,
        f"repository {names.repository}": goal.repository is None and found.repository is not None,
    }
    for what, is_left in made.items():
        if is_left:
            yield f"{what} was made for this endpoint, is not used now, and goes by mme destroy"


def missing(names: Names, there: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags that are wanted and not there, or otherwise."""
    return tag_list({key: value for key, value in names.tags.items() if there.get(key) != value})


def agrees(goal: Any, there: Any) -> bool:
    """Whether all that is wanted is there; AWS adds fields, and leaves empty ones out."""
    if isinstance(goal, Mapping) and isinstance(there, Mapping):
        return all(agrees(value, there.get(name)) for name, value in goal.items())
    if isinstance(goal, list) and isinstance(there, list):
        # Their order is the service's.
        return len(goal) == len(there) and all(
            any(agrees(one, other) for other in there) for one in goal
        )
    return bool(goal == there) or (there is None and goal in ([], {}, ""))


def _indented(policy: Any) -> str:
    """A policy as JSON, a line a statement."""
    lines = ",\n".join(f"        {json.dumps(one)}" for one in policy["Statement"])
    return f'      {{"Version": "{policy["Version"]}", "Statement": [\n{lines}\n      ]}}'
