"""The container as an ordinary endpoint has it, and batch transform: one model at /invocations."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from container import resources
from mme.client import Client, Reply
from mme.process import free_port
from tests.conftest import WORKERS
from tests.support import (
    START_SECONDS,
    STOP_SECONDS,
    Serve,
    Server,
    alive,
    error_of,
    saved,
    train,
    wait_until,
)

SINGLE = {"SAGEMAKER_MULTI_MODEL": "false"}
ROW = b"1,2,3,4,5,6"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
MB = 1024 * 1024

Rows = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def logistic() -> xgboost.Booster:
    """A model that has labels and probabilities."""
    return train("binary:logistic")


@pytest.fixture(scope="module", params=WORKERS)
def single(
    keep_serving: Serve,
    logistic: xgboost.Booster,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Server:
    """A container with one model that tests leave as they found it, with either worker."""
    root = tmp_path_factory.mktemp("single")
    (root / "xgboost-model").write_bytes(saved(logistic))
    return keep_serving(root=root, **SINGLE, **WORKERS[request.param])


def ask(client: Client, body: bytes = ROW, **headers: str) -> Reply:
    """Ask the one model; a header's name has underscores here."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.call("POST", "/invocations", body, {"Content-Type": "text/csv"} | named)


def select(client: Client, attributes: str, path: str = "/invocations", **more: str) -> Reply:
    headers = {"Content-Type": "text/csv", ATTRIBUTES: attributes} | more
    return client.call("POST", path, ROW, headers)


def predicted(booster: xgboost.Booster, row: bytes = ROW) -> float:
    rows = np.array([row.split(b",")], dtype=np.float32)
    return float(booster.predict(xgboost.DMatrix(rows))[0])


def events(output: str, event: str) -> list[dict[str, Any]]:
    """Those lines of the log."""
    lines = [json.loads(line) for line in output.splitlines() if line]
    return [line for line in lines if line["event"] == event]


def test_invocations(single: Server, logistic: xgboost.Booster, rows: Rows) -> None:
    """The one model answers, and is healthy; of the multi-model API there is nothing."""
    body = "\n".join(",".join("" if np.isnan(x) else repr(float(x)) for x in row) for row in rows)
    reply = ask(single.client, body.encode())
    assert reply.status == 200
    assert json.loads(reply.body) == logistic.predict(xgboost.DMatrix(rows)).tolist()
    assert single.client.healthy()
    for method, path in (
        ("GET", "/models"),
        ("POST", "/models"),
        ("GET", "/models/model"),
        ("DELETE", "/models/model"),
        ("POST", "/models/model/invoke"),
    ):
        refused = single.client.call(method, path, ROW, {"Content-Type": "text/csv"})
        assert "not found" in error_of(404, refused.body)
    assert ask(single.client).status == 200


def test_execution_parameters(single: Server) -> None:
    """Batch transform is told what this container takes at once, within the platform's limit."""
    reply = single.client.call("GET", "/execution-parameters")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    said = json.loads(reply.body)
    assert said.keys() == {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}
    assert said["BatchStrategy"] == "MULTI_RECORD"
    assert 1 <= said["MaxConcurrentTransforms"] <= resources.cpus()
    assert said["MaxPayloadInMB"] >= 1
    assert said["MaxConcurrentTransforms"] * said["MaxPayloadInMB"] <= 100


def test_batch(serve: Serve, logistic: xgboost.Booster, tmp_path: Path) -> None:
    """As a transform job runs it: CSV unless asked otherwise, payloads as large as it has said."""
    (tmp_path / "xgboost-model").write_bytes(saved(logistic))
    server = serve(
        root=tmp_path, SAGEMAKER_BATCH="true", MME_MAX_REQUEST_BYTES=str(2 * MB), **SINGLE
    )
    said = json.loads(server.client.call("GET", "/execution-parameters").body)
    assert said["MaxPayloadInMB"] == 2
    most = ROW + b"\n"
    most *= said["MaxPayloadInMB"] * MB // len(most)
    reply = ask(server.client, most)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/csv")
    lines = reply.body.decode().splitlines()
    assert len(lines) == most.count(b"\n")
    assert {float(line) for line in lines} == {predicted(logistic)}
    assert ask(server.client, most + ROW * 3).status == 413
    asked = ask(server.client, accept="application/json")
    assert json.loads(asked.body) == [predicted(logistic)]


