"""InvokeEndpoint: what boto3 gets, good and bad, as the tables of AWS's errors have it."""

import concurrent.futures
import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from botocore.exceptions import ClientError

from mme import artifacts, cli
from mme.local.control import support
from tests.local.conftest import QUICK, Start
from tests.local.support import FAILURE_SECONDS, ROW, SECONDS, Local, drop
from tests.support import saved, train, wait_until

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def endpoint(local: Local, model: bytes) -> str:
    """An endpoint over a few models, good and bad."""
    folder = local.bucket("invoke-models", {"a.tar.gz": model, "deep/er/b.tar.gz": model})
    for name in "damaged.tar.gz", "remembered.tar.gz":  # one for each test that counts its loads
        drop(folder, name, model[: len(model) // 2])
    (folder / "no-archive.tar.gz").write_bytes(b"these are not the bytes of a gzip")
    local.create("invoke", "invoke-models")
    return "invoke"


def error(local: Local, endpoint: str, target: str | None, **more: Any) -> ClientError:
    """What boto3 raises."""
    with pytest.raises(ClientError) as raised:
        local.invoke(endpoint, target, **more)
    return raised.value


def code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def test_prediction(local: Local, endpoint: str, booster: xgboost.Booster) -> None:
    """The answer is what XGBoost itself predicts, cold and warm, at any depth of the prefix."""
    row = np.array([[1, 2, 3, 4, 5, 6]], dtype=np.float32)
    expected = booster.inplace_predict(row).tolist()
    for target in ("a.tar.gz", "a.tar.gz", "deep/er/b.tar.gz"):
        assert local.invoke(endpoint, target) == expected


def test_headers(local: Local, endpoint: str) -> None:
    """The variant, the content type and the request's id come with the answer."""
    answer = local.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=endpoint,
        TargetModel="a.tar.gz",
        ContentType="text/csv",
        Accept="text/csv",
        InferenceId="mine",
        CustomAttributes="trace=1",
        Body=ROW,
    )
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ContentType"] == "text/csv"
    assert len(answer["ResponseMetadata"]["RequestId"]) == 36
    assert answer["ResponseMetadata"]["RetryAttempts"] == 0


def test_no_endpoint(local: Local) -> None:
    """An endpoint that is not there is a ValidationError in AWS's words."""
    raised = error(local, "nowhere", "a.tar.gz")
    assert code(raised) == "ValidationError"
    assert str(raised).endswith(f"Endpoint nowhere of account {ACCOUNT} not found.")
    assert raised.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_no_target(local: Local, endpoint: str) -> None:
    """A multi-model endpoint needs a target model."""
    raised = error(local, endpoint, None)
    assert code(raised) == "ValidationError"
    assert "is missing a target model header" in str(raised)


@pytest.mark.parametrize("target", ["absent.tar.gz", "../invoke-models/a.tar.gz", "deep", "/a"])
def test_no_object(local: Local, endpoint: str, target: str) -> None:
    """A target that is no object is a ValidationError that names bucket and key."""
    raised = error(local, endpoint, target)
    assert code(raised) == "ValidationError"
    assert f"(bucket: invoke-models, key: {target})" in str(raised)


def test_object_that_comes_later(local: Local, endpoint: str, model: bytes) -> None:
    """A target that was absent can be invoked as soon as it is there."""
    assert code(error(local, endpoint, "later.tar.gz")) == "ValidationError"
    drop(local.state / "s3" / "invoke-models", "later.tar.gz", model)
    assert len(local.invoke(endpoint, "later.tar.gz")) == 1


def test_client_error_from_model(local: Local, endpoint: str) -> None:
    """A container's 4xx is a ModelError with its status, its body, and where the log is."""
    raised = error(local, endpoint, "a.tar.gz", body=b"1,2")
    assert type(raised).__name__ == "ModelError"
    response: dict[str, Any] = dict(raised.response)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 400
    assert json.loads(response["OriginalMessage"])["type"] == "BadRequestException"
    group = f"/aws/sagemaker/Endpoints/{endpoint}"
    assert response["LogStreamArn"] == f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}"
    assert response["Error"]["Message"].startswith(
        'Received client error (400) from primary with message "'
    )
    assert response["Error"]["Message"].endswith(
        f"#logEventViewer:group={group} in account {ACCOUNT} for more information."
    )


