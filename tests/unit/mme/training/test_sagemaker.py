"""Training on SageMaker, as far as it is plain data; and who follows a job to its end."""

import argparse
import dataclasses
import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mme import cli
from mme.errors import CommandError
from mme.local.control.validation import SAGEMAKER, check
from mme.training import follow, request, split
from mme.training.bucket import Place
from mme.training.fit import Parameters, Recipe
from mme.training.follow import Follower, LeftError
from mme.training.one_job import failures
from mme.training.order import read_order
from mme.training.progress import Progress
from mme.training.split import Parts, Survey, dealt, digest, survey
from mme.training.work import Result, Work, end
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


def rows(group: str, number: int = 10) -> str:
    """Lines of a group that can be trained."""
    return "".join(f"{group},{one},0.10\n" for one in range(number))


def surveyed(tmp_path: Path, text: str) -> Survey:
    """What is in a file of this text."""
    (tmp_path / "h.csv").write_text(text)
    return survey(tmp_path / "h.csv", "city", "PRICE")


def test_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts have the rows as they are, however often they were written to; gzip, too."""
    text = "city,PRICE,A\n" + rows("007") + rows('"a,b"') + rows("b") + rows("007", 3)
    found = surveyed(tmp_path, text)
    assert found.sizes == {"007": 13, "a,b": 10, "b": 10}
    monkeypatch.setattr(split, "_BUFFER_CHARACTERS", 50)
    with gzip.open(tmp_path / "h.csv.gz", "wt") as packed:
        packed.write(text)
    again = survey(tmp_path / "h.csv.gz", "city", "PRICE")
    assert (again.digest, again.digests) == (found.digest, found.digests)
    for number, one in enumerate((found, again)):
        folder = tmp_path / str(number)
        folder.mkdir()
        parts = Parts(one, [["007"], ["a,b", "b"]], folder)
        expected = "city,PRICE,A\n" + rows("007") + rows("007", 3)
        assert gzip.decompress(parts.file("007").read_bytes()).decode() == expected
        expected = "city,PRICE,A\n" + rows('"a,b"') + rows("b")
        assert gzip.decompress(parts.file("b").read_bytes()).decode() == expected
        assert len(parts.files()) == 2


def test_a_file_that_changes(tmp_path: Path) -> None:
    """A file that is another one by now is not trained under the first one's name."""
    found = surveyed(tmp_path, "city,PRICE,A\n" + rows("x"))
    (tmp_path / "h.csv").write_text("city,PRICE,A\n" + rows("x", 12))
    with pytest.raises(CommandError, match="has changed while it was read"):
        Parts(found, [["x"]], tmp_path).files()


def test_seen_before_it_is_paid_for(tmp_path: Path) -> None:
    """Groups that cannot be trained are known before any job, with the user's line."""
    bad = rows("text", 3) + "text,1,two\n" + rows("text")
    bad += rows("hole") + "hole,,2\n" + rows("few", 9) + rows(".x") + rows("")
    found = surveyed(tmp_path, "city,PRICE,A\n" + rows("good") + bad)
    assert found.sizes == {"good": 10}
    name = tmp_path / "h.csv"
    assert found.failed == {
        "text": f"{name}, line 15: A is 'two', no number",
        "hole": f"{name}, line 36: PRICE is missing or infinite",
        "few": "9 rows; a model needs 10 at least",
        ".x": "the group's name cannot be a file's name",
        "": "the group has no name",
    }
    with pytest.raises(CommandError, match=r"no group of .* can be trained; 'few': 9 rows"):
        surveyed(tmp_path, "city,PRICE,A\n" + rows("few", 9))


def test_tables() -> None:
    """Hosts must have seen the same columns in one order, and each group once."""
    one = {"model": "a", "failed": "", "features": "1"}
    bad = {"model": "b", "failed": "3 rows", "features": "1"}
    assert failures([one, bad]) == {"b": "3 rows"}
    with pytest.raises(CommandError, match="must have the same header"):
        failures([one, bad | {"features": "2"}])
    with pytest.raises(CommandError, match="each object must hold whole groups"):
        failures([one, one])


class Older:
    """A bucket with some archives."""

    def archives(self, _: Place) -> dict[str, None]:
        """By name."""
        return {"a.tar.gz": None, "old.tar.gz": None}