def test_selected_output(single: Server, logistic: xgboost.Booster) -> None:
    """A request chooses what it wants of a row; what else the attributes hold is the client's."""
    expected = {"predicted_label": 1, "probability": predicted(logistic)}
    assert expected["probability"] > 0.5
    for attributes in (
        "output=predicted_label,probability",
        "trace=7;output=predicted_label, probability; user=x",
        "Output = predicted_label,probability",
    ):
        reply = select(single.client, attributes)
        assert json.loads(reply.body) == {"predictions": [expected]}
        assert ATTRIBUTES.lower() not in reply.headers
    csv = select(single.client, "output=probability,predicted_label", Accept="text/csv")
    assert csv.body.decode().strip().split(",")[1] == "1"
    for attributes in ("", "trace=7", "output", "output=", "x" * 1024):
        plain = select(single.client, attributes)
        assert json.loads(plain.body) == [expected["probability"]]
    unknown = select(single.client, "output=predicted_lable")
    assert "predicted_lable" in error_of(400, unknown.body)


def test_attributes_that_cannot_be(single: Server) -> None:
    """What the platform would not let through is refused, with the connection left as it was."""
    long = select(single.client, "output=probability;trace=" + "x" * 1000)
    assert "over 1024 bytes" in error_of(400, long.body)
    odd = select(single.client, "output=\xe9")
    assert "not ASCII" in error_of(400, odd.body)
    assert ask(single.client).status == 200


def test_selected_output_of_many(server: Server, logistic: xgboost.Booster) -> None:
    """With many models it is the same; and /execution-parameters and /invocations are not there."""
    url = server.put("selected", {"xgboost-model": saved(logistic)})
    assert server.client.load("selected", url).status == 200
    path = "/models/selected/invoke"
    reply = select(server.client, "output=probability", path)
    assert json.loads(reply.body) == {"predictions": [{"probability": predicted(logistic)}]}
    assert "over 1024" in error_of(400, select(server.client, "x" * 1025, path).body)
    assert json.loads(server.client.invoke("selected", ROW).body) == [predicted(logistic)]
    assert server.client.unload("selected").status == 200
    for method, path in (("GET", "/execution-parameters"), ("POST", "/invocations")):
        assert "not found" in error_of(404, server.client.call(method, path, ROW).body)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no model file"),
        ({"readme.txt": b"hello"}, "no model file: found readme.txt"),
        ({"xgboost-model": b""}, "xgboost-model is empty"),
        ({"xgboost-model": b'{"learner": 1}'}, "xgboost-model"),
    ],
)
def test_a_model_that_cannot_be(
    serve: Serve, tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    """Such a container is never healthy: it says why in one line, and ends with 1."""
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    server = serve(root=tmp_path, healthy=False, **SINGLE)
    output, _ = server.process.communicate(timeout=START_SECONDS)
    assert server.process.returncode == 1
    (line,) = events(output, "not started")
    assert line["reason"].startswith(f"the model in {tmp_path} cannot be served: ")
    assert reason in line["reason"]
    assert not {"\n", "{"} & set(line["reason"])  # a sentence, not the answer around it
    assert not events(output, "serving")


def test_without_a_directory(serve: Serve, tmp_path: Path) -> None:
    """A model root that is not there is said to be so."""
    server = serve(root=tmp_path / "none", healthy=False, **SINGLE)
    output, _ = server.process.communicate(timeout=START_SECONDS)
    assert server.process.returncode == 1
    assert "no such directory" in events(output, "not started")[0]["reason"]


@contextlib.contextmanager
def laid(place: Path, **environ: str) -> Iterator[tuple["subprocess.Popen[str]", Client]]:
    """A container for which a model would lie in that place, and that is told nothing else."""
    code = (
        "import os, sys; from pathlib import Path; from container import settings, supervisor; "
        f"settings.SINGLE_ROOT = Path({str(place)!r}); sys.exit(supervisor.serve(os.environ))"
    )
    told = {"SAGEMAKER_MULTI_MODEL": "", "MME_MODEL_ROOT": ""} | environ
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | told | {"SAGEMAKER_BIND_TO_PORT": str(port), "MME_ACCESS_LOG": "false"},
    )
    with process, Client("127.0.0.1", port) as client:
        try:
            wait_until(
                lambda: client.healthy() or process.poll() is not None, START_SECONDS, "its start"
            )
            yield process, client
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=STOP_SECONDS)


