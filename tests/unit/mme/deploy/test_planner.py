"""What is to be done, worked out without AWS."""

import functools
import json
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from mme.deploy import demolition, planner, wanted
from mme.deploy.archives import Archive
from mme.deploy.found import GENERATION, Found
from mme.deploy.names import TAG, Account, Names
from mme.deploy.planner import Archives
from mme.deploy.steps import Call, Clear, Push, Step, Upload, Wait
from mme.deploy.wanted import Image
from mme.errors import CommandError
from tests.unit.mme.deploy.conftest import MOST, URI, names

OURS = Image(uri="123456789012.dkr.ecr.eu-west-1.amazonaws.com/xgboost-mme/prices:abc", local="x")
THEIRS = Image(uri=URI)


def archive(tmp_path: Path, key: str, data: bytes = b"x") -> Archive:
    """An archive of the folder."""
    path = tmp_path / key
    path.write_bytes(data)
    return Archive(key, path, len(data))


def after(which: Names, image: Image, generation: str = "", **changes: Any) -> Found:
    """What there is when all is as it is wanted."""
    goal = wanted.wanted(which, image, generation)
    tags = dict(which.tags)
    (variant,) = goal.config["ProductionVariants"]
    made = {
        "repository": tags if image.local else None,
        "lifecycle": goal.lifecycle,
        "images": frozenset({image.tag}),
        "role": json.loads(goal.role["AssumeRolePolicyDocument"]) if goal.role else None,
        "role_tags": tags,
        "permissions": goal.permissions,
        "bucket": tags if goal.bucket else None,
        "blocked": wanted.BLOCKED if goal.bucket else None,
        "endpoint": {
            "EndpointName": which.endpoint,
            "EndpointArn": "arn",
            "EndpointStatus": "InService",
            "EndpointConfigName": goal.config["EndpointConfigName"],
            "ProductionVariants": [
                {"VariantName": "AllTraffic", "DesiredInstanceCount": goal.instances}
            ],
        },
        "instance_type": variant["InstanceType"],
        "endpoint_tags": tags | ({GENERATION: generation} if generation else {}),
        "models": frozenset({goal.model["ModelName"]}),
        "configs": {goal.config["EndpointConfigName"]: goal.instances},
        "target": goal.target,
        "scaling": goal.scaling,
        "alarms": goal.alarms,
        "dashboard": goal.dashboard,
    }
    assert variant["InstanceType"] == which.config.instance_type
    return Found(**(made | changes))


def kinds(steps: list[Step]) -> list[str]:
    """What the steps are: an operation, or the name of another kind."""
    return [one.operation if isinstance(one, Call) else type(one).__name__ for one in steps]


def test_nothing_changes(any_names: Names) -> None:
    """Where all is as wanted, there is no step."""
    for image in (OURS, THEIRS):
        plan = planner.plan(any_names, image, after(any_names, image), Archives())
        assert str(plan) == ""


def test_from_nothing(any_names: Names, tmp_path: Path) -> None:
    """Where there is nothing, each thing is made before what needs it."""
    here = Archives(new=[archive(tmp_path, "a.tar.gz")])
    found = kinds(planner.plan(any_names, OURS, Found(), here).steps)
    order = [
        *("create_repository", "Push", "create_role", "put_role_policy"),
        *("Upload", "create_model", "create_endpoint_config", "create_endpoint", "Wait"),
    ]
    assert [one for one in found if one in order] == order
    if any_names.config.autoscaling:
        assert found.index("Wait") < found.index("register_scalable_target")
        assert found.index("put_metric_alarm") < found.index("create_endpoint")