@pytest.mark.parametrize(
    ("archives", "failed", "asked", "status", "message"),
    [
        ({"a.tar.gz"}, {}, 1, 0, ""),
        ({"a.tar.gz"}, {"b": "why"}, 2, 1, "'b' failed: why"),
        ({"a.tar.gz"}, {"b": "why"}, 3, 1, "1 of 3 models are neither there nor have they failed"),
        (set(), {}, None, 1, "no model is there, and none has failed"),
    ],
)
def test_the_end(  # a table
    capsys: pytest.CaptureFixture[str],
    archives: set[str],
    failed: dict[str, str],
    asked: int | None,
    status: int,
    message: str,
) -> None:
    """It is not well unless all models that were asked for are there; older ones are counted."""
    bucket: Any = Older()
    output = Place.parse("s3://b/models/", "any")
    result = Result(archives, 1, failed, "the logs")
    assert end(result, asked, bucket, output, Progress(asked)) == status
    said = capsys.readouterr()
    assert f"{2 - len(archives)} older archives remain there" in said.out
    assert message in said.err
    assert bool(said.err) == bool(status)


def test_jobs_of_another_output() -> None:
    """Where the archives go is a part of what jobs are called after."""
    args = argparse.Namespace(by="city", target="PRICE")
    places = [Place.parse(f"s3://b/{name}/", "any") for name in ("one", "two", "one")]
    one, two, again = (Work(args, Recipe(), FLEET, place, place).digest("x") for place in places)
    assert one == again != two


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


