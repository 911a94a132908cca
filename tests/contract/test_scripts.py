"""Scripts of users through the whole container: their answers, their faults, their end."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Serve, Server, alive, error_of, saved, train, wait_until

ROW = b"1,2,3,4,5,6"
SECONDS = 3
SCRIPT = """
import json, os, signal

def model_fn(model_dir):
    return {"pid": os.getpid(), "files": sorted(os.listdir(model_dir))}

def input_fn(body, content_type):
    return body if isinstance(body, str) else body.decode()

def predict_fn(data, model):
    if data == "fail":
        raise ValueError("no such row")
    if data == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while data == "hang":
        pass
    return dict(model, data=data)

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
"""


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    one = serve(MME_SHARDS="1", MME_ALLOW_SCRIPTS="1", MME_INVOKE_DEADLINE_SECONDS=str(SECONDS))
    url = one.put("bystander", {"m.ubj": saved(train())})
    assert one.client.load("bystander", url).status == 200
    return one


@pytest.fixture
def script(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """A loaded model with the script, of the test's own."""
    name = request.node.name
    url = server.put(name, {"notes.txt": b"x"})
    code = Path(url) / "code"
    code.mkdir()
    (code / "inference.py").write_text(SCRIPT)
    reply = server.client.load(name, url)
    assert reply.status == 200, reply
    yield name
    server.client.unload(name)


def answer(server: Server, name: str, body: bytes = ROW) -> dict[str, object]:
    reply = server.client.invoke(name, body)
    assert reply.status == 200, reply
    found: dict[str, object] = json.loads(reply.body)
    return found


def pid_of(server: Server, name: str) -> int:
    pid = answer(server, name)["pid"]
    assert isinstance(pid, int)
    return pid


def test_answers(server: Server, script: str) -> None:
    """The hooks run in one process of the model's own, which ends with the model."""
    said = answer(server, script)
    assert (said["data"], said["files"]) == (ROW.decode(), ["code", "notes.txt"])
    pid = pid_of(server, script)
    assert pid == said["pid"]
    assert server.client.unload(script).status == 200
    wait_until(lambda: not alive([pid]), 5, "the script's process has ended")


def test_exception(server: Server, script: str) -> None:
    """An exception is a 500 with its last line; the process lives on."""
    pid = pid_of(server, script)
    message = error_of(500, server.client.invoke(script, b"fail").body)
    assert "ValueError: no such row" in message
    assert pid_of(server, script) == pid


@pytest.mark.parametrize("how", ["die", "hang"])
def test_death(server: Server, script: str, how: str) -> None:
    """A script that dies, or has to be ended, costs its request; who asks next has it again."""
    before = server.client.invoke("bystander", ROW).body
    shard, pid = server.pid("mme-shard"), pid_of(server, script)
    error_of(500, server.client.invoke(script, how.encode()).body)
    wait_until(lambda: not alive([pid]), 5, "the script's process has ended")
    assert pid_of(server, script) != pid
    assert server.client.invoke("bystander", ROW).body == before
    assert server.pid("mme-shard") == shard


def test_not_allowed(serve: Serve, tmp_path: Path) -> None:
    """Where scripts are not allowed, an artifact with one is refused, with the cure."""
    server = serve(MME_SHARDS="1")
    canary = tmp_path / "canary"
    url = server.put("m", {"m.ubj": saved(train())})
    code = Path(url) / "code"
    code.mkdir()
    (code / "inference.py").write_text(f"open({os.fspath(canary)!r}, 'w')")
    reply = server.client.load("m", url)
    assert "set MME_ALLOW_SCRIPTS=1, or remove it" in error_of(500, reply.body)
    assert not canary.exists()


def test_end_of_the_container(serve: Serve) -> None:
    """No script outlives the container, be it in an endless loop."""
    server = serve(MME_SHARDS="1", MME_ALLOW_SCRIPTS="1")
    url = server.put("m", {})
    code = Path(url) / "code"
    code.mkdir()
    (code / "inference.py").write_text(SCRIPT)
    assert server.client.load("m", url).status == 200
    pid = pid_of(server, "m")
    os.kill(server.pid("mme-worker"), 9)
    wait_until(lambda: not alive([pid]), 10, "the script's process has ended")
