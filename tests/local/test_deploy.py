"""``mme deploy`` and ``mme destroy`` with real boto3 against ``mme local``, faults among it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mme.aws import Aws
from mme.deploy import command, executor
from mme.deploy.config import Config
from mme.deploy.names import TAG, Account, Names
from mme.deploy.steps import Plan
from tests.local.deploying import IMAGE, Project, asked_all_the_while
from tests.local.faulty import Faulty
from tests.local.support import Local
from tests.support import wait_until

SECONDS = 120


@pytest.fixture
def project(
    tmp_path: Path,
    name: str,
    local: Local,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Project:
    """A project with two models, of which nothing is on AWS."""
    project = Project(tmp_path, name, local, monkeypatch, capsys)
    project.put("Houston_TX", 1)
    project.put("east/Boston_MA", 2)
    return project


FULL: dict[str, Any] = {
    "autoscaling": {"min": 1, "max": 2, "invocations_per_instance": 100000},
    "alarms": {"errors_per_minute": 5, "latency_ms": 500, "memory_percent": 90},
    "tags": {"team": "pricing"},
}


def test_from_nothing_to_nothing(project: Project) -> None:
    """Deployed and invoked by one command; again, nothing changes; destroyed, nothing is left."""
    project.config |= FULL
    planned = project.well("deploy", "--plan")
    assert '"Action": ["s3:GetObject"]' in planned
    assert project.left() == {}, "a plan only reads"
    done = project.well("deploy", "--yes")
    assert "Houston_TX.tar.gz, asked with zeros: [" in done, "the first model has answered"
    assert "cold" in done
    assert set(project.left()) == {
        *("Endpoint", "EndpointConfig", "Model", "Bucket", "Role", "Alarm", "Dashboard", "Target")
    }
    assert project.predict("Houston_TX") != project.predict("east/Boston_MA")
    with Faulty(project.local.url) as between:
        project.use(between.url)
        assert "nothing to do" in project.well("deploy", "--yes")
        verbs = {operation.partition("Object")[0][:3] for operation in between.operations()}
    assert verbs <= {"Des", "Lis", "Get", "Hea"}, "it only reads"
    project.use(project.local.url)
    project.well("destroy", "--yes")
    assert project.left() == {}
    assert "nothing of" in project.well("destroy", "--yes")


def test_goes_on_after_every_step(project: Project) -> None:
    """Whoever is interrupted, after whichever step, goes on from there, with no step left out."""
    project.config |= FULL
    one_by_one(project)
    old = project.predict("Houston_TX")
    project.put("Houston_TX", 7)
    project.config["volume_gb"] = 50
    one_by_one(project)
    assert project.predict("Houston_TX") != old
    left = project.left()
    assert (len(left["Model"]), len(left["EndpointConfig"])) == (1, 1)
    project.well("destroy", "--yes")


def one_by_one(project: Project) -> None:
    """Plan, do the first step alone, and begin anew, until nothing is to be done."""
    aws = Aws()
    names = Names(Account.of(aws), Config.from_document(project.config))
    for _ in range(40):
        plan = command.planned(aws, names)
        if not plan.steps:
            return
        executor.execute(aws, Plan(plan.steps[:1]), print)
    pytest.fail("it does not come to an end")


def test_changed_archive(project: Project) -> None:
    """An archive that replaces another is served by new instances, and no request fails."""
    project.well("deploy", "--yes")
    old = project.predict("Houston_TX")
    project.put("Houston_TX", 7)
    project.put("Dallas_TX", 3)
    with asked_all_the_while(project.local, project.name, "Houston_TX.tar.gz") as answers:
        assert "1 new and 1 changed" in project.well("deploy", "--yes")
        new = project.predict("Houston_TX")
        so_far = len(answers)
        wait_until(lambda: len(answers) > so_far + 20, SECONDS, "answers of the new one")
    assert new != old
    assert set(answers) == {old, new}
    assert answers[-1] == new
    assert project.predict("Dallas_TX") not in (old, new)
    project.well("destroy", "--yes")


def test_new_archive(project: Project) -> None:
    """An archive that is new is uploaded, and the endpoint stays as it is."""
    project.well("deploy", "--yes")
    before = project.left()
    project.put("Dallas_TX", 3)
    done = project.well("deploy", "--yes")
    assert "upload 1 new and 0 changed" in done
    assert project.left() == before
    project.predict("Dallas_TX")
    project.well("destroy", "--yes")


def test_instances_and_settings(project: Project) -> None:
    """Other instances or settings are an update; another number of them is none."""
    project.well("deploy", "--yes")
    project.config["instance_count"] = 2
    done = project.well("deploy", "--yes")
    assert "1 -> 2 x ml.m5.large" in done
    assert "configuration" not in done
    assert len(project.local.instances(project.name)) == 2
    project.config |= {
        "instance_type": "ml.m5.xlarge",
        "environment": {"MME_LANES": "8"},
        "update": {"strategy": "rolling", "step_percent": 50, "wait_seconds": 0},
    }
    assert "rolling" in project.well("deploy", "--yes")
    described = project.local.in_service(project.name)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert "RollingUpdatePolicy" in described["LastDeploymentConfig"]
    assert "nothing to do" in project.well("deploy")
    project.well("destroy", "--yes")


def test_prefix_of_somebody_else(project: Project) -> None:
    """Models that are in S3 already are served from there, and stay when the endpoint goes."""
    folder = project.local.bucket(f"{project.name}-theirs", {})
    target = folder / "prices" / "Houston_TX.tar.gz"
    target.parent.mkdir()
    target.write_bytes((project.folder / "models" / "Houston_TX.tar.gz").read_bytes())
    project.config["models"] = f"s3://{folder.name}/prices/"
    project.well("deploy", "--yes")
    project.predict("Houston_TX")
    project.well("destroy", "--yes")
    assert target.exists()
    assert set(project.left()) == {"Bucket"}


def test_object_of_somebody_else(project: Project) -> None:
    """What others have put into our bucket stays, and the bucket with it."""
    project.well("deploy", "--yes")
    bucket, prefix = project.names().prefix
    project.local.client("s3").put_object(Bucket=bucket, Key=f"{prefix}Mine.tar.gz", Body=b"x")
    done = project.well("destroy", "--yes")
    assert "1 objects without the endpoint's tag stay" in done
    assert set(project.left()) == {"Bucket"}
    keys = project.local.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [one["Key"] for one in keys] == [f"{prefix}Mine.tar.gz"]


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (
            "role",
            lambda local, names: local.client("iam").create_role(
                RoleName=names.role, AssumeRolePolicyDocument="{}"
            ),
        ),
        ("bucket", lambda local, names: local.bucket(names.own_bucket, {"x.tar.gz": b"x"})),
    ],
    ids=["role", "bucket"],
)
def test_resource_of_somebody_else(
    project: Project, kind: str, make: Callable[[Local, Names], Any]
) -> None:
    """What has our name and lacks our tag is neither used nor removed."""
    make(project.local, project.names())
    line = project.fails("deploy", "--yes")
    assert f"there is a {kind}" in line
    assert TAG in line
    assert f"there is a {kind}" in project.fails("destroy", "--yes")
    assert len(project.left()) == 1


def test_throttled(project: Project) -> None:
    """AWS that asks for slower is asked again; one that goes on so ends in one line."""
    with Faulty(project.local.url) as aws:
        project.use(aws.url)
        met = [
            aws.fail(operation, 400, "ThrottlingException", "Rate exceeded", times=1)
            for operation in ("CreateRole", "CreateModel", "PutDashboard", "DescribeEndpoint")
        ]
        project.well("deploy", "--yes")
        assert [fault.hits for fault in met] == [1, 1, 1, 1]
    project.use(project.local.url)
    project.well("destroy", "--yes")


def test_access_denied(project: Project) -> None:
    """A permission that lacks is named, what was done stays, and with it the rest is done."""
    text = (
        "User: arn:aws:iam::123456789012:user/me is not authorized to perform: "
        "sagemaker:CreateModel on resource: m"
    )
    with Faulty(project.local.url) as aws:
        project.use(aws.url)
        aws.fail("CreateModel", 400, "AccessDeniedException", text)
        line = project.fails("deploy", "--yes")
        assert "needs the permission sagemaker:CreateModel" in line
        assert aws.operations("sagemaker").count("CreateModel") == 1
        aws.mend()
        done = project.well("deploy", "--yes")
        assert "upload" not in done
    project.use(project.local.url)
    project.well("destroy", "--yes")


def test_role_that_is_not_known_yet(project: Project) -> None:
    """A role that was made just now, which SageMaker cannot assume yet, is waited for."""
    with Faulty(project.local.url) as aws:
        project.use(aws.url)
        text = "Could not assume role arn:aws:iam::1:role/r. Please ensure that the role exists"
        met = aws.fail("CreateModel", 400, "ValidationException", text, times=1)
        project.well("deploy", "--yes")
        assert met.hits == 1
    project.use(project.local.url)
    project.well("destroy", "--yes")


@pytest.mark.parametrize(
    ("operation", "code", "text", "line"),
    [
        ("GetCallerIdentity", "ExpiredToken", "The security token is expired", "have expired"),
        ("GetCallerIdentity", "InvalidClientTokenId", "invalid", "does not know these credentials"),
        (
            "CreateEndpoint",
            "ResourceLimitExceeded",
            "The account-level service limit 'ml.m5.large for endpoint usage' is 0 Instances",
            "Service Quotas, Amazon SageMaker, 'ml.m5.large for endpoint usage'",
        ),
    ],
)
def test_refused(project: Project, operation: str, code: str, text: str, line: str) -> None:
    """Credentials and quotas: one line with the cure."""
    with Faulty(project.local.url) as aws:
        project.use(aws.url)
        aws.fail(operation, 400, code, text)
        assert line in project.fails("deploy", "--yes")
    project.use(project.local.url)
    project.mme("destroy", "--yes")


def test_endpoint_that_fails(project: Project) -> None:
    """An endpoint whose container does not start says so; mended, it is made anew."""
    project.config["environment"] = {"PYTHONHOME": "/nowhere"}
    line = project.fails("deploy", "--yes")
    assert "is Failed" in line
    assert "mme deploy again" in line
    project.config["environment"] = {}
    done = project.well("deploy", "--yes")
    assert f"- endpoint {project.name}, which is Failed" in done
    project.predict("Houston_TX")
    project.well("destroy", "--yes")


def test_update_that_is_undone(project: Project) -> None:
    """An update whose containers do not start is undone: it says so, and the old serves on."""
    project.well("deploy", "--yes")
    old = project.predict("Houston_TX")
    project.config["environment"] = {"PYTHONHOME": "/nowhere"}
    assert "was undone, and the old instances serve on" in project.fails("deploy", "--yes")
    assert project.predict("Houston_TX") == old
    project.config["environment"] = {}
    project.well("deploy", "--yes")
    left = project.left()
    assert (len(left["Model"]), len(left["EndpointConfig"])) == (1, 1)
    project.well("destroy", "--yes")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"instance_type": "ml.m5.lage"}, "there is no ml.m5.lage; did you mean ml.m5.large?"),
        ({"models": "s3://nobody-has-this/x/"}, "NoSuchBucket"),
        ({"environment": {"MME_SHARD": "1"}}, "did you mean MME_SHARDS?"),
        ({"environment": {"MME_SHARDS": "many"}}, "MME_SHARDS is 'many'"),
        ({"image": "docker.io/library/xgboost-mme:1"}, "SageMaker pulls from ECR"),
        ({"image": IMAGE.replace("us-east-1", "eu-west-1")}, "in its own region"),
    ],
)
def test_found_before_anything_is_made(project: Project, change: dict[str, Any], line: str) -> None:
    """What AWS, or the container, would refuse later is refused at once."""
    project.config |= change
    assert line in project.fails("deploy", "--yes")
    assert project.left() == {}


def test_back_to_what_was_there(project: Project) -> None:
    """After an update that was undone, the archives of before are served again by new instances."""
    project.well("deploy", "--yes")
    first = project.predict("Houston_TX")
    project.put("Houston_TX", 7)
    project.well("deploy", "--yes")
    second = project.predict("Houston_TX")
    project.put("Houston_TX", 8)
    project.config["environment"] = {"PYTHONHOME": "/nowhere"}
    project.fails("deploy", "--yes")
    project.put("Houston_TX", 7)
    project.config["environment"] = {}
    assert "all-at-once" in project.well("deploy", "--yes")
    assert project.predict("Houston_TX") == second != first
    project.well("destroy", "--yes")


def test_nobody_to_ask(project: Project) -> None:
    """Without a terminal and without --yes nothing is done."""
    assert "--yes" in project.fails("deploy")
    assert project.left() == {}


def test_throttled_for_good(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AWS that goes on refusing ends it in one line, after as many attempts as were chosen."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with Faulty(project.local.url) as aws:
        project.use(aws.url)
        met = aws.fail("CreateRole", 400, "Throttling", "Rate exceeded")
        assert "CreateRole was refused again and again" in project.fails("deploy", "--yes")
        assert met.hits == 2


# What Docker does, as far as this needs it; a push makes ECR know the image.
DOCKER = """#!{python}
import json, sys