def test_failed_load_is_remembered(local: Local, endpoint: str) -> None:
    """A damaged model is a ModelError with the container's reason, and is not loaded each time."""
    before, begun = local.instances(endpoint)[0], time.monotonic()
    raised = [error(local, endpoint, "remembered.tar.gz") for _ in range(5)]
    times = 1 + int((time.monotonic() - begun) / FAILURE_SECONDS)  # that it may be forgotten
    assert {type(one).__name__ for one in raised} == {"ModelError"}
    assert "Received server error (500)" in str(raised[0])
    assert "damaged" in raised[0].response["OriginalMessage"]
    (instance,) = local.instances(endpoint)
    assert instance["loads"] == before["loads"]
    # The container writes its lines a moment later, all of them together.
    loads = wait_until(
        lambda: _log_lines(local, endpoint, "remembered.tar.gz"), SECONDS, "a line of the log"
    )
    assert 1 <= len(loads) <= times


def _log_lines(local: Local, endpoint: str, target: str) -> list[str]:
    """The container's lines about loads of a target."""
    found = local.client("logs").filter_log_events(
        logGroupName=f"/aws/sagemaker/Endpoints/{endpoint}"
    )
    lines = [event["message"] for event in found["events"]]
    return [line for line in lines if target in line and '"POST"' in line]


def test_no_archive(local: Local, endpoint: str) -> None:
    """What cannot be unpacked is a ValidationError that says so."""
    raised = error(local, endpoint, "no-archive.tar.gz")
    assert code(raised) == "ValidationError"
    assert "Failed to extract model data archive" in str(raised)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"TargetVariant": "Nope"}, "Variant Nope of endpoint"),
        ({"CustomAttributes": "x" * 1025}, "length less than or equal to 1024"),
        *(
            ({field: "other"}, f"{field} is not emulated by mme local")
            for field, level in support.runtime()["InvokeEndpoint"].items()
            if level is support.Level.REFUSED
        ),
    ],
)
def test_refused(local: Local, endpoint: str, more: dict[str, str], text: str) -> None:
    """What cannot be asked here is a ValidationError that says what."""
    raised = error(local, endpoint, "a.tar.gz", **more)
    assert code(raised) == "ValidationError"
    assert text in str(raised)


def test_async_is_refused(local: Local, endpoint: str) -> None:
    """What the runtime has beside InvokeEndpoint is refused, too, and not tried again."""
    runtime = local.client("sagemaker-runtime")
    with pytest.raises(ClientError, match="not emulated by mme local") as raised:
        runtime.invoke_endpoint_async(EndpointName=endpoint, InputLocation="s3://any/where")
    assert code(raised.value) == "ValidationError"
    assert raised.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_bad_name(local: Local) -> None:
    """A name that no endpoint can have is refused with the pattern, as AWS's validation says it."""
    for name in ("under_score", "x" * 64):
        raised = error(local, name, "a.tar.gz")
        assert code(raised) == "ValidationError"
        assert f"Value '{name}' at 'endpointName' failed to satisfy constraint" in str(raised)
        assert "at 'body'" not in str(raised)


def test_body_limit(local: Local, endpoint: str) -> None:
    """A body of the limit reaches the model; a byte more is 413, as AWS has it."""
    limit = 6_291_456
    assert type(error(local, endpoint, "a.tar.gz", body=b"x" * limit)).__name__ == "ModelError"
    raised = error(local, endpoint, "a.tar.gz", body=b"x" * (limit + 1))
    assert code(raised) == "413"
    assert f"HTTP content length exceeded {limit} bytes." in str(raised)


