"""Training jobs for real: the container's command in processes, with S3, signals and logs."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
import xgboost
from botocore.exceptions import ClientError

from mme import cli
from mme.houses import make_houses
from mme.train import Trained, train_groups
from tests.local.conftest import Start
from tests.local.faulty import Faulty, Request
from tests.local.support import ROLE, SECONDS, Local
from tests.support import alive, wait_until

CITIES = ("Chicago_IL", "Houston_TX")
FEW = 3
REASON = f"{FEW} rows; a model needs 10 at least"
ENDLESS = "Check failed: valid: Input data contains `inf` or a value too large"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:latest"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bucket(local: Local, name: str) -> str:
    """A bucket of the test's own."""
    local.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def run(
    local: Local,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run ``mme train … --on sagemaker`` as a user does; its status and what it said."""
    for variable, value in local.environ.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(
            [
                *("train", "--on", "sagemaker", "--by", "city", "--target", "PRICE"),
                *("--output", f"s3://{bucket}/models/", "--role", ROLE, "--image", IMAGE),
                *("--name", bucket[:20], *words),
            ]
        )
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def frame() -> pd.DataFrame:
    """The houses of three cities, one of a name like a table's."""
    return make_houses((*CITIES, "metrics-x"), houses=40)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Those, a city with too few, and one that only training finds to be wrong."""
    few, endless = make_houses(("Few_TX",), FEW), make_houses(("Inf_TX",), 40)
    pd.concat([frame(), few, endless.assign(LOT_ACRES=np.inf)]).to_csv(
        tmp_path / "houses.csv", index=False
    )
    return tmp_path / "houses.csv"


def keys(local: Local, bucket: str, prefix: str) -> list[str]:
    """What the keys below a prefix end with."""
    found = local.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [one["Key"].removeprefix(prefix) for one in found.get("Contents", [])]


def jobs(local: Local, prefix: str) -> list[dict[str, Any]]:
    """The descriptions of the jobs whose names begin so; each waits a while for the job's end."""
    describe = local.client("sagemaker").describe_training_job
    names = [one["TrainingJobName"] for one in summaries(local, prefix)]
    return [describe(TrainingJobName=one) for one in names]


def summaries(local: Local, prefix: str) -> list[Any]:
    """The jobs whose names begin so, as they are listed."""
    sagemaker = local.client("sagemaker")
    found = sagemaker.list_training_jobs(NameContains=prefix, MaxResults=100)
    return [*found["TrainingJobSummaries"]]


def test_all_in_one_job(local: Local, run: Run, bucket: str, data: Path) -> None:
    """One job on two hosts: an archive a group in the prefix, an endpoint over it, and no more.

    Again it is found; where its results were deleted, or are to go elsewhere, it is made anew.
    """
    status, out, err = run(str(data), "--instances", "2")
    assert status == 1
    few, endless = err.splitlines()
    assert few == f"mme train: 'Few_TX' failed: {REASON}"
    assert endless.startswith(f"mme train: 'Inf_TX' failed: {ENDLESS}")
    assert out.endswith(f"3 models at s3://{bucket}/models/, 3 of them new, 2 failed\n")
    expected = {
        f"{one.name}.tar.gz": one.archive
        for one in train_groups(frame(), "city", "PRICE", jobs=1)
        if isinstance(one, Trained)
    }
    assert keys(local, bucket, "models/") == sorted(expected)
    for target, archive in expected.items():
        stored = local.client("s3").get_object(Bucket=bucket, Key=f"models/{target}")
        assert stored["Body"].read() == archive
    (job,) = jobs(local, bucket[:20])
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    states = [one["Status"] for one in job["SecondaryStatusTransitions"]]
    assert states == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    metrics = {one["MetricName"]: one["Value"] for one in job["FinalMetricDataList"]}
    assert metrics.keys() == {"models", "failed", "rmse_median"}
    logs = local.client("logs")
    group = "/aws/sagemaker/TrainingJobs"
    streams = logs.describe_log_streams(
        logGroupName=group, logStreamNamePrefix=f"{job['TrainingJobName']}/algo-"
    )["logStreams"]
    assert len(streams) == 2
    lines = [
        event["message"]
        for one in streams
        for event in logs.get_log_events(logGroupName=group, logStreamName=one["logStreamName"])[
            "events"
        ]
    ]
    assert endless in lines

    s3 = local.client("s3")
    s3.put_object(Bucket=bucket, Key="models/Old.tar.gz", Body=b"older")
    status, out, _ = run(str(data), "--instances", "2")
    assert (status, "0 of them new, 2 failed; 1 older archives remain there" in out) == (1, True)
    assert len(jobs(local, bucket[:20])) == 1
    for key in ("models/Old.tar.gz", f"models/{CITIES[0]}.tar.gz"):
        s3.delete_object(Bucket=bucket, Key=key)
    for key in keys(local, bucket, "models-training/"):
        s3.delete_object(Bucket=bucket, Key=f"models-training/{key}")
    status, out, _ = run(str(data), "--instances", "2")
    assert (status, "3 models" in out, "1 of them new, 2 failed" in out) == (1, True, True)
    elsewhere = f"s3://{bucket}/other/"
    status, out, _ = run(str(data), "--output", elsewhere, "--rounds", "25")
    assert (status, f"3 models at {elsewhere}, 3 of them new" in out) == (1, True)
    names = [one["TrainingJobName"] for one in jobs(local, bucket[:20])]
    assert [name.removeprefix(names[0]) for name in names[:2]] == ["", "-2"]
    assert not names[2].startswith(names[0])

    local.create(bucket, f"{bucket}/models")
    houses = frame()
    row = houses[houses.city == CITIES[1]].drop(columns=["city", "PRICE"]).iloc[:1]
    line = ",".join(map(str, row.to_numpy()[0])).encode()
    with tarfile.open(fileobj=io.BytesIO(expected["Houston_TX.tar.gz"])) as tape:
        member = tape.extractfile("xgboost-model")
        assert member is not None
        booster = xgboost.Booster(model_file=bytearray(member.read()))
    (price,) = booster.inplace_predict(row.to_numpy(np.float32), validate_features=False)
    assert local.invoke(bucket, "Houston_TX.tar.gz", line) == [pytest.approx(float(price))]
    local.delete(bucket)


def test_interrupted(local: Local, bucket: str, tmp_path: Path) -> None:
    """Ctrl-C leaves the job running, and says so; the same command goes on with that very job."""
    make_houses([f"g{number:03}" for number in range(30)], houses=30).to_csv(
        tmp_path / "h.csv", index=False
    )
    words = [
        *(sys.executable, "-m", "mme", "train", str(tmp_path / "h.csv"), "--on", "sagemaker"),
        *("--by", "city", "--target", "PRICE", "--output", f"s3://{bucket}/models/"),
        # So many rounds that it has not ended before it is interrupted.
        *("--role", ROLE, "--image", IMAGE, "--name", bucket, "--rounds", "300"),
    ]
    environ = os.environ | local.environ
    process = subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: keys(local, bucket, f"models-training/{bucket}-"), SECONDS, "its data")
    wait_until(lambda: summaries(local, bucket), SECONDS, "its job")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert said == "mme train: jobs go on; the same command again goes on with them\n"
    again = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    assert len(keys(local, bucket, "models/")) == 30
    assert len(jobs(local, bucket)) == 1