def test_what_an_account_asks_for() -> None:
    """A VPC, a key and tags are asked for as SageMaker takes them, where they are given."""
    around: dict[str, Any] = {
        "subnets": ["subnet-1"],
        "security_groups": ["sg-1"],
        "kms_key": "alias/k",
        "tags": {"team": "x"},
    }
    fleet = dataclasses.replace(FLEET, **around)
    made = request.request(fleet, 1, {}, "s3://b/data/", "s3://b/work/")
    _, found = check(SAGEMAKER, "CreateTrainingJob", {"TrainingJobName": "j"} | made)
    assert found == []
    assert made["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert made["OutputDataConfig"]["KmsKeyId"] == "alias/k"
    assert made["ResourceConfig"]["VolumeKmsKeyId"] == "alias/k"
    assert made["Tags"] == [{"Key": "team", "Value": "x"}]
    bare = request.request(FLEET, 1, {}, "s3://b/data/", "s3://b/work/")
    assert made.keys() - bare.keys() == {"VpcConfig", "Tags"}


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
        (["FILE", "--subnets", "subnet-1"], "--subnets and --security-groups go together"),
        ([], "missing: DATA or --data"),
        (["FILE", "--output", "s3://b"], "--output must be s3://BUCKET/PREFIX/"),
        (["FILE"], "no group of FILE can be trained; 'x': 1 rows; a model needs 10 at least"),
        (["GOOD", "--instances", "2"], "--instances is 2, and there are 1 groups that can be"),
    ],
)
def test_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """A mistake in the command is one line and status 2, before AWS is asked for anything."""
    file = tmp_path / "h.csv"
    file.write_text("city,PRICE,A\nx,1,2\n")
    good = tmp_path / "good.csv"
    good.write_text("city,PRICE,A\n" + rows("x"))
    given = [{"FILE": str(file), "GOOD": str(good)}.get(word, word) for word in words]
    assert cli.main(["train", *WORDS, *given]) == 2
    error = capsys.readouterr().err
    assert message.replace("FILE", str(file)) in error
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

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803  # boto3's name
        """Describe a job; the last time as it ended."""
        if self.refusals:
            raise self.refusals.pop(0)
        if TrainingJobName not in self.left:
            raise refusal("ValidationException")
        self.left[TrainingJobName] -= 1
        over = self.left[TrainingJobName] < 0
        status = self.ends[TrainingJobName] if over else "InProgress"
        return {"TrainingJobName": TrainingJobName, "TrainingJobStatus": status}

    def create_training_job(self, TrainingJobName: str, **_: Any) -> None:  # noqa: N803  # boto3's name
        """Make a job."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.made.append(TrainingJobName)
        self.left[TrainingJobName] = self.steps


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.001)


def follower(jobs: Any, waiting: list[int] | None = None) -> Follower:
    """One that finds the results of all jobs, and keeps how many wait."""
    told = [] if waiting is None else waiting
    return Follower(jobs, threading.Event(), lambda _: None, lambda _: True, told.append)


def status(one: Follower, name: str) -> str:
    """Follow a job to its end; its status."""
    return str(one.follow(name, dict)["TrainingJobStatus"])


@pytest.mark.usefixtures("quick")
def test_a_job_is_made_once() -> None:
    """A job is made where there is none; whoever asks again finds it, running or completed."""
    jobs = Jobs({"j": "Completed"})
    assert status(follower(jobs), "j") == "Completed"
    assert status(follower(jobs), "j") == "Completed"
    assert jobs.made == ["j"]


@pytest.mark.usefixtures("quick")
def test_a_failed_job_is_made_again() -> None:
    """A job that failed is tried again under another name, once in each call."""
    jobs = Jobs({"j": "Failed", "j-2": "Stopped", "j-3": "Completed"}, steps=0)
    statuses = [status(follower(jobs), "j") for _ in range(4)]
    assert statuses == ["Failed", "Stopped", "Completed", "Completed"]
    assert jobs.made == ["j", "j-2", "j-3"]


@pytest.mark.usefixtures("quick")
def test_a_job_without_results_is_made_again() -> None:
    """A job whose results somebody has deleted is none; one that was made now may be without."""
    jobs = Jobs({"j": "Completed", "j-2": "Completed"}, steps=0)
    forgetful = Follower(
        *(jobs, threading.Event(), lambda _: None),
        lambda found: found["TrainingJobName"] == "j-2",
        lambda _: None,
    )
    assert [forgetful.follow("j", dict)["TrainingJobName"] for _ in range(3)] == ["j", "j-2", "j-2"]
    assert jobs.made == ["j", "j-2"]


@pytest.mark.usefixtures("quick")
def test_throttled() -> None:
    """Where AWS asks for slower, the same is asked again later; other errors are raised."""
    jobs = Jobs({"j": "Completed"})
    jobs.refusals = [refusal("ThrottlingException")] * 3
    assert status(follower(jobs), "j") == "Completed"
    jobs.refusals = [refusal("AccessDeniedException")]
    with pytest.raises(ClientError):
        status(follower(jobs), "j")


class Limited(Jobs):
    """A client of an account with a quota of jobs at once."""

    def __init__(self, quota: int) -> None:
        super().__init__({f"j{number}": "Completed" for number in range(6)})
        self.quota, self.lock = quota, threading.Lock()

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:  # noqa: N803  # boto3's name
        """Describe a job."""
        with self.lock:
            return super().describe_training_job(TrainingJobName)

    def create_training_job(self, TrainingJobName: str, **_: Any) -> None:  # noqa: N803  # boto3's name
        """Make a job, if it is within the quota."""
        with self.lock:
            if sum(left >= 0 for left in self.left.values()) >= self.quota:
                raise refusal("ResourceLimitExceeded")
            super().create_training_job(TrainingJobName)


@pytest.mark.usefixtures("quick")
def test_a_limit_of_the_account() -> None:
    """Jobs beyond the quota wait for ours, also those asked for at once, and say how many do."""
    jobs, told = Limited(quota=1), list[int]()
    one = follower(jobs, told)
    with ThreadPoolExecutor(6) as threads:
        ended = list(threads.map(lambda number: status(one, f"j{number}"), range(6)))
    assert ended == ["Completed"] * 6
    assert sorted(jobs.made) == sorted(jobs.ends)
    assert max(told) >= 1
    assert told[-1] == 0
    assert status(follower(Limited(quota=1)), "j1") == "Completed"


@pytest.mark.usefixtures("quick")
def test_no_quota_for_us() -> None:
    """Where no job of ours has ever run, the limit is an error for all, not a wait without end."""
    one = follower(Limited(quota=0))
    with ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(status, one, f"j{number}") for number in range(6)]
        assert all(isinstance(future.exception(10), ClientError) for future in futures)


@pytest.mark.usefixtures("quick")
def test_leaving() -> None:
    """Who leaves, leaves the job running."""
    jobs, leave = Jobs({"j": "Completed"}, steps=1000), threading.Event()
    leave.set()
    with pytest.raises(LeftError):
        Follower(jobs, leave, lambda _: None, lambda _: True, lambda _: None).follow("j", dict)
    assert jobs.made == ["j"]