def test_calls_are_valid(any_names: Names) -> None:
    """Every call of every plan is one that AWS's own model of the service takes."""
    old = after(any_names, OURS, endpoint=None)
    changed = names(
        **MOST | {"name": any_names.endpoint, "environment": {"B": "C"}, "instance_count": 3}
    )
    plans = [
        planner.plan(any_names, OURS, Found(), Archives()),
        planner.plan(changed, OURS, after(any_names, OURS), Archives()),
        planner.plan(any_names, OURS, after(changed, OURS), Archives()),
        demolition.plan(any_names, after(any_names, OURS), {any_names.made_bucket: 3}),
        planner.plan(any_names, OURS, old, Archives()),
    ]
    for plan in plans:
        for step in plan.steps:
            if isinstance(step, Call):
                valid(step)


def valid(step: Call) -> None:
    """Check a call's parameters against botocore's model."""
    shape = inputs(step.service)[step.operation]
    report = ParamValidator().validate(step.parameters, shape)
    assert not report.has_errors(), f"{step.operation}: {report.generate_report()}"


@functools.cache
def inputs(service: str) -> dict[str, Any]:
    """The parameters of a service's operations, by boto3's names for these."""
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)
    return {
        botocore.xform_name(name): model.operation_model(name).input_shape
        for name in model.operation_names
    }


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"instance_count": 3}, ["update_endpoint_weights_and_capacities", "Wait"]),
        (
            {"instance_type": "ml.c5.large"},
            ["create_endpoint_config", "update_endpoint", "Wait", "delete_endpoint_config"],
        ),
        (
            {"environment": {"MME_LANES": "4"}},
            [
                *("create_model", "create_endpoint_config", "update_endpoint", "Wait"),
                *("delete_endpoint_config", "delete_model"),
            ],
        ),
        ({"alarms": {"latency_ms": 5}}, ["put_metric_alarm", "put_role_policy"]),
        ({"alarms": {"memory_percent": 5}}, ["put_metric_alarm"]),
        (
            {"autoscaling": {"min": 1, "max": 4, "invocations_per_instance": 9}},
            ["register_scalable_target", "put_scaling_policy"],
        ),
        (
            {"tags": {"team": "x"}},
            ["tag_role", "put_bucket_tagging", "add_tags"],
        ),
        ({"update": {"strategy": "rolling"}}, []),
    ],
)
def test_changes(change: dict[str, Any], steps: list[str]) -> None:
    """A change is what it must be, and no more."""
    there = after(names(), THEIRS)
    assert kinds(planner.plan(names(**change), THEIRS, there, Archives()).steps) == steps


def test_what_is_not_wanted_any_more() -> None:
    """Alarms and scaling that the file has no more are removed."""
    before = names(
        alarms={"latency_ms": 5}, autoscaling={"min": 1, "max": 4, "invocations_per_instance": 9}
    )
    steps = kinds(planner.plan(names(), THEIRS, after(before, THEIRS), Archives()).steps)
    assert steps == ["delete_alarms", "deregister_scalable_target", "put_role_policy"]


def test_scaled_by_itself() -> None:
    """How many instances automatic scaling has chosen is not changed back."""
    scaled = names(autoscaling={"min": 1, "max": 9, "invocations_per_instance": 9})
    there = after(scaled, THEIRS)
    assert there.endpoint is not None
    there.endpoint["ProductionVariants"][0]["DesiredInstanceCount"] = 7
    assert not planner.plan(scaled, THEIRS, there, Archives()).steps


def test_scaled_by_somebody_else() -> None:
    """Scaling that is not ours is left alone, and so is the number of instances it chose."""
    scaled = names(autoscaling={"min": 1, "max": 9, "invocations_per_instance": 9})
    there = after(scaled, THEIRS, scaling=None)
    assert there.endpoint is not None
    there.endpoint["ProductionVariants"][0]["DesiredInstanceCount"] = 7
    plan = planner.plan(names(), THEIRS, there, Archives())
    assert not plan.steps
    assert "not mme deploy's" in plan.notes[0]