def test_one_job_a_model(local: Local, run: Run, bucket: str, data: Path) -> None:
    """One job a model, two at once: what failed is named, what is there is not trained again."""
    status, out, err = run(
        *(str(data), "--one-job-a-model", "--concurrency", "2", "--spot"),
        *("--subnets", "subnet-1", "--security-groups", "sg-1", "--tags", "team=x"),
    )
    assert status == 1
    assert "3 models" in out
    few, endless = err.splitlines()
    assert few == f"mme train: 'Few_TX' failed: {REASON}"
    job = f"training job {bucket[:20]}-Inf-TX-"
    assert endless.startswith(f"mme train: 'Inf_TX' failed: {job}")
    assert f"Failed: AlgorithmError: 1 of 1 groups failed: 'Inf_TX': {ENDLESS}" in endless
    archives = sorted(f"{city}.tar.gz" for city in (*CITIES, "metrics-x"))
    assert keys(local, bucket, "models/") == archives
    found = jobs(local, bucket[:20])
    assert len(found) == 4
    assert all(one["EnableManagedSpotTraining"] for one in found)
    for one in found:
        at_once = [
            other
            for other in found
            if other["CreationTime"] <= one["CreationTime"] < other["TrainingEndTime"]
        ]
        assert len(at_once) <= 2
    local.client("s3").delete_object(Bucket=bucket, Key=f"models/{CITIES[0]}.tar.gz")
    status, out, _ = run(str(data), "--one-job-a-model", "--concurrency", "2", "--spot")
    assert (status, "3 models" in out, "1 of them new" in out) == (1, True, True)
    assert len(jobs(local, bucket[:20])) == 5  # the one that failed was tried once more