def test_one_load_for_all(local: Local, model: bytes, name: str) -> None:
    """Requests for one cold model that come together wait for one load."""
    local.bucket("one-load", {"a.tar.gz": model})
    local.create(name, "one-load")
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: local.invoke(name, "a.tar.gz"), range(40)))
    assert all(answer == answers[0] for answer in answers)
    (instance,) = local.instances(name)
    assert instance["loads"] == 1
    assert instance["invocations"] == 40


@pytest.fixture
def hasty(start_local: Start) -> Local:
    """One that waits for a container for three seconds, and not until it is taken for dead."""
    return start_local(**QUICK | {"MME_LOCAL_INVOKE_SECONDS": "3"})


def test_not_ready(hasty: Local, model: bytes, name: str) -> None:
    """A load that takes too long is ModelNotReadyException, once; it goes on, and then serves."""
    hasty.bucket("not-ready", {"a.tar.gz": model})
    hasty.create(name, "not-ready")
    with stopped(_processes(hasty, name, "container.gate")):
        raised = error(hasty, name, "a.tar.gz")
    assert type(raised).__name__ == "ModelNotReadyException"
    assert raised.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert raised.response["ResponseMetadata"]["RetryAttempts"] == 0

    def loaded() -> bool:
        return bool(hasty.instances(name)[0]["loaded"])

    wait_until(loaded, SECONDS, "the load's end")
    assert len(hasty.invoke(name, "a.tar.gz")) == 1
    assert hasty.instances(name)[0]["loads"] == 1


def test_silent_container(hasty: Local, model: bytes, name: str) -> None:
    """A container that does not answer is a ModelError without a status, as AWS has it."""
    hasty.bucket("silent", {"a.tar.gz": model})
    hasty.create(name, "silent")
    hasty.invoke(name, "a.tar.gz")
    with stopped(_processes(hasty, name, "container.gate")):
        raised = error(hasty, name, "a.tar.gz")
    assert type(raised).__name__ == "ModelError"
    assert raised.response["OriginalStatusCode"] == 0
    assert "Your invocation timed out while waiting for a response" in str(raised)


@contextlib.contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    """Nothing of these processes runs meanwhile."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)


def _processes(local: Local, endpoint: str, word: str) -> list[int]:
    """The processes of an endpoint's instances that have a word in their command lines."""
    ports = {one["url"].rpartition(":")[2] for one in local.instances(endpoint)}
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_text().replace("\0", " ")
            title = (folder / "comm").read_text()
            environ = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mine = any(f"SAGEMAKER_BIND_TO_PORT={port}".encode() in environ for port in ports)
        if mine and (word in command or word in title):
            found.append(int(folder.name))
    assert found, word
    return found


def test_eviction(local: Local, name: str) -> None:
    """An instance that is full lets the model go that was used least recently, and says why."""
    large = [saved(train(seed=number, num_parallel_tree=8)) for number in range(3)]
    models = {f"m{number:03}.tar.gz": data for number, data in enumerate(large)}
    data = list(models.values())
    many = {f"m{number:03}.tar.gz": data[number % 3] for number in range(120)}
    local.bucket("eviction", many)
    local.create(name, "eviction", environment={"MME_MODEL_MEMORY_MB": "1"})
    first = [local.invoke(name, target) for target in many]
    (instance,) = local.instances(name)
    assert 0 < instance["loaded"] < 120
    assert instance["loads"] == 120
    assert instance["evictions"] == 120 - instance["loaded"]
    resident = local.page(f"models?endpoint={name}&limit=1000")
    assert resident["total"] == instance["loaded"]
    assert "m119.tar.gz" in {model["target"] for model in resident["models"]}
    newest = local.page()["evictions"][0]
    assert (newest["endpoint"], newest["reason"]) == (name, "the container lacked memory (507)")
    assert local.invoke(name, "m000.tar.gz") == first[0]  # from the disk again