def test_other_variants() -> None:
    """An endpoint that somebody has given other variants is brought back to ours."""
    there = after(names(), THEIRS)
    assert there.endpoint is not None
    there.endpoint["EndpointConfigName"] = "theirs"
    there.endpoint["ProductionVariants"] = [{"VariantName": name} for name in ("A", "B")]
    steps = kinds(planner.plan(names(), THEIRS, there, Archives()).steps)
    assert steps == ["update_endpoint", "Wait"]


def test_alarm_that_told_somebody() -> None:
    """Without notify, an alarm tells nobody any more."""
    told = {"alarms": {"latency_ms": 5, "notify": "arn:aws:sns:eu-west-1:123456789012:x"}}
    there = after(names(**told), THEIRS)
    plan = planner.plan(names(alarms={"latency_ms": 5}), THEIRS, there, Archives())
    assert kinds(plan.steps) == ["put_metric_alarm"]
    silent = after(names(alarms={"latency_ms": 5}), THEIRS)
    for alarm in silent.alarms.values():
        del alarm["AlarmActions"]  # as AWS may leave out what is empty
    again = planner.plan(names(alarms={"latency_ms": 5}), THEIRS, silent, Archives())
    assert not again.steps


def test_new_archives(tmp_path: Path) -> None:
    """An archive that is new is uploaded, and nothing else happens."""
    there = after(names(), THEIRS)
    here = Archives(new=[archive(tmp_path, "a.tar.gz")], only_there=2)
    plan = planner.plan(names(), THEIRS, there, here)
    assert kinds(plan.steps) == ["Upload"]
    assert "2 archives at s3://prices-123456789012-eu-west-1/prices/" in plan.notes[0]


def test_changed_archives(tmp_path: Path) -> None:
    """One that replaces another makes another generation, noted before anything is uploaded."""
    there = after(names(), THEIRS)
    here = Archives(changed=[archive(tmp_path, "a.tar.gz")])
    steps = planner.plan(names(), THEIRS, there, here).steps
    assert kinds(steps)[:3] == ["add_tags", "Upload", "create_model"]
    assert "update_endpoint" in kinds(steps)
    now = planner.generation(there, here)
    # Interrupted after the upload: the rest is still to be done, and after that nothing.
    noted = after(names(), THEIRS, endpoint_tags=dict(names().tags) | {GENERATION: now})
    rest = kinds(planner.plan(names(), THEIRS, noted, Archives()).steps)
    assert rest[:3] == ["create_model", "create_endpoint_config", "update_endpoint"]
    done = after(names(), THEIRS, generation=now)
    assert not planner.plan(names(), THEIRS, done, Archives()).steps


def test_failed_endpoint() -> None:
    """An endpoint that failed is deleted and made anew."""
    there = after(names(), THEIRS)
    assert there.endpoint is not None
    there.endpoint["EndpointStatus"] = "Failed"
    steps = planner.plan(names(), THEIRS, there, Archives()).steps
    assert kinds(steps) == ["delete_endpoint", "Wait", "create_endpoint", "Wait"]
    assert next(one.config for one in steps if isinstance(one, Wait)) == ""


def test_fewer_instances_after_a_failure() -> None:
    """A new endpoint begins with as many instances as are wanted now."""
    there = after(names(instance_count=3), THEIRS)
    assert there.endpoint is not None
    there.endpoint["EndpointStatus"] = "Failed"
    steps = planner.plan(names(instance_count=1), THEIRS, there, Archives()).steps
    anew = ["delete_endpoint_config", "create_endpoint_config", "create_endpoint", "Wait"]
    assert kinds(steps) == ["delete_endpoint", "Wait", *anew]