def test_data_that_is_there(
    local: Local, run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix of files is trained as it is; a group in files of two hosts is an error.

    Where a permission is missing, one line says which, and the job is not made again afterwards.
    """
    houses = make_houses(CITIES, houses=20)
    s3 = local.client("s3")
    for number, (_, group) in enumerate(houses.groupby("city")):
        body = group.to_csv(index=False).encode()
        s3.put_object(Bucket=bucket, Key=f"data/{number}.csv", Body=body)
    words = ("--data", f"s3://{bucket}/data/", "--instances", "2", "--rounds", "3")
    with Faulty(local.url) as faulty:
        monkeypatch.setenv("AWS_ENDPOINT_URL", faulty.url)

        def copies(request: Request) -> bool:
            return request.method == "PUT" and "/models/" in request.path

        faulty.fail(copies, 403, "AccessDenied", "Access Denied")
        status, out, err = run(*words)
        assert (status, out) == (1, "")
        assert err.startswith("mme train: Access Denied: whoever calls needs the permission ")
        assert err.count("\n") == 1
        assert keys(local, bucket, "models/") == []
        faulty.mend()
        throttled = faulty.fail("DescribeTrainingJob", 400, "ThrottlingException", times=2)
        status, out, _ = run(*words)
        assert (status, "2 models" in out) == (0, True)
        assert throttled.hits == 2
        assert faulty.operations("sagemaker").count("CreateTrainingJob") == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", local.url)
    s3.put_object(Bucket=bucket, Key="data/2.csv", Body=houses.to_csv(index=False).encode())
    status, _, err = run(*words)
    assert status == 1
    assert "in objects of two instances: each object must hold whole groups" in err


def request(bucket: str, job: str, **changes: Any) -> dict[str, Any]:
    """A request for a job over a bucket's ``data/``."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/"}
    return {
        "TrainingJobName": job,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"by": "city", "target": "PRICE", "rounds": "300"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 5,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/checkpoints/"},
        **changes,
    }


def ended(local: Local, job: str) -> dict[str, Any]:
    """A job's description, when it has ended: each Describe waits for that for some seconds."""
    sagemaker = local.client("sagemaker")

    def over() -> dict[str, Any] | None:
        found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=job)
        return None if found["TrainingJobStatus"] in ("InProgress", "Stopping") else found

    found: dict[str, Any] = wait_until(over, SECONDS, f"the end of {job}")
    return found


def long_data(local: Local, bucket: str) -> None:
    """Data that takes some seconds."""
    frame = make_houses([f"g{number:03}" for number in range(60)], houses=30)
    body = frame.to_csv(index=False).encode()
    local.client("s3").put_object(Bucket=bucket, Key="data/h.csv", Body=body)