def test_cache_disabled(local: Local, model: bytes, name: str) -> None:
    """With ModelCacheSetting Disabled a model is unloaded, and off the disk, after its answer."""
    local.bucket("uncached", {"a.tar.gz": model})
    local.create(name, "uncached", cache="Disabled")
    assert local.invoke(name, "a.tar.gz") == local.invoke(name, "a.tar.gz")

    def empty() -> bool:
        (instance,) = local.instances(name)
        return not instance["loaded"] and not instance["disk_bytes"]

    wait_until(empty, SECONDS, "an empty instance")
    assert local.instances(name)[0]["loads"] == 2


@pytest.fixture(scope="module")
def single(local: Local, model: bytes) -> str:
    """An endpoint of one model."""
    folder = local.bucket("single", {})
    (folder / "model.tar.gz").write_bytes(artifacts.pack({"xgboost-model": model}))
    sagemaker = local.client("sagemaker")
    container = {"Image": "xgboost-mme", "ModelDataUrl": "s3://single/model.tar.gz"}
    sagemaker.create_model(
        ModelName="single",
        ExecutionRoleArn=f"arn:aws:iam::{ACCOUNT}:role/any",
        PrimaryContainer=container,
    )
    local.configure("single", "single")
    sagemaker.create_endpoint(EndpointName="single", EndpointConfigName="single")
    local.in_service("single")
    return "single"


def test_single_model(local: Local, single: str) -> None:
    """An endpoint of one model serves it, and refuses a target model in AWS's words."""
    assert len(local.invoke(single, None)) == 1
    raised = error(local, single, "a.tar.gz")
    assert code(raised) == "ValidationError"
    assert "is not a multi-model endpoint and does not support target model header." in str(raised)


def test_stream(local: Local, single: str) -> None:
    """A stream's parts are the answer; what fails before it is the same error as without."""
    runtime = local.client("sagemaker-runtime")
    asked = {"EndpointName": single, "ContentType": "text/csv", "Body": ROW}
    answer = runtime.invoke_endpoint_with_response_stream(**asked)
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert json.loads(b"".join(parts)) == local.invoke(single, None)
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["ContentType"] == "application/json"
    with pytest.raises(runtime.exceptions.ModelError):
        runtime.invoke_endpoint_with_response_stream(**{**asked, "Body": b"1,2"})


def test_stream_of_a_target(local: Local, endpoint: str) -> None:
    """boto3 cannot stream from a multi-model endpoint: its call has no TargetModel."""
    runtime = local.client("sagemaker-runtime")
    with pytest.raises(ClientError, match="is missing a target model header"):
        runtime.invoke_endpoint_with_response_stream(
            EndpointName=endpoint, ContentType="text/csv", Body=ROW
        )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["invoke", "--target-model", "a.tar.gz"], "400: row 1 has 2 columns"),
        (["nowhere"], "there is no endpoint nowhere in us-east-1: mme status, or mme deploy"),
        (["invoke"], "which model? --target-model NAME, one of mme models list"),
        (["invoke", "--target-model", "absent.tar.gz"], "s3://invoke-models/absent.tar.gz is not"),
        (["invoke", "--target-model", "damaged.tar.gz"], "500: "),
    ],
)
@pytest.mark.usefixtures("endpoint")
def test_command(
    local: Local,
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What `mme invoke` is refused is one line that begins with what matters."""
    for name, value in local.environ.items():
        monkeypatch.setenv(name, value)
    rows = tmp_path / "rows.csv"
    rows.write_text("1,2\n")
    assert cli.main(["invoke", *words, "--body", str(rows)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"mme invoke: {says}")
    assert error.count("\n") == 1
    assert "console.aws" not in error
