"""From what is wanted and what there is to the steps between them; pure.

An archive that replaces another of its name is the hard case: an instance that has loaded the old
one never looks again. So the new one is uploaded, and then instances take over that have loaded
nothing. The endpoint's tag ``xgboost-mme:generation`` is set to another value *before* the upload,
and the model's name follows from it: whoever is interrupted after that finds, when started again,
an endpoint whose model is not that of its generation, and goes on.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mme.deploy import around, wanted
from mme.deploy.archives import Archive
from mme.deploy.found import GENERATION, Found
from mme.deploy.names import VARIANT, Names
from mme.deploy.steps import Plan, Step, Upload, Wait, call, sagemaker
from mme.deploy.wanted import Image, Wanted, tag_list
from mme.errors import CommandError

_DEAD = ("Failed", "OutOfService")  # what cannot be updated, and serves nobody
_STUCK = "UpdateRollbackFailed"


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
    """Of the archives: another one when some are about to replace others; empty at first.

    It is made from what runs, too: whoever goes back to what was there has a new one.
    """
    if not archives.changed or found.endpoint is None:
        return found.endpoint_tags.get(GENERATION, "")
    running = found.endpoint["EndpointConfigName"]
    content = [running, *sorted((archive.key, archive.etag) for archive in archives.changed)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def plan(names: Names, image: Image, found: Found, archives: Archives) -> Plan:
    """The steps; none where nothing is to be done.

    Args:
        names: of the resources, with the configuration.
        image: that it is to run.
        found: what there is, of an endpoint that is not changing.
        archives: of a local folder; empty where the models are in S3.

    Raises:
        CommandError: the endpoint can only be deleted.
    """
    if found.status == _STUCK:
        raise CommandError(
            f"endpoint {names.endpoint} is {_STUCK}: AWS lets it only be deleted; mme destroy, "
            "then mme deploy",
            status=1,
        )
    now = generation(found, archives)
    goal = wanted.wanted(names, image, now)
    running = found
    if found.status in _DEAD:  # with it goes what was registered for it
        running = dataclasses.replace(found, endpoint=None, target=None, scaling=None)
    steps: list[Step] = [
        *around.repository(names, image, goal, found),
        *around.role(names, goal, running),
        *around.bucket(names, goal, found),
        *_uploads(names, found, archives, now),
        *around.alarms(names, goal, found),
        *_delete_dead(names, found),
        *_versions(goal, running),
        *(_create(names, goal, now) if running.endpoint is None else _change(names, goal, running)),
        *_scaling(names, goal, running),
        *around.dashboard(names, goal, found),
        *around.narrowed(names, goal, running),
        *_old_versions(goal, found),
    ]
    scaled = goal.target is not None or running.foreign_scaling
    count = (_instances(running) if scaled else None) or goal.instances
    return Plan(steps, list(_notes(names, goal, running, archives)), count)


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


def _delete_dead(names: Names, found: Found) -> Iterator[Step]:
    if found.status in _DEAD:
        name = names.endpoint
        reason = (found.endpoint or {}).get("FailureReason", "no reason given")
        what = f"endpoint {name}, which is {found.status}: {reason}"
        yield sagemaker("-", what, "delete_endpoint", EndpointName=name)
        yield Wait(what="until it is gone", endpoint=name, config="")


def _versions(goal: Wanted, running: Found) -> Iterator[Step]:
    model, config = goal.model["ModelName"], goal.config["EndpointConfigName"]
    if model not in running.models:
        yield sagemaker("+", f"model {model}", "create_model", **goal.model)
    count = running.configs.get(config)
    # Its name does not say how many instances it has, which a new endpoint begins with.
    other = running.endpoint is None and count not in (None, goal.instances)
    if other:
        what = f"endpoint configuration {config}, of {count} instances, to make it anew"
        yield sagemaker("-", what, "delete_endpoint_config", EndpointConfigName=config)
    if other or count is None:
        kind = goal.config["ProductionVariants"][0]["InstanceType"]
        what = f"endpoint configuration {config} ({kind})"
        yield sagemaker("+", what, "create_endpoint_config", **goal.config)


def _instances_of(goal: Wanted) -> str:
    return f"{goal.instances} x {goal.config['ProductionVariants'][0]['InstanceType']}"


def _waiting(names: Names, goal: Wanted) -> Wait:
    return Wait(
        what="until it is in service",
        endpoint=names.endpoint,
        config=goal.config["EndpointConfigName"],
    )


def _create(names: Names, goal: Wanted, now: str) -> Iterator[Step]:
    yield sagemaker(
        "+",
        f"endpoint {names.endpoint}: {_instances_of(goal)}",
        "create_endpoint",
        EndpointName=names.endpoint,
        EndpointConfigName=goal.config["EndpointConfigName"],
        Tags=tag_list(names.tags | ({GENERATION: now} if now else {})),
    )
    yield _waiting(names, goal)


def _change(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    """Tags; instances; what they run, after those that are added and before those that go."""
    assert found.endpoint is not None  # noqa: S101  # else there is nothing to change
    if tags := around.missing(names, found.endpoint_tags):
        arn, what = found.endpoint["EndpointArn"], f"tags of endpoint {names.endpoint}"
        yield sagemaker("~", what, "add_tags", ResourceArn=arn, Tags=tags)
    count = _count(names, goal, found)
    more = (_instances(found) or 0) < goal.instances
    if more:
        yield from count
    if around.updated(goal, found):
        yield from _update(names, goal, found)
    if not more:
        yield from count


def _count(names: Names, goal: Wanted, found: Found) -> list[Step]:
    now = _instances(found)
    if goal.target is not None or found.foreign_scaling or now in (None, goal.instances):
        return []
    running = str((found.endpoint or {})["EndpointConfigName"])
    return [
        sagemaker(
            "~",
            f"endpoint {names.endpoint}: {now} -> {_instances_of(goal)}",
            "update_endpoint_weights_and_capacities",
            EndpointName=names.endpoint,
            DesiredWeightsAndCapacities=[
                {"VariantName": VARIANT, "DesiredInstanceCount": goal.instances}
            ],
        ),
        dataclasses.replace(
            _waiting(names, goal),
            config=running if (now or 0) < goal.instances else goal.config["EndpointConfigName"],
        ),
    ]


def _update(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    config = goal.config["EndpointConfigName"]
    if _pauses_scaling(names, found):
        yield _deregister(names, found, "while it changes, as AWS asks")
    yield sagemaker(
        "~",
        f"endpoint {names.endpoint}: to {config}, {names.config.update.strategy}",
        "update_endpoint",
        EndpointName=names.endpoint,
        EndpointConfigName=config,
        RetainAllVariantProperties=True,  # the number of instances that scaling has chosen
        DeploymentConfig=goal.rollout,
    )
    yield _waiting(names, goal)


def _pauses_scaling(names: Names, found: Found) -> bool:
    """Whether scaling must go for a while: AWS refuses another instance type under it."""
    another = found.instance_type != names.config.instance_type
    return another and found.scaling is not None


def _instances(found: Found) -> int | None:
    """How many there are to be by now; None where the endpoint has no variant of ours."""
    for variant in (found.endpoint or {}).get("ProductionVariants", ()):
        if variant["VariantName"] == VARIANT:
            return int(variant.get("DesiredInstanceCount", 0))
    return None


def _deregister(names: Names, found: Found, why: str) -> Step:
    where = {one: (found.target or {})[one] for one in wanted.SCALED}
    what = f"automatic scaling of {names.endpoint}, {why}"
    service = "application-autoscaling"
    return call("-", what, service, "deregister_scalable_target", **where)


def _scaling(names: Names, goal: Wanted, found: Found) -> Iterator[Step]:
    service = "application-autoscaling"
    if around.updated(goal, found) and _pauses_scaling(names, found):
        found = dataclasses.replace(found, target=None, scaling=None)  # gone by then
    if goal.target is None or goal.scaling is None:
        if found.scaling is not None:
            yield _deregister(names, found, "which is not wanted any more")
        return
    scaling = names.config.autoscaling
    assert scaling is not None  # noqa: S101  # since there is a target
    if found.target is None or not around.agrees(goal.target, found.target):
        yield call(
            "+" if found.target is None else "~",
            f"automatic scaling of {names.endpoint}: {scaling.min} to {scaling.max} instances",
            service,
            "register_scalable_target",
            **goal.target,
        )
    if found.scaling is None or not around.agrees(goal.scaling, found.scaling):
        yield call(
            "+" if found.scaling is None else "~",
            f"target of {scaling.invocations_per_instance:g} invocations a minute of an instance",
            service,
            "put_scaling_policy",
            **goal.scaling,
        )


def _old_versions(goal: Wanted, found: Found) -> Iterator[Step]:
    """What no endpoint runs any more, once the new one is in service."""
    for name in sorted(found.configs.keys() - {goal.config["EndpointConfigName"]}):
        what = f"endpoint configuration {name}, which is not used any more"
        yield sagemaker("-", what, "delete_endpoint_config", EndpointConfigName=name)
    for name in sorted(found.models - {goal.model["ModelName"]}):
        what = f"model {name}, which is not used any more"
        yield sagemaker("-", what, "delete_model", ModelName=name)


def _notes(names: Names, goal: Wanted, found: Found, archives: Archives) -> Iterator[str]:
    if archives.only_there:
        yield (
            f"{archives.only_there} archives at {names.models_url} are not in "
            f"{names.config.models}; they stay (mme models remove)"
        )
    if archives.changed and found.endpoint:
        yield (
            "the old instances load the new archives, too, until they go, and an update that is "
            "undone does not bring the old archives back: keep them"
        )
    now = _instances(found)
    if goal.target is not None and now not in (None, goal.instances):
        yield f"scaling has chosen {now} instances; instance_count is for a new endpoint"
    if names.config.autoscaling is None and found.foreign_scaling:
        yield "the endpoint is scaled by a policy that is not mme deploy's; it stays as it is"
    for name in names.undoing_alarms:
        if found.alarms.get(name, {}).get("StateValue") == "ALARM":
            yield f"alarm {name} rings: AWS undoes an update while it does"
    yield from around.unused(names, goal, found)