import boto3

MEDIA = "application/vnd.docker.distribution.manifest.v2+json"
words = sys.argv[1:]
if "inspect" in words:
    identity = open({identity!r}).read()
    print(json.dumps([{{"Id": identity, "Architecture": "amd64"}}]) if "image" in words else "")
elif "push" in words:
    (login,) = json.load(open(words[1] + "/config.json"))["auths"].values()
    assert login["auth"], "a password"
    name, _, tag = words[-1].partition("/")[2].rpartition(":")
    digest = {{"digest": "sha256:" + tag}}
    manifest = json.dumps({{"schemaVersion": 2, "mediaType": MEDIA, "config": digest}})
    boto3.client("ecr").put_image(repositoryName=name, imageManifest=manifest, imageTag=tag)
    print("pushed")
"""


def test_own_image(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of this machine gets a repository, is pushed once, and another one is an update."""
    programs = tmp_path / "bin"
    programs.mkdir()
    identity = tmp_path / "identity"
    identity.write_text("sha256:0123456789abcdef")
    docker = programs / "docker"
    docker.write_text(DOCKER.format(python=sys.executable, identity=str(identity)))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    project.config["image"] = "xgboost-mme"
    assert "pushed" in project.well("deploy", "--yes")
    ecr = project.local.client("ecr")
    repository = f"xgboost-mme/{project.name}"
    (described,) = ecr.describe_repositories(repositoryNames=[repository])["repositories"]
    assert described["imageTagMutability"] == "IMMUTABLE"
    assert described["imageScanningConfiguration"] == {"scanOnPush": True}
    assert "nothing to do" in project.well("deploy", "--yes")
    identity.write_text("sha256:fedcba9876543210")
    done = project.well("deploy", "--yes")
    assert "pushed" in done
    assert f"~ endpoint {project.name}" in done
    (model,) = project.left()["Model"]
    (container,) = project.local.client("sagemaker").describe_model(ModelName=model)["Containers"]
    assert container["Image"] == f"{described['repositoryUri']}:fedcba987654"
    project.well("destroy", "--yes")
    assert project.left() == {}
