"""Training on SageMaker, as far as it is plain data; and who follows a job to its end."""

import gzip
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mme import cli
from mme.errors import CommandError
from mme.local.control.validation import SAGEMAKER, check
from mme.training import follow, request
from mme.training.bucket import Place
from mme.training.fit import Parameters, Recipe
from mme.training.follow import Follower, LeftError
from mme.training.order import read_order
from mme.training.split import Rows, dealt, digest, read_rows
from tests.unit.mme.training.support import lay_out

FLEET = request.Fleet(
    role="arn:aws:iam::123456789012:role/any",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:1",
    instance_type="ml.m5.xlarge",
    volume_gb=30,
    max_run_seconds=3600,
    spot=True,
)
WORDS = [
    *("--on", "sagemaker", "--by", "city", "--target", "PRICE", "--output", "s3://b/models/"),
    *("--role", FLEET.role, "--image", FLEET.image),
]


def test_parts_are_whole_groups() -> None:
    """Each group is in one part; parts have about as many rows; there is no empty one."""
    sizes = {f"g{number}": 1 + number % 7 for number in range(100)}
    parts = dealt(sizes, 8)
    assert sorted(name for part in parts for name in part) == sorted(sizes)
    rows = [sum(sizes[name] for name in part) for part in parts]
    assert max(rows) - min(rows) <= 7
    assert dealt({"a": 1, "b": 2}, 64) == [["b"], ["a"]]


def test_rows(tmp_path: Path) -> None:
    """A part has the rows as they are, and the same groups make the same bytes."""
    (tmp_path / "h.csv").write_text('city,PRICE,A\n007,1,0.10\n"a,b",2,\n007,3,x\n')
    rows = read_rows(tmp_path / "h.csv", "city", "PRICE")
    assert rows.groups.keys() == {"007", "a,b"}
    packed = rows.packed(["007"])
    assert gzip.decompress(packed) == b"city,PRICE,A\n007,1,0.10\n007,3,x\n"
    assert packed == rows.packed(["007"])
    assert b'"a,b",2,' in gzip.decompress(rows.packed(["a,b"]))


def test_digests() -> None:
    """A digest tells words from others that are the same in a row."""
    assert digest("a", b"b") == digest("a", b"b")
    assert len({digest("ab", ""), digest("a", "b"), digest(b"a", "b"), digest("a", 1)}) == 4


@pytest.mark.parametrize("group", ["", "Chicago_IL", "x" * 200, "São Paulo / 7", "---"])
def test_names(group: str) -> None:
    """Jobs' names are what SageMaker takes, also those of later attempts."""
    name = request.job_name("mme-train", group, digest(group))
    asked = {"TrainingJobName": request.attempt(name, 99)}
    _, found = check(SAGEMAKER, "DescribeTrainingJob", asked)
    assert found == []
    assert name == request.job_name("mme-train", group, digest(group))
    assert name != request.job_name("mme-train", group, digest(group, "other"))


def test_the_request(tmp_path: Path) -> None:
    """What is asked keeps SageMaker's rules, and the container reads what was meant from it."""
    recipe = Recipe(Parameters(max_depth=3, eta=0.05), 9, 2)
    asked = request.hyperparameters("city", "PRICE", recipe, skip_failed=True)
    made = request.request(FLEET, 2, asked, "s3://b/data/", "s3://b/work/")
    _, found = check(SAGEMAKER, "CreateTrainingJob", {"TrainingJobName": "j"} | made)
    assert found == []
    assert made["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 3600,
        "MaxWaitTimeInSeconds": 7200,
    }
    order = read_order(lay_out(tmp_path, {}, **asked) / "input" / "config")
    assert (order.by, order.target, order.skip_failed) == ("city", "PRICE", True)
    assert order.recipe == recipe


