"""The parts of a deployment against the local endpoint: models, smoke, status and logs."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest

from mme import artifacts, aws, cli
from mme.aws import Aws
from mme.deploy import archives, smoke
from mme.deploy.compare import difference
from mme.deploy.names import TAG
from mme.errors import CommandError
from tests.local.faulty import Faulty, Request
from tests.local.support import MODEL_FILE, SECONDS, Local
from tests.support import wait_until

NAME = "deploy-parts"
TAGS = {TAG: NAME, "team": "houses + homes"}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def endpoint(local: Local, model: bytes) -> Iterator[str]:
    """One that the tests share, over a bucket with one good model and one that is none."""
    local.client("s3").create_bucket(Bucket=NAME)
    bad = {f"p/{name}.tar.gz": data for name, data in {"z-bad": b"{}", "houston": model}.items()}
    local.bucket(NAME, bad)
    local.create(NAME, f"{NAME}/p")
    yield NAME
    local.delete(NAME)


@pytest.fixture
def account(local: Local, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """The local endpoint as a session finds it."""
    for name, value in local.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws, "ATTEMPTS", 3)
    return Aws()


@pytest.fixture
def faulty(local: Local, account: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A proxy before it."""
    del account
    with Faulty(local.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def bucket(local: Local, name: str) -> str:
    """A bucket of the test's own."""
    local.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def mme(
    account: Aws,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs a command beside an ``mme.toml``: its status, and what it printed on both ways."""
    del account
    monkeypatch.chdir(tmp_path)
    write_toml(tmp_path, NAME)

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def write_toml(folder: Path, name: str) -> None:
    (folder / "mme.toml").write_text(
        f'name = "{name}"\nmodels = "s3://{name}/p/"\n'
        'instance_type = "ml.m5.large"\ninstance_count = 1\n'
    )


def fill(folder: Path, **sizes: int) -> Path:
    """A folder of archives of so many bytes, which begin as gzip does."""
    for name, size in sizes.items():
        path = folder / f"{name.replace('__', '/')}.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(size).bytes(size)
        path.write_bytes(b"\x1f\x8b" + noise[2:])
    return folder


# Archives


def test_upload(account: Aws, bucket: str, tmp_path: Path, local: Local) -> None:
    """What was uploaded is the same then, in parts or not; what has changed is changed."""
    part = archives.PART_BYTES
    here = archives.local(
        fill(tmp_path, a=100, deep__er__b=5000, whole=part, parts=part + 1, more=2 * part + 9)
    )
    assert difference(account, bucket, "p/", here, {}).new == here
    archives.upload(account, bucket, "p/", here, TAGS)
    there = archives.remote(account, bucket, "p/")
    assert set(there) == {one.key for one in here}
    assert "deep/er/b.tar.gz" in there
    assert [there[f"{name}.tar.gz"].etag[32:] for name in ("a", "whole", "parts", "more")] == [
        *("", "", "-2", "-3")
    ]
    assert difference(account, bucket, "p/", here, there) == ([], [], here)
    for key in ("a.tar.gz", "more.tar.gz"):
        tags = local.client("s3").get_object_tagging(Bucket=bucket, Key=f"p/{key}")["TagSet"]
        assert {one["Key"]: one["Value"] for one in tags} == TAGS
    changed = tmp_path / "more.tar.gz"
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    os.utime(changed, (0, 0))  # older than the object: its time says nothing
    found = difference(account, bucket, "p/", archives.local(tmp_path), there)
    assert [one.key for one in found.changed] == ["more.tar.gz"]
    assert len(found.same) == len(here) - 1
    archives.upload(account, bucket, "p/", found.changed, TAGS)
    there = archives.remote(account, bucket, "p/")
    assert not difference(account, bucket, "p/", archives.local(tmp_path), there).changed


def test_upload_throttled(faulty: Faulty, bucket: str, tmp_path: Path) -> None:
    """S3 that asks for slower is asked again, and all arrives."""
    slow = faulty.fail("PutObject", 503, "SlowDown", "Please reduce your request rate.", times=2)
    here = archives.local(fill(tmp_path, a=100, b=200, c=300))
    archives.upload(Aws(), bucket, "", here, TAGS)
    assert slow.hits == 2
    assert set(archives.remote(Aws(), bucket, "")) == {one.key for one in here}


def test_upload_continues(faulty: Faulty, bucket: str, tmp_path: Path) -> None:
    """One that is refused keeps no other back, is named, and is all that is uploaded then."""
    here = archives.local(
        fill(tmp_path, a=100, bad=200, c=300, large=archives.PART_BYTES + 1, d=400)
    )
    what = f"User: me is not authorized to perform: s3:PutObject on resource: {bucket}/bad"

    def bad(request: Request) -> bool:
        return request.operation == "PutObject" and "/bad.tar.gz" in request.path

    faulty.fail(bad, 403, "AccessDenied", what)
    faulty.fail("UploadPart", 403, "AccessDenied", "no parts")
    with pytest.raises(CommandError) as error:
        archives.upload(Aws(), bucket, "", here, TAGS)
    message = str(error.value)
    assert message.startswith("2 of 5 archives could not be uploaded")
    assert "The first is bad.tar.gz" in message
    assert message.endswith("needs the permission s3:PutObject")
    assert "\n" not in message
    there = archives.remote(Aws(), bucket, "")
    assert set(there) == {"a.tar.gz", "c.tar.gz", "d.tar.gz"}
    assert "AbortMultipartUpload" in faulty.operations("s3")  # no parts are left to be paid for
    faulty.mend()
    rest = difference(Aws(), bucket, "", here, there).new
    assert [one.key for one in rest] == ["bad.tar.gz", "large.tar.gz"]
    archives.upload(Aws(), bucket, "", rest, TAGS)
    there = archives.remote(Aws(), bucket, "")
    assert difference(Aws(), bucket, "", here, there).same == here


def test_upload_encrypted(faulty: Faulty, bucket: str, tmp_path: Path, local: Local) -> None:
    """A key is named for each object, in parts or not, and what is noted tells what has changed.

    ETags are as S3 gives them for KMS, of nothing: the local S3's are of the content.
    """
    key = "arn:aws:kms:us-east-1:123456789012:key/1234"
    account = Aws()
    here = archives.local(fill(tmp_path, a=100, parts=archives.PART_BYTES + 1))
    archives.upload(account, bucket, "p/", here, TAGS, key)
    for one in here:
        head = local.client("s3").head_object(Bucket=bucket, Key=f"p/{one.key}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)
    (local.state / "s3" / bucket / "p" / "dropped.tar.gz").write_bytes(b"\x1f\x8b")
    there = archives.remote(account, bucket, "p/")
    there = {key: one._replace(etag="0" * 32) for key, one in there.items()}
    for file in tmp_path.iterdir():
        os.utime(file)  # as a fresh checkout is: newer than the objects
    assert difference(account, bucket, "p/", archives.local(tmp_path), there) == ([], [], here)
    fill(tmp_path, dropped=2)
    changed = tmp_path / "a.tar.gz"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\0")
    os.utime(changed, (0, 0))
    found = difference(account, bucket, "p/", archives.local(tmp_path), there)
    assert [one.key for one in found.changed] == ["a.tar.gz", "dropped.tar.gz"]
    faulty.fail("HeadObject", 403, "", times=1)
    with pytest.raises(CommandError, match=r"has changed: .* needs the permission s3:GetObject"):
        difference(account, bucket, "p/", archives.local(tmp_path), there)


def test_remove(
    faulty: Faulty,
    bucket: str,
    tmp_path: Path,
    local: Local,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only what carries the endpoint's tag, below the prefix, goes; the rest is counted."""
    here = archives.local(fill(tmp_path, a=100, b=200, deep__c=300))
    account = Aws()
    archives.upload(account, bucket, "p/", here, TAGS)
    archives.upload(account, bucket, "p/", here[:1], {TAG: "another"})
    archives.upload(account, bucket, "other/", here, TAGS)
    (local.state / "s3" / bucket / "p" / "dropped.tar.gz").write_bytes(b"\x1f\x8b")
    faulty.fail("GetObjectTagging", 403, "AccessDenied", "no tags", times=1)
    with pytest.raises(CommandError, match="nobody can say whose s3://") as error:
        archives.remove(account, bucket, "p/", NAME)
    assert "s3:" in str(error.value) or "GetObjectTagging" in str(error.value)
    assert len(archives.remote(account, bucket, "p/")) == 4
    capsys.readouterr()
    assert archives.remove(account, bucket, "p/", NAME) == (2, 2)
    assert capsys.readouterr().out.startswith("  4 of 4 objects looked at, ")
    assert set(archives.remote(account, bucket, "p/")) == {"a.tar.gz", "dropped.tar.gz"}
    assert len(archives.remote(account, bucket, "other/")) == 3


def test_delete_many(faulty: Faulty, bucket: str) -> None:
    """A thousand go in a call; one that is gone already is gone."""
    assert archives.delete(Aws(), bucket, [f"{number}" for number in range(1001)]) == 1001
    assert faulty.operations("s3") == ["DeleteObjects", "DeleteObjects"]


def test_no_bucket(account: Aws) -> None:
    """A bucket that is not there is one line, or empty for who takes things away."""
    gone = "no-such-bucket-here"
    with pytest.raises(CommandError, match=f"^bucket {gone} does not exist: make it, or"):
        archives.remote(account, gone, "")
    assert archives.remote(account, gone, "", absent_is_empty=True) == {}
    assert archives.remove(account, gone, "", NAME) == (0, 0)


def test_bucket_denied(faulty: Faulty, bucket: str) -> None:
    """One that nobody may list is not taken for an empty one."""
    faulty.fail("ListObjectsV2", 403, "AccessDenied", "no")
    with pytest.raises(CommandError, match="needs the permission"):
        archives.remote(Aws(), bucket, "", absent_is_empty=True)
    with pytest.raises(CommandError, match="needs the permission"):
        archives.remove(Aws(), bucket, "", NAME)


# Smoke


def test_smoke(account: Aws, endpoint: str) -> None:
    """The first model of the prefix is asked cold and warm, with a row that fits it."""
    said: list[str] = []
    tried = smoke.first(account, endpoint, NAME, "p/", said.append)
    assert tried is not None
    assert tried.target_model == "houston.tar.gz"
    assert np.isfinite(float(tried.answer.strip("[] \n")))
    assert 0 < tried.warm_ms < 1000 * SECONDS
    assert 0 < tried.cold_ms < 1000 * SECONDS
    assert not said


def test_smoke_waits(faulty: Faulty, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is still loading is asked again, until it has had its time."""
    monkeypatch.setattr(smoke, "_AGAIN_SECONDS", 0.0)
    late = faulty.fail("InvokeEndpoint", 429, "ModelNotReadyException", "still loading", times=3)
    tried = smoke.invoke(Aws(), endpoint, "houston.tar.gz", "0,0,0,0,0,0")
    assert late.hits == 3
    assert tried.answer
    faulty.fail("InvokeEndpoint", 429, "ModelNotReadyException", "still loading")
    monkeypatch.setattr(smoke, "_LOAD_SECONDS", 0.0)
    with pytest.raises(CommandError, match=r"houston.tar.gz does not answer: .*still loading"):
        smoke.invoke(Aws(), endpoint, "houston.tar.gz", "0,0,0,0,0,0")


def test_smoke_of_a_bad_model(account: Aws, endpoint: str) -> None:
    """What the container says of a model is one line, with the log group."""
    with pytest.raises(CommandError) as error:
        smoke.invoke(account, endpoint, "z-bad.tar.gz", "0")
    message = str(error.value)
    assert message.startswith("z-bad.tar.gz does not answer: xgboost-model")
    assert f"log group /aws/sagemaker/Endpoints/{endpoint}" in message
    assert "\n" not in message
    assert '{"code' not in message


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that an endpoint is asked for, which answers at once."""
    asked: list[str] = []

    def invoke(aws: Aws, endpoint: str, target_model: str, body: str) -> smoke.Tried:
        del aws, endpoint
        asked.append(f"{target_model} {body}")
        return smoke.Tried(target_model, 2.0, 1.0, "0")

    monkeypatch.setattr(smoke, "invoke", invoke)
    return asked


def test_smoke_chooses(
    faulty: Faulty,
    bucket: str,
    local: Local,
    model: bytes,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An archive that cannot be read, for whatever reason, is passed over; one may be chosen."""
    account, said = Aws(), list[str]()
    models = {f"p/{name}.tar.gz": b"{}" for name in ("a-bad", "c-denied", "d-large")}
    folder = local.bucket(bucket, models | {"p/e-good.tar.gz": model, "p/f-good.tar.gz": model})
    (folder / "p" / "b-none.tar.gz").write_bytes(b"\x1f\x8b")
    (folder / "p" / "d-large.tar.gz").write_bytes(b"\x1f\x8b" * 600_000)
    (folder / "p" / "README").write_bytes(b"about them")
    monkeypatch.setattr(smoke, "_MOST_BYTES", 1_000_000)

    def denied(request: Request) -> bool:
        return request.operation == "GetObject" and "denied" in request.path

    faulty.fail(denied, 403, "AccessDenied", "no")
    row = ",".join("0" * 6)
    assert smoke.first(account, "any", bucket, "p/", said.append) is not None
    assert smoke.first(account, "any", bucket, "p/", said.append, "f-good.tar.gz") is not None
    assert asked == [f"e-good.tar.gz {row}", f"f-good.tar.gz {row}"]
    assert not said
    assert smoke.first(account, "any", bucket, "p/", said.append, "d-large.tar.gz") is None
    assert "it could not be read (d-large.tar.gz: more than 1 MB)" in said[0]
    with pytest.raises(CommandError, match=r"has no f-good to try"):
        smoke.first(account, "any", bucket, "p/", said.append, "f-good")


def test_smoke_of_another_image(
    account: Aws, bucket: str, local: Local, model: bytes, asked: list[str]
) -> None:
    """Where none of five can be read there is a line, and no fault: others may read them."""
    said: list[str] = []
    bad = {f"p/{number}.tar.gz": b"{}" for number in range(5)}
    local.bucket(bucket, bad | {"p/sixth.tar.gz": model})
    assert smoke.first(account, "any", bucket, "p/", said.append) is None
    (line,) = said
    assert line.startswith(
        "  no model was tried, for all 5 looked at could not be read (0.tar.gz: "
    )
    assert line.endswith("; try one: mme invoke any --target-model NAME")
    assert "\n" not in line
    assert not asked


def test_smoke_of_nothing(account: Aws, bucket: str) -> None:
    """A prefix without archives says so."""
    with pytest.raises(CommandError, match=r"has no \*\.tar\.gz"):
        smoke.first(account, "none", bucket, "", lambda _: None)


# mme models


def test_models(mme: Command, endpoint: str, local: Local, tmp_path: Path, model: bytes) -> None:
    """A model that is added answers at once; one that is removed is gone from the list."""
    path = tmp_path / "dallas.tar.gz"
    path.write_bytes(artifacts.pack({MODEL_FILE: model}))
    status, out, _ = mme("models", "add", "--into", "tx", str(path))
    assert status == 0
    assert "added: tx/dallas.tar.gz" in out
    assert isinstance(local.invoke(endpoint, "tx/dallas.tar.gz"), float | list)
    status, out, _ = mme("models", "list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[:-1]] == [
        *("houston.tar.gz", "tx/dallas.tar.gz", "z-bad.tar.gz")
    ]
    assert out.splitlines()[-1].startswith("3 archives")
    listed = json.loads(mme("models", "list", "--json")[1])
    assert [one["bytes"] for one in listed if one["name"] == "tx/dallas.tar.gz"] == [
        path.stat().st_size
    ]
    assert "there already: tx/dallas.tar.gz" in mme("models", "add", "--into", "tx", str(path))[1]
    status, _, err = mme("models", "remove", "tx/dallas.tar.gz", "none.tar.gz", "--yes")
    assert (status, "none.tar.gz" in err, "tx/dallas" in err) == (1, True, False)
    status, _, err = mme("models", "remove", "tx/dallas.tar.gz")
    assert (status, "--yes" in err) == (2, True)
    status, out, _ = mme("models", "remove", "tx/dallas.tar.gz", "--yes")
    assert status == 0
    assert "until they unload it" in out
    assert "dallas" not in mme("models", "list")[1]


@pytest.mark.usefixtures("endpoint")
def test_models_add_refused(mme: Command, tmp_path: Path, model: bytes) -> None:
    """Other bytes under a name that is there are refused with the cure, and so is what is none."""
    path = tmp_path / "houston.tar.gz"
    path.write_bytes(artifacts.pack({MODEL_FILE: model + b" "}))
    status, _, err = mme("models", "add", str(path))
    assert status == 1
    assert "houston.tar.gz" in err
    assert "under a new name" in err
    (tmp_path / "plain.tar.gz").write_bytes(b"no gzip")
    (tmp_path / "other.gz").write_bytes(gzip.compress(b""))
    for name, why in {
        "plain.tar.gz": "is not gzip",
        "other.gz": "ends with .tar.gz",
        "none.tar.gz": "No such file",
    }.items():
        status, _, err = mme("models", "add", str(tmp_path / name))
        assert status != 0
        assert why in err
    assert "one name" in mme("models", "add", str(path), str(path))[2]
    write_toml(tmp_path, "not-deployed")
    status, _, err = mme("models", "add", str(path))
    assert (status, "mme deploy first" in err) == (1, True)


# mme status


@pytest.fixture
def scaled(local: Local, endpoint: str) -> Iterator[None]:
    """An alarm and limits of scaling, and those of an endpoint whose name begins the same."""
    scaling, cloudwatch = local.client("application-autoscaling"), local.client("cloudwatch")
    where = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**where, MinCapacity=1, MaxCapacity=4)
    names = {one: f"xgboost-mme-{one}-errors" for one in (endpoint, f"{endpoint}-b")}
    for one, alarm in names.items():
        cloudwatch.put_metric_alarm(
            AlarmName=alarm,
            MetricName="Invocation5XXErrors",
            Namespace="AWS/SageMaker",
            Dimensions=[{"Name": "EndpointName", "Value": one}],
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
    yield
    scaling.deregister_scalable_target(**where)
    cloudwatch.delete_alarms(AlarmNames=list(names.values()))


@pytest.mark.usefixtures("scaled")
def test_status(mme: Command, endpoint: str, local: Local) -> None:
    """It shows what runs, what it has done, the alarms and the scaling."""
    for _ in range(3):
        local.invoke(endpoint, "houston.tar.gz")

    def measured() -> dict[str, Any] | None:
        status, out, _ = mme("status", "--json")
        assert status == 0
        found: dict[str, Any] = json.loads(out)
        return found if found["last_hour"]["memory_percent"] else None

    found = wait_until(measured, SECONDS, "what is measured now and then")
    assert (found["status"], found["archives"]) == ("InService", 2)
    assert found["image"].endswith("xgboost-mme:latest")
    assert found["models"] == f"s3://{NAME}/p/"
    (variant,) = found["variants"]
    assert (variant["instance_type"], variant["instances"]) == ("ml.m5.large", 1)
    hour = found["last_hour"]
    assert hour["invocations"] >= 3
    assert hour["errors_4xx"] >= 0
    assert 0 < hour["latency_p50_ms"] <= hour["latency_p90_ms"] < 1000 * SECONDS
    assert 0 < hour["cold_wait_p90_ms"] < 1000 * SECONDS
    assert 0 < hour["cache_hit_percent"] < 100
    assert hour["loaded"] >= 1
    assert hour["loaded"] == hour["loaded_per_instance"]
    assert 0 < hour["memory_percent"] <= 100
    assert [one["name"] for one in found["alarms"]] == [f"xgboost-mme-{endpoint}-errors"]
    assert (found["scaling"]["min"], found["scaling"]["max"]) == (1, 4)
    assert found["notes"] == []
    out = mme("status")[1]
    assert f"{endpoint}  InService" in out
    assert "AllTraffic: 1 of 1 x ml.m5.large" in out
    assert "2 archives at s3://" in out
    assert "scaling: 1 to 4 instances" in out
    assert f"{endpoint}-errors" in out


@pytest.mark.usefixtures("endpoint")
def test_status_denied(mme: Command, faulty: Faulty) -> None:
    """What nobody may read is a dash and a note; the rest is there."""
    denied = "User: me is not authorized to perform: cloudwatch:GetMetricData"
    faulty.fail("cloudwatch:GetMetricData", 403, "AccessDenied", denied)
    faulty.fail("s3:ListObjectsV2", 403, "AccessDenied", "no")
    status, out, _ = mme("status")
    assert status == 0
    assert "InService" in out
    assert "- archives at" in out
    assert "p50 -, p90 -" in out
    assert "note: metrics: " in out
    assert "needs the permission cloudwatch:GetMetricData" in out


def test_status_absent(mme: Command, tmp_path: Path) -> None:
    """An endpoint that is not there is one line and status 1."""
    write_toml(tmp_path, "nowhere")
    assert mme("status") == (1, "", "mme status: there is no endpoint nowhere: mme deploy\n")


def test_status_failed(mme: Command, local: Local, name: str, tmp_path: Path) -> None:
    """One that has failed says why, with status 1, and dashes where there is no data."""
    local.bucket(name, {"p/a.tar.gz": b""})
    broken = {"MME_MODEL_MEMORY_MB": "none"}
    local.create(name, f"{name}/p", broken, wait=False)
    sagemaker = local.client("sagemaker")

    def failed() -> bool:
        return bool(sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Failed")

    wait_until(failed, SECONDS, "Failed")
    write_toml(tmp_path, name)
    status, out, _ = mme("status")
    assert status == 1
    assert f"{name}  Failed" in out
    assert "reason" in out
    assert "invocations     -" in out
    assert "alarms: none" in out
    local.delete(name)


# mme logs


def test_logs(mme: Command, endpoint: str, local: Local) -> None:
    """What the containers have written comes in order, with the instance that wrote it."""
    local.invoke(endpoint, "houston.tar.gz")
    status, out, _ = mme("logs", "--since", "1h")
    assert status == 0
    lines = out.splitlines()
    assert lines
    assert lines == sorted(lines, key=lambda line: line[:19])
    streams = local.client("logs").describe_log_streams(
        logGroupName=f"/aws/sagemaker/Endpoints/{endpoint}"
    )["logStreams"]
    instances = {one["logStreamName"].partition("/")[2] for one in streams}
    assert {line.split()[1] for line in lines} <= instances
    assert mme("logs", "--since", "0s")[0] == 0


def test_logs_absent(mme: Command, tmp_path: Path) -> None:
    """No group yet is one line; a time that is none is a mistake."""
    write_toml(tmp_path, "nowhere")
    status, _, err = mme("logs")
    assert status == 1
    assert "no log group /aws/sagemaker/Endpoints/nowhere yet" in err
    with pytest.raises(SystemExit):
        mme("logs", "--since", "long")


def test_logs_followed(local: Local, name: str, tmp_path: Path, model: bytes) -> None:
    """They are followed as they come, each line once, until the endpoint is gone."""
    local.client("s3").create_bucket(Bucket=name)
    local.bucket(name, {"p/a.tar.gz": model})
    local.create(name, f"{name}/p")
    write_toml(tmp_path, name)
    with subprocess.Popen(
        [sys.executable, "-m", "mme", "logs", "--follow", "--since", "1h"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | local.environ,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline()]
        local.invoke(name, "a.tar.gz")
        local.delete(name)
        lines += process.stdout.readlines()
        err = process.stderr.read()
        assert process.wait(SECONDS) == 0
    assert any("a.tar.gz" in line for line in lines)
    assert f"there is no endpoint {name}" in err
    written = local.client("logs").filter_log_events(
        logGroupName=f"/aws/sagemaker/Endpoints/{name}"
    )["events"]
    messages = Counter(event["message"].rstrip("\n") for event in written)
    said = Counter(line.rstrip("\n").split(" ", 2)[2] for line in lines)
    assert not said - messages


# The proxy that the tests inject faults with


def test_faulty(faulty: Faulty, bucket: str) -> None:
    """It knows the calls of each protocol, and fails them in a way that boto3 understands."""
    account = Aws()
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("s3", "list_buckets", {}),
        ("s3", "put_object_tagging", {"Bucket": bucket, "Key": "a", "Tagging": {"TagSet": []}}),
        ("iam", "list_roles", {}),
        ("sagemaker", "list_models", {}),
        ("cloudwatch", "list_dashboards", {}),
        ("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "a", "Body": b""}),
    ]
    faulty.fail(lambda _: True, 418, "Teapot", "short & <stout>")
    for service, operation, words in calls:
        client = account.client(service)
        with pytest.raises(client.exceptions.ClientError) as error:
            getattr(client, operation)(**words)
        assert error.value.response["Error"]["Code"] == "Teapot"
        assert error.value.response["Error"]["Message"] == "short & <stout>"
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 418
        assert faulty.requests[-1].service == service
        assert faulty.requests[-1].operation == error.value.operation_name
    faulty.mend()
    account.client("s3").put_object(Bucket=bucket, Key="b", Body=b"x", Tagging="a=b")
    assert "tagging" not in parse_qs(faulty.requests[-1].path)
    assert faulty.requests[-1].operation == "PutObject"
