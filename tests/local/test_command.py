"""``mme local`` as a command: what it says, and what it leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from mme.client import Client
from mme.process import free_port
from mme.process_tree import descendants
from tests.local.conftest import QUICK, Start
from tests.local.support import SECONDS, Local, drop
from tests.support import alive, sockets, wait_until

MME = [sys.executable, "-m", "mme"]


def said(*words: str) -> "subprocess.CompletedProcess[str]":
    """What the command says, of one that ends by itself."""
    command = [*MME, "local", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_env(local: Local) -> None:
    """What it prints for a shell is all that boto3 needs."""
    script = f'eval "$({sys.executable} -m mme local env --port {local.port})"; env -0'
    mine = {name: value for name, value in os.environ.items() if name != "NO_PROXY"}
    done = subprocess.run(
        ["bash", "-c", script],
        env=mine,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    environ = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    assert {name: environ[name] for name in local.environ} == local.environ
    session = boto3.Session(
        environ["AWS_ACCESS_KEY_ID"],
        environ["AWS_SECRET_ACCESS_KEY"],
        region_name=environ["AWS_DEFAULT_REGION"],
    )
    identity = session.client("sts", endpoint_url=environ["AWS_ENDPOINT_URL"])
    assert identity.get_caller_identity()["Account"] == "123456789012"


def test_port_in_use(local: Local, tmp_path: Path) -> None:
    """A port that somebody has is one line, and the end."""
    done = said("--port", str(local.port), "--state", str(tmp_path / "state"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"mme local: port {local.port} cannot be taken")
    assert done.stderr.count("\n") == 1


def test_state_in_use(local: Local) -> None:
    """Two cannot have their state in one folder."""
    done = said("--port", str(free_port()), "--state", str(local.state))
    assert done.returncode == 1
    assert f"another mme local has its state in {local.state}" in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--models", "nowhere", "--endpoint", "e"), "there is no folder nowhere"),
        (("--models", "container", "--endpoint", "e"), "there is no *.tar.gz in container yet"),
        (("--models", "tests"), "--models and --endpoint belong together"),
        (("--state", "/proc/state"), "/proc/state cannot be written"),
    ],
)
def test_mistakes(words: tuple[str, ...], text: str) -> None:
    """A mistake in the command is one line that says which."""
    done = said("--port", str(free_port()), *words)
    assert done.returncode in (1, 2)
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


def test_state_that_is_none(tmp_path: Path) -> None:
    """A state that cannot be read is one line, too, and is left as it is."""
    (tmp_path / "control.sqlite").write_bytes(b"these are not the bytes of a database" * 100)
    done = said("--port", str(free_port()), "--state", str(tmp_path))
    assert done.returncode == 1
    assert "control.sqlite" in done.stderr
    assert "Traceback" not in done.stderr


def test_profile_of_the_shell(start_local: Start, model: bytes) -> None:
    """A profile or a proxy of the shell does not keep metrics from where they belong."""
    shell = {"AWS_PROFILE": "nobody", "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": ""}
    local = start_local(**QUICK, **shell)
    local.bucket("profile", {"a.tar.gz": model})
    local.create("profile", "profile")
    local.invoke("profile", "a.tar.gz")
    listed = local.client("cloudwatch").list_metrics(Namespace="AWS/SageMaker")["Metrics"]
    assert "Invocations" in {metric["MetricName"] for metric in listed}
    assert local.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(start_local: Start, model: bytes, number: int) -> None:
    """A signal to stop ends every process, with status 0, and removes what instances unpacked."""
    local = start_local(**QUICK)
    local.bucket("stopped", {"a.tar.gz": model})
    local.create("stopped", "stopped")
    local.invoke("stopped", "a.tar.gz")
    everything = descendants(local.process.pid)[1:]
    assert len(everything) > 5
    assert local.stop(number) == 0
    wait_until(lambda: not alive(everything), SECONDS, "the end of all processes")
    assert list((local.state / "instances").iterdir()) == []


def test_no_other_address(local: Local) -> None:
    """It listens on loopback alone, and so do its containers and moto."""
    inodes = sockets(descendants(local.process.pid))
    for table, loopback in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                assert fields[1].partition(":")[0] == loopback, line


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:4599"}, 200),
        ({"Host": "bucket.localhost:4599"}, 200),
        ({"Origin": "http://127.0.0.1:4599"}, 200),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "127.0.0.1.example"}, 403),
        ({"Origin": "https://example.com"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_other_sites(local: Local, headers: dict[str, str], status: int) -> None:
    """A page of another site cannot have a browser speak to it, under whatever name."""
    with Client("127.0.0.1", local.port) as client:
        assert client.call("GET", "/_mme/state", headers=headers).status == status
        target = {"X-Amz-Target": "SageMaker.ListModels"}
        answer = client.call("POST", "/", b"{}", {**headers, **target})
        assert answer.status == status


def test_folder_of_somebody_else(tmp_path: Path) -> None:
    """A folder with other things in it is no state, and nothing in it is touched."""
    (tmp_path / "instances" / "mine").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    done = said("--port", str(free_port()), "--state", str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path} has work, so it is no state of mme local's" in done.stderr
    assert (tmp_path / "instances" / "mine").is_dir()


def test_folder_of_models_is_left_as_it_is(
    start_local: Start, tmp_path: Path, model: bytes
) -> None:
    """What lies in the folder of --models stays, though it is called like files of ours."""
    drop(tmp_path, "a.tar.gz", model)
    (tmp_path / ".mme-notes").write_text("mine")
    (tmp_path / ".mme-local").mkdir()
    local = start_local("--models", str(tmp_path), "--endpoint", "kept", **QUICK)
    assert len(local.invoke("kept", "a.tar.gz")) == 1
    assert (tmp_path / ".mme-notes").read_text() == "mine"
    assert (tmp_path / ".mme-local").is_dir()
    assert local.stop() == 0


def test_objects_that_cannot_be_kept(tmp_path: Path) -> None:
    """Where moto cannot read its own file, that is one line, too."""
    (tmp_path / "s3.sqlite").write_bytes(b"these are not the bytes of a database" * 100)
    done = said("--port", str(free_port()), "--state", str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize("path", ["invocations/", "async-invocations", "nothing"])
def test_no_such_call(local: Local, path: str) -> None:
    """What the runtime does not have is refused in its own words, signed or not."""
    with Client("127.0.0.1", local.port) as client:
        answer = client.call("POST", f"/endpoints/any/{path}", b"1")
        assert answer.status == 400
        assert answer.headers["x-amzn-errortype"] == "ValidationError"
        assert client.call("GET", "/endpoints/any/invocations").status == 400