@pytest.mark.parametrize("url", ["b/models", "s3://b", "s3://b/", "s3:///x"])
def test_places(url: str) -> None:
    """A place is a prefix below a bucket, never a whole one."""
    with pytest.raises(CommandError, match="--output must be s3://BUCKET/PREFIX/"):
        Place.parse(url, "--output")
    assert Place.parse("s3://b/models", "--output").beside("-x").url == "s3://b/models-x/"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "s3://b/data/", "--one-job-a-model"], "--one-job-a-model takes a file"),
        (["FILE", "--data", "s3://b/data/"], "not both"),
        (["FILE", "--instances", "0"], "must be 1 or more"),
        ([], "missing: DATA or --data"),
        (["FILE", "--output", "s3://b"], "--output must be s3://BUCKET/PREFIX/"),
    ],
)
def test_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """A mistake in the command is one line and status 2, before AWS is asked for anything."""
    file = tmp_path / "h.csv"
    file.write_text("city,PRICE,A\nx,1,2\n")
    given = [str(file) if word == "FILE" else word for word in words]
    assert cli.main(["train", *WORDS, *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def refusal(code: str) -> ClientError:
    """An error as boto3 raises it."""
    return ClientError({"Error": {"Code": code, "Message": "any"}}, "any")


class Jobs:
    """A client of SageMaker with jobs that take some descriptions to end.

    Args:
        ends: the status that each job has in the end.
        steps: descriptions before that.
    """

    def __init__(self, ends: dict[str, str], steps: int = 2) -> None:
        self.ends, self.steps = ends, steps
        self.made: list[str] = []
        self.left: dict[str, int] = {}
        self.refusals: list[ClientError] = []

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803
        """Describe a job; the last time as it ended."""
        if self.refusals:
            raise self.refusals.pop(0)
        if TrainingJobName not in self.left:
            raise refusal("ValidationException")
        self.left[TrainingJobName] -= 1
        over = self.left[TrainingJobName] < 0
        status = self.ends[TrainingJobName] if over else "InProgress"
        return {"TrainingJobName": TrainingJobName, "TrainingJobStatus": status}

    def create_training_job(self, TrainingJobName: str, **_: Any) -> None:  # noqa: N803
        """Make a job."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.made.append(TrainingJobName)
        self.left[TrainingJobName] = self.steps


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.001)


def follower(jobs: Jobs) -> Follower:
    return Follower(jobs, threading.Event(), lambda _: None)


@pytest.mark.usefixtures("quick")
def test_a_job_is_made_once() -> None:
    """A job is made where there is none; whoever asks again finds it, running or completed."""
    jobs = Jobs({"j": "Completed"})
    assert follower(jobs).follow("j", {})["TrainingJobStatus"] == "Completed"
    assert follower(jobs).follow("j", {})["TrainingJobStatus"] == "Completed"
    assert jobs.made == ["j"]


@pytest.mark.usefixtures("quick")
def test_a_failed_job_is_made_again() -> None:
    """A job that failed is tried again under another name, once in each call."""
    jobs = Jobs({"j": "Failed", "j-2": "Stopped", "j-3": "Completed"}, steps=0)
    statuses = [follower(jobs).follow("j", {})["TrainingJobStatus"] for _ in range(4)]
    assert statuses == ["Failed", "Stopped", "Completed", "Completed"]
    assert jobs.made == ["j", "j-2", "j-3"]


@pytest.mark.usefixtures("quick")
def test_throttled() -> None:
    """Where AWS asks for slower, the same is asked again later; other errors are raised."""
    jobs = Jobs({"j": "Completed"})
    jobs.refusals = [refusal("ThrottlingException")] * 3
    assert follower(jobs).follow("j", {})["TrainingJobStatus"] == "Completed"
    jobs.refusals = [refusal("AccessDeniedException")]
    with pytest.raises(ClientError):
        follower(jobs).follow("j", {})


@pytest.mark.usefixtures("quick")
def test_a_limit_of_the_account() -> None:
    """While another job of ours runs, one beyond the account's limit waits; else it is an error."""
    jobs = Jobs({"a": "Completed", "b": "Completed"})
    both = follower(jobs)
    both._running = 1
    jobs.left, limit = {}, refusal("ResourceLimitExceeded")
    jobs.refusals = [refusal("ValidationException"), limit, limit]
    assert both.follow("a", {})["TrainingJobStatus"] == "Completed"
    jobs.refusals = [refusal("ValidationException"), limit]
    with pytest.raises(ClientError, match="ResourceLimitExceeded"):
        follower(jobs).follow("b", {})


@pytest.mark.usefixtures("quick")
def test_leaving() -> None:
    """Who leaves, leaves the job running."""
    jobs, leave = Jobs({"j": "Completed"}, steps=1000), threading.Event()
    leave.set()
    with pytest.raises(LeftError):
        Follower(jobs, leave, lambda _: None).follow("j", {})
    assert jobs.made == ["j"]


def test_rows_that_are_missing() -> None:
    """Packing nothing is the header alone."""
    assert gzip.decompress(Rows(("a", "b"), {}).packed([])) == b"a,b\n"