def test_failed_endpoint_is_made_with_all_that_it_had(tmp_path: Path) -> None:
    """What is made anew has its generation from the start, and its scaling again."""
    scaled = names(autoscaling={"min": 1, "max": 9, "invocations_per_instance": 9})
    there = after(scaled, THEIRS)
    assert there.endpoint is not None
    there.endpoint["EndpointStatus"] = "Failed"
    here = Archives(changed=[archive(tmp_path, "a.tar.gz")])
    steps = planner.plan(scaled, THEIRS, there, here).steps
    (made,) = [one for one in steps if isinstance(one, Call) and one.operation == "create_endpoint"]
    now = planner.generation(there, here)
    assert {"Key": GENERATION, "Value": now} in made.parameters["Tags"]
    assert "register_scalable_target" in kinds(steps)


def test_stuck_endpoint() -> None:
    """An endpoint that AWS lets only be deleted is said to be so."""
    there = after(names(), THEIRS)
    assert there.endpoint is not None
    there.endpoint["EndpointStatus"] = "UpdateRollbackFailed"
    with pytest.raises(CommandError, match="only be deleted; mme destroy") as raised:
        planner.plan(names(), THEIRS, there, Archives())
    assert raised.value.status == 1


def test_back_to_what_was_there(tmp_path: Path) -> None:
    """Whoever puts the archives of before back has instances replaced, too."""
    here = Archives(changed=[archive(tmp_path, "a.tar.gz")])
    first = planner.generation(after(names(), THEIRS), here)
    other = planner.generation(after(names(), THEIRS, generation=first), here)
    assert first != other


def test_permissions_while_both_run() -> None:
    """Until the new instances have taken over, the role may do what the old ones need, too."""
    moved = names(models="s3://theirs/models/")
    there = after(names(), THEIRS)
    steps = planner.plan(moved, THEIRS, there, Archives()).steps
    puts = [one for one in steps if isinstance(one, Call) and one.operation == "put_role_policy"]
    both, only = (json.loads(one.parameters["PolicyDocument"])["Statement"] for one in puts)
    order = kinds(steps)
    assert order.index("put_role_policy") < order.index("update_endpoint")
    assert order.index("Wait") < len(order) - 1 - order[::-1].index("put_role_policy")
    assert {json.dumps(one["Resource"]) for one in both} >= {
        json.dumps(one["Resource"]) for one in there.permissions["Statement"] + only
    }
    assert len({one["Sid"] for one in both}) == len(both)
    # Interrupted between the two: no wider still, and narrowed in the end.
    between = after(names(), THEIRS, permissions={"Version": "2012-10-17", "Statement": both})
    again = kinds(planner.plan(moved, THEIRS, between, Archives()).steps)
    assert again.count("put_role_policy") == 1
    assert again.index("Wait") < again.index("put_role_policy")


def test_another_instance_type_under_scaling() -> None:
    """AWS refuses another type while a policy is registered: it goes, and comes back."""
    scaled = {"autoscaling": {"min": 1, "max": 9, "invocations_per_instance": 9}}
    there = after(names(**scaled), THEIRS)
    larger = names(**scaled, instance_type="ml.m5.xlarge")
    steps = kinds(planner.plan(larger, THEIRS, there, Archives()).steps)
    order = [
        *("deregister_scalable_target", "update_endpoint", "Wait"),
        *("register_scalable_target", "put_scaling_policy"),
    ]
    assert [one for one in steps if one in order] == order
    tuned = names(**scaled, environment={"MME_LANES": "8"})
    steps = kinds(planner.plan(tuned, THEIRS, there, Archives()).steps)
    assert "deregister_scalable_target" not in steps


def test_more_instances_before_the_update() -> None:
    """A canary needs two instances: they are there before the update, fewer come after it."""
    there = after(names(instance_count=1), THEIRS)
    more = names(instance_count=2, environment={"A": "b"}, update={"strategy": "canary"})
    steps = planner.plan(more, THEIRS, there, Archives()).steps
    order = ["update_endpoint_weights_and_capacities", "Wait", "update_endpoint", "Wait"]
    assert [one for one in kinds(steps) if one in order] == order
    assert there.endpoint is not None
    waits = [one.config for one in steps if isinstance(one, Wait)]
    assert waits[0] == there.endpoint["EndpointConfigName"] != waits[1]


