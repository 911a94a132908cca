"""Scripts of users through the whole container: their answers, their faults, their end."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import descendants
from mme.client import Client
from tests.support import Serve, Server, alive, error_of, saved, train, wait_until

ROW = b"1,2,3,4,5,6"
SECONDS = 3
END_SECONDS = 10  # that a process may take to be gone
PACE_SECONDS = 0.02  # between looks at who should not notice
HOG_MB, MOST_MB = 120, 240  # a second one does not fit, a script without it does
ALLOWED = {"MME_SHARDS": "1", "MME_ALLOW_SCRIPTS": "1"}
SCRIPT = """
import json, os, signal

def model_fn(model_dir):
    return {"pid": os.getpid(), "files": sorted(os.listdir(model_dir))}

def input_fn(body, content_type):
    return {"type": content_type, "body": body if isinstance(body, str) else body.decode()}

def predict_fn(data, model):
    if data["body"] == "fail":
        raise ValueError("no such row")
    if data["body"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while data["body"] == "hang":
        open("hangs", "w").close()
    return model | data

def output_fn(prediction, accept):
    return json.dumps(prediction | {"accept": accept}), "application/json"
"""


def put(server: Server, name: str, script: str = SCRIPT) -> str:
    """Lay an artifact with a script, and return its directory."""
    url = server.put(name, {"notes.txt": b"x"})
    code = Path(url) / "code"
    code.mkdir()
    (code / "inference.py").write_text(script)
    return url


@pytest.fixture(scope="module")
def server(keep_serving: Serve) -> Server:
    one = keep_serving(MME_INVOKE_DEADLINE_SECONDS=str(SECONDS), **ALLOWED)
    url = one.put("bystander", {"m.ubj": saved(train())})
    assert one.client.load("bystander", url).status == 200
    return one


@pytest.fixture
def script(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """A loaded model with the script, of the test's own."""
    name = request.node.name
    reply = server.client.load(name, put(server, name))
    assert reply.status == 200, reply
    yield name
    server.client.unload(name)


def answer(server: Server, name: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What the script says that it was asked."""
    if headers is None:
        headers = {"Content-Type": "text/csv"}
    reply = server.client.call("POST", f"/models/{name}/invoke", ROW, headers)
    assert reply.status == 200, reply
    assert reply.headers["content-type"] == "application/json"
    found: dict[str, Any] = json.loads(reply.body)
    return found


def pid_of(server: Server, name: str) -> int:
    pid = answer(server, name)["pid"]
    assert isinstance(pid, int)
    return pid


def scripts_of(server: Server) -> list[int]:
    """The processes of scripts below the server."""
    commands = alive(descendants(server.process.pid))
    return [pid for pid, command in commands.items() if "handler.script_process" in command]


def gone(pids: list[int]) -> None:
    wait_until(lambda: not alive(pids), END_SECONDS, f"the end of {alive(pids)}")


def test_answers(server: Server, script: str) -> None:
    """The hooks run in one process of the model's own, which ends with the model."""
    said = answer(server, script)
    assert (said["body"], said["files"]) == (ROW.decode(), ["code", "notes.txt"])
    pid = pid_of(server, script)
    assert pid == said["pid"]
    assert list(alive([pid])) == [pid]
    assert server.client.unload(script).status == 200
    gone([pid])
    assert server.client.invoke(script, ROW).status == 404


@pytest.mark.parametrize(
    ("headers", "content_type", "accept"),
    [
        ({"Content-Type": "text/csv"}, "text/csv", "application/json"),
        ({"Content-Type": "text/csv", "Accept": "text/csv, */*"}, "text/csv", "text/csv, */*"),
        (
            {"Content-Type": "application/x-own; v=2", "Accept": "image/png;q=0.5"},
            "application/x-own; v=2",
            "image/png;q=0.5",
        ),
        ({}, None, "application/json"),
    ],
    ids=["usual", "ranges", "own", "none"],
)
def test_types(
    server: Server, script: str, headers: dict[str, str], content_type: str | None, accept: str
) -> None:
    """Hooks get the client's types as they are: nobody before them refuses or rewrites one."""
    said = answer(server, script, headers)
    assert (said["type"], said["accept"]) == (content_type, accept)


def test_exception(server: Server, script: str) -> None:
    """An exception is a 500 with its last line; the process lives on."""
    pid = pid_of(server, script)
    message = error_of(500, server.client.invoke(script, b"fail").body)
    assert message.endswith("ValueError: no such row")
    assert pid_of(server, script) == pid


@pytest.mark.parametrize(
    ("how", "words", "seconds"),
    [("die", "SIGKILL", 0), ("hang", "no answer in", SECONDS)],
    ids=["die", "hang"],
)
def test_death(server: Server, script: str, how: str, words: str, seconds: float) -> None:
    """A script that dies, or has to be ended, costs its request; who asks next has it again."""
    before = server.client.invoke("bystander", ROW)
    assert before.status == 200
    shard, pid = server.pid("mme-shard"), pid_of(server, script)
    with Client("127.0.0.1", server.port) as client, ThreadPoolExecutor(1) as pool:
        begun = time.monotonic()
        asked = pool.submit(client.invoke, script, how.encode())
        while wait([asked], PACE_SECONDS).not_done:
            assert server.client.invoke("bystander", ROW).body == before.body
        took = time.monotonic() - begun
    reply = asked.result()
    assert words in error_of(500, reply.body)
    assert seconds - 0.5 < took < seconds + END_SECONDS
    gone([pid])
    wait_until(lambda: server.client.invoke(script, ROW).status == 200, 30, "the script again")
    assert pid_of(server, script) != pid
    assert server.client.invoke("bystander", ROW).body == before.body
    assert server.pid("mme-shard") == shard


def test_not_allowed(serve: Serve, tmp_path: Path) -> None:
    """Where scripts are not allowed, an artifact with one is refused, with the cure."""
    server = serve(MME_SHARDS="1")
    canary = tmp_path / "canary"
    url = put(server, "m", f"open({os.fspath(canary)!r}, 'w')")
    (Path(url) / "m.ubj").write_bytes(saved(train()))
    reply = server.client.load("m", url)
    assert "set MME_ALLOW_SCRIPTS=1, or remove it" in error_of(500, reply.body)
    assert server.client.describe("m").status == 404
    assert not canary.exists()


def test_memory(serve: Serve) -> None:
    """What the script's process takes counts as the model's memory, until it is unloaded."""
    server = serve(MME_MODEL_MEMORY_MB=str(MOST_MB), **ALLOWED)
    hog = f"hog = bytearray(b'x') * ({HOG_MB} << 20)\n{SCRIPT}"
    urls = {name: put(server, name, hog) for name in ("one", "two")}
    assert server.client.load("one", urls["one"]).status == 200
    message = error_of(507, server.client.load("two", urls["two"]).body)
    held = re.search(r"models hold ([\d.]+) of ([\d.]+) MB", message)
    assert held is not None, message
    assert HOG_MB < float(held[1]) < MOST_MB == float(held[2])
    assert server.client.load("small", put(server, "small")).status == 200
    for name in ("one", "small"):
        assert server.client.unload(name).status == 200
    assert server.client.load("two", urls["two"]).status == 200


@pytest.mark.parametrize("how", ["stopped", "worker killed"])
def test_end_of_the_container(serve: Serve, how: str) -> None:
    """No script outlives the container or its worker, be it in an endless loop."""
    server = serve(MME_INVOKE_DEADLINE_SECONDS=str(SECONDS), **ALLOWED)
    urls = {name: put(server, name) for name in ("idle", "busy")}
    for name, url in urls.items():
        assert server.client.load(name, url).status == 200
    scripts = [pid_of(server, name) for name in urls]
    assert sorted(scripts_of(server)) == sorted(scripts)
    with Client("127.0.0.1", server.port) as client, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.invoke, "busy", b"hang")
        wait_until((Path(urls["busy"]) / "hangs").exists, END_SECONDS, "the loop")
        if how == "stopped":
            pids = [pid for found in server.processes().values() for pid in found]
            assert set(scripts) < set(pids)
            assert server.stop()[0] == 0
            gone(pids)
        else:
            os.kill(server.pid("mme-worker"), signal.SIGKILL)
            gone(scripts)
        reply = asked.result()
        assert reply.status in (500, 503)  # the latter if no worker came in time
        error_of(reply.status, reply.body)
    if how == "worker killed":  # then the request was tried once more, in a process like these
        for name in urls:
            assert server.client.unload(name).status == 200
        wait_until(lambda: not scripts_of(server), END_SECONDS, "the end of all scripts")