def test_stopped_and_gone_on(local: Local, bucket: str) -> None:
    """A stopped job leaves its checkpoints in S3, and another one trains only the rest."""
    sagemaker, s3 = local.client("sagemaker"), local.client("s3")
    long_data(local, bucket)
    sagemaker.create_training_job(**request(bucket, f"{bucket}-a"))
    wait_until(lambda: len(keys(local, bucket, "checkpoints/")) > 20, SECONDS, "checkpoints")
    sagemaker.stop_training_job(TrainingJobName=f"{bucket}-a")
    stopped = ended(local, f"{bucket}-a")
    assert (stopped["TrainingJobStatus"], stopped["SecondaryStatus"]) == ("Stopped", "Stopped")
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_training_job(TrainingJobName=f"{bucket}-a")
    kept = s3.list_objects_v2(Bucket=bucket, Prefix="checkpoints/")["Contents"]
    before = {one["Key"]: one["ETag"] for one in kept if one["Key"].endswith(".json")}
    assert 10 <= len(before) < 60
    rest = {"rounds": "300", "by": "city", "target": "PRICE"}
    sagemaker.create_training_job(**request(bucket, f"{bucket}-b", HyperParameters=rest))
    done = ended(local, f"{bucket}-b")
    assert done["TrainingJobStatus"] == "Completed"
    # The seconds that a training took are in there, so one that was made anew is not the same.
    after = {key: s3.head_object(Bucket=bucket, Key=key)["ETag"] for key in before}
    assert after == before
    packed = s3.get_object(Bucket=bucket, Key=f"out/{bucket}-b/output/model.tar.gz")["Body"].read()
    assert done["ModelArtifacts"]["S3ModelArtifacts"].endswith(
        f"out/{bucket}-b/output/model.tar.gz"
    )
    with tarfile.open(fileobj=io.BytesIO(packed)) as tape:
        names = set(tape.getnames())
    assert names == {f"g{number:03}.tar.gz" for number in range(60)} | {"metrics-algo-1.csv"}


def test_too_long(local: Local, bucket: str) -> None:
    """A job that runs longer than it may is stopped, and what it has is kept."""
    long_data(local, bucket)
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(
        **request(bucket, bucket, StoppingCondition={"MaxRuntimeInSeconds": 1})
    )
    found = ended(local, bucket)
    assert found["TrainingJobStatus"] == "Stopped"
    assert found["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert keys(local, bucket, "out/")


def test_reasons(local: Local, bucket: str) -> None:
    """A job that cannot be done fails, and says why: no data, no such column, no bucket."""
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(**request(bucket, f"{bucket}-a"))
    found = ended(local, f"{bucket}-a")
    assert "No S3 objects found under S3 URL" in found["FailureReason"]
    frame = make_houses(CITIES[:1], houses=20)
    body = frame.to_csv(index=False).encode()
    local.client("s3").put_object(Bucket=bucket, Key="data/h.csv", Body=body)
    wrong = {"by": "town", "target": "PRICE"}
    sagemaker.create_training_job(**request(bucket, f"{bucket}-b", HyperParameters=wrong))
    found = ended(local, f"{bucket}-b")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("AlgorithmError: h.csv has no column town; it has ")
    assert found["FailureReason"].endswith(", exit code: 1")
    nowhere = {"S3OutputPath": "s3://none-of-ours/out"}
    sagemaker.create_training_job(**request(bucket, f"{bucket}-c", OutputDataConfig=nowhere))
    found = ended(local, f"{bucket}-c")
    assert "the bucket of s3://none-of-ours/out does not exist" in found["FailureReason"]
    with pytest.raises(ClientError, match="Cannot create already existing training job"):
        sagemaker.create_training_job(**request(bucket, f"{bucket}-c"))
    with pytest.raises(ClientError, match="MaxWaitTimeInSeconds"):
        sagemaker.create_training_job(
            **request(bucket, f"{bucket}-d", EnableManagedSpotTraining=True)
        )


def test_killed(start_local: Start, tmp_path: Path) -> None:
    """A job that runs when ``mme local`` is killed has failed when it is there again."""
    local = start_local(state=tmp_path / "state")
    local.client("s3").create_bucket(Bucket="killed")
    long_data(local, "killed")
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(**request("killed", "killed"))
    wait_until(lambda: keys(local, "killed", "checkpoints/"), SECONDS, "checkpoints")
    root = tmp_path / "state" / "training" / "killed" / "algo-1"
    assert json.loads((root / "input" / "config" / "resourceconfig.json").read_text())["hosts"]
    pid = int(root.with_name("algo-1.pid").read_text())
    os.kill(pid, signal.SIGSTOP)  # so that it cannot end by itself, as it would soon
    assert str(root).encode() in Path(f"/proc/{pid}/environ").read_bytes()
    local.stop(signal.SIGKILL)
    again = start_local(state=tmp_path / "state")
    assert not alive([pid])
    found = ended(again, "killed")
    assert found["TrainingJobStatus"] == "Failed"
    assert "mme local was killed while the job ran" in found["FailureReason"]
    assert not (tmp_path / "state" / "training").exists()