def test_what_others_are_given_for() -> None:
    """A role and a bucket of ours that are not used any more are named, and go at the end."""
    there = after(names(), THEIRS)
    given = names(models="s3://theirs/models/", role="arn:aws:iam::123456789012:role/theirs")
    notes = " ".join(planner.plan(given, THEIRS, there, Archives()).notes)
    assert f"role {names().role} was made for this endpoint" in notes
    assert f"bucket {names().made_bucket} was made for this endpoint" in notes
    gone = kinds(demolition.plan(given, there, {names().made_bucket: 1}).steps)
    assert {"Clear", "Remove", "delete_role"} <= set(gone)


def test_alarm_that_rings() -> None:
    """An alarm that would undo the update at once is named."""
    rings = names(alarms={"errors_per_minute": 5})
    there = after(rings, THEIRS)
    there.alarms[rings.alarm("errors")]["StateValue"] = "ALARM"
    (note,) = planner.plan(rings, THEIRS, there, Archives()).notes
    assert "rings" in note


def test_other_regions() -> None:
    """What is the same in all regions has the region in its name."""
    here, there = names(), Names(Account("aws", "us-east-1", "123456789012"), names().config)
    assert here.role != there.role
    assert here.dashboard != there.dashboard
    assert here.made_bucket != there.made_bucket


def test_image_is_pushed_once() -> None:
    """An image that is in the repository is not pushed again; another is."""
    there = after(names(), OURS)
    other = Image(uri=OURS.uri.replace("abc", "def"), local="x")
    steps = planner.plan(names(), other, there, Archives()).steps
    (push,) = [one for one in steps if isinstance(one, Push)]
    assert (push.repository_uri, push.tag) == (OURS.uri.rpartition(":")[0], "def")
    assert "update_endpoint" in kinds(steps)


def test_uploads_carry_the_tag(tmp_path: Path) -> None:
    """Objects are tagged, so that they can be told from others' when all goes."""
    here = Archives(new=[archive(tmp_path, "a.tar.gz")])
    (upload,) = [
        one for one in planner.plan(names(), THEIRS, Found(), here).steps if isinstance(one, Upload)
    ]
    assert upload.tags[TAG] == "prices"


def test_destroy_what_there_is() -> None:
    """Only what there is goes; without anything there is no step."""
    assert str(demolition.plan(names(), Found(), {})) == ""
    steps = demolition.plan(
        names(), Found(bucket=dict(names().tags)), {names().made_bucket: 3}
    ).steps
    assert [type(one).__name__ for one in steps] == ["Clear", "Remove"]
    theirs = names(models="s3://theirs/models/")
    steps = demolition.plan(theirs, after(theirs, THEIRS), {}).steps
    assert not [one for one in steps if isinstance(one, Clear)]


def test_destroy_logs() -> None:
    """What the containers wrote stays, which is said, unless it is to go, too."""
    assert "--logs" in str(demolition.plan(names(), Found(), {}, has_logs=True))
    steps = demolition.plan(names(), Found(), {}, has_logs=True, with_logs=True).steps
    assert kinds(steps) == ["delete_log_group"]
    valid(steps[0])  # type: ignore[arg-type]  # a call


def test_long_names() -> None:
    """Names keep within AWS's limits, whatever the endpoint is called."""
    long = names(name="A" + "b" * 62)
    goal = wanted.wanted(long, OURS)
    assert long.own_bucket is not None
    assert len(long.own_bucket) <= 63
    assert long.own_bucket == long.own_bucket.lower()
    assert len(long.role) <= 64
    assert len(goal.model["ModelName"]) <= 63
    other = names(name="A" + "b" * 61 + "c")
    assert len({long.own_bucket, other.own_bucket, long.role, other.role}) == 4