def test_nobody_says_which(logistic: xgboost.Booster, tmp_path: Path) -> None:
    """Where a model lies it is served, though the gate starts again when nothing lies there."""
    model = tmp_path / "xgboost-model"
    model.write_bytes(saved(logistic))
    with laid(tmp_path) as (process, client):
        assert json.loads(ask(client).body) == [predicted(logistic)]
        assert client.call("GET", "/models").status == 404
        model.unlink()
        kill_gate(process.pid, client)
        assert json.loads(ask(client).body) == [predicted(logistic)]
        assert client.call("GET", "/models").status == 404
    with laid(tmp_path) as (_, client):
        assert json.loads(client.call("GET", "/models").body) == {"models": []}
        assert ask(client).status == 404


def kill_gate(supervisor: int, client: Client) -> None:
    """Kill the gate, and wait for the next."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (gate,) = [
        int(child)
        for child in children
        if "container.gate" in Path(f"/proc/{child}/cmdline").read_text()
    ]
    os.kill(gate, signal.SIGKILL)
    wait_until(lambda: not alive([gate]), STOP_SECONDS, "the gate's end")
    client.close()
    wait_until(client.healthy, START_SECONDS, "the next gate")


def test_the_platform_says_many(logistic: xgboost.Booster, tmp_path: Path) -> None:
    """What the platform says holds, whatever lies where."""
    (tmp_path / "xgboost-model").write_bytes(saved(logistic))
    with laid(tmp_path, SAGEMAKER_MULTI_MODEL="true") as (_, client):
        assert json.loads(client.call("GET", "/models").body) == {"models": []}
        assert ask(client).status == 404


def test_the_worker_dies(serve: Serve, logistic: xgboost.Booster, tmp_path: Path) -> None:
    """It is loaded again for who asks next; if its files are gone, the container is not healthy."""
    root = tmp_path / "model"
    root.mkdir()
    (root / "xgboost-model").write_bytes(saved(logistic))
    server = serve(root=root, MME_SHARDS="1", **SINGLE)
    kill_worker(server)
    assert json.loads(ask(server.client).body) == [predicted(logistic)]
    root.rename(tmp_path / "moved")
    kill_worker(server)
    assert ask(server.client).status == 404
    unhealthy = server.client.call("GET", "/ping")
    assert "the model is gone" in error_of(503, unhealthy.body)


def kill_worker(server: Server) -> None:
    old = server.pid("mme-shard")
    os.kill(old, signal.SIGKILL)
    wait_until(
        lambda: server.processes().get("mme-shard", [old]) != [old], START_SECONDS, "another worker"
    )


SCRIPT = """
import os
def model_fn(model_dir):
    return os.getpid()
def transform_fn(model, body, content_type, accept):
    if b"die" in (body if isinstance(body, bytes) else body.encode()):
        os._exit(3)
    return str(model), "text/csv"
"""


def test_a_script_that_dies(serve: Serve, logistic: xgboost.Booster) -> None:
    """Who was in it gets the reason; who asks next gets an answer, of a process that is new."""
    server = serve(MME_ALLOW_SCRIPTS="true")
    url = server.put("script", {"xgboost-model": saved(logistic)})
    (Path(url) / "code").mkdir()
    (Path(url) / "code" / "inference.py").write_text(SCRIPT)
    assert server.client.load("script", url).status == 200
    pids = [server.client.invoke("script", ROW).body]
    for _ in range(3):
        died = server.client.invoke("script", b"die")
        assert "exit status 3" in error_of(500, died.body)
        again = server.client.invoke("script", ROW)
        assert again.status == 200
        pids.append(again.body)
        assert server.client.invoke("script", ROW).body == again.body
    assert len(set(pids)) == 4
    assert server.client.describe("script").status == 200
    assert server.client.unload("script").status == 200
    assert server.client.invoke("script", ROW).status == 404
