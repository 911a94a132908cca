"""What an instance runs, started for real: a process, or our image."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop
import xgboost

from mme.client import Client
from mme.local.containers import tied
from mme.local.containers.container import Container
from mme.local.containers.docker_container import DockerContainer
from mme.local.containers.serve_container import ServeContainer
from tests.image.support import ROOT, START_SECONDS, docker
from tests.local.containers.support import (
    END_SECONDS,
    MEMORY,
    Make,
    processes,
    running,
    spec,
    until,
)
from tests.support import alive, train, wait_until

_ROW = b"1,2,3,4,5,6"


def environ(container: Container) -> list[str]:
    """Of its first process."""
    return Path(f"/proc/{processes(container)[0]}/environ").read_text().split("\0")


@pytest.mark.parametrize("loop", [asyncio, uvloop], ids=["asyncio", "uvloop"])
def test_life(make: Make, tmp_path: Path, loop: Any) -> None:
    """It starts, serves models, says what it takes, stops with status 0 and leaves nothing."""

    async def live() -> None:
        container = make()
        async with running(container) as client:
            assert container.ended() is None
            assert client.load("a", f"{container.model_root}/a/model").status == 200
            assert client.load("b", f"{container.model_root}/b/model").status == 200
            answers = [json.loads(client.invoke(name, _ROW).body) for name in "ab"]
            matrix = xgboost.DMatrix([[float(field) for field in _ROW.split(b",")]])
            assert answers == [train(seed=seed).predict(matrix).tolist() for seed in (0, 1)]
            assert 50e6 < await container.memory_bytes() < MEMORY
            assert 0.1 < await container.cpu_seconds() < 60
            pids = processes(container)
            assert pids
        assert "status 0" in str(container.ended())
        assert alive(pids) == {}
        assert await container.memory_bytes() == await container.cpu_seconds() == 0
        await container.stop()
        assert b'"path": "/models"' in (tmp_path / "instance.log").read_bytes()

    loop.run(live())


def test_loopback(make: Make) -> None:
    """It answers at its one loopback address and at no other of this machine's."""

    async def live() -> None:
        container = make()
        async with running(container):
            assert container.url_host == "127.0.0.1"
            with Client("127.0.0.2", container.url_port) as elsewhere:
                assert not elsewhere.healthy()

    uvloop.run(live())


def test_killed(make: Make) -> None:
    """When it is killed, that is noticed, with the last that it said; stopping it still works."""

    async def live() -> None:
        container = make()
        async with running(container) as client:
            client.invoke("nobody", _ROW)
            os.kill(processes(container)[0], signal.SIGKILL)
            reason = await until(container.ended, END_SECONDS, "noticed")
            assert "signal 9 (Killed)" in reason or "status 137" in reason
            assert "it said: {" in reason

    uvloop.run(live())


def test_stopped_by_force(make: Make) -> None:
    """What does not listen to SIGTERM is killed, and nothing of it is left."""

    async def live() -> None:
        container = make()
        async with running(container):
            pids = processes(container)
            if isinstance(container, DockerContainer):
                docker("pause", container.name)
            else:
                os.kill(pids[0], signal.SIGSTOP)
            await container.stop(1)
            await until(lambda: not alive(pids), END_SECONDS, "all processes gone")

    uvloop.run(live())


def test_single_model(make: Make) -> None:
    """One that is not multi-model serves its one model at ``/invocations``."""

    async def live() -> None:
        async with running(make(multi_model=False)) as client:
            headers = {"Content-Type": "text/csv"}
            reply = client.call("POST", "/invocations", _ROW, headers)
            assert reply.status == 200, reply.body
            assert len(json.loads(reply.body)) == 1

    uvloop.run(live())


def test_does_not_live(make: Make) -> None:
    """One that ends at its start says why in its last words."""

    async def live() -> None:
        container = make(environment={"MME_LANES": "many"})
        try:
            await container.start()
            reason = await until(container.ended, START_SECONDS, "its end")
            assert "status 1" in reason
            assert "MME_LANES is 'many'" in reason
        finally:
            await container.stop()

    uvloop.run(live())


def test_environment(make: Make) -> None:
    """It gets the model's environment, what the platform sets above it, and its limit of memory."""

    async def live() -> None:
        container = make(environment={"MINE": "a=b c", "AWS_REGION": "nowhere"})
        async with running(container):
            if isinstance(container, DockerContainer):
                seen = json.loads(docker("inspect", container.name))[0]
                lines = seen["Config"]["Env"]
                assert "HOSTNAME=model.aws.local" in docker("exec", container.name, "env")
                assert "SAGEMAKER_SAFE_PORT_RANGE=25000-25999" in lines
                assert seen["HostConfig"]["Memory"] == MEMORY
                ports = seen["NetworkSettings"]["Ports"]["8080/tcp"]
                assert [port["HostIp"] for port in ports] == ["127.0.0.1"]
            else:
                lines = environ(container)
                assert "MME_MODEL_MEMORY_MB=512" in lines
            assert "MINE=a=b c" in lines
            assert "AWS_REGION=eu-west-1" in lines
            assert "AWS_REGION=nowhere" not in lines
            assert "SAGEMAKER_MULTI_MODEL=true" in lines

    uvloop.run(live())


def test_memory_of_the_model(tmp_path: Path) -> None:
    """A model's own setting of the memory for models is kept."""

    async def live() -> None:
        container = ServeContainer(spec(tmp_path, environment={"MME_MODEL_MEMORY_MB": "300"}))
        async with running(container):
            assert "MME_MODEL_MEMORY_MB=300" in environ(container)

    uvloop.run(live())


_PARENT = """
import asyncio, sys
from pathlib import Path
from mme.process_tree import descendants
from mme.local.containers.serve_container import ServeContainer
from tests.local.containers.support import running, spec

async def live():
    container = ServeContainer(spec(Path(sys.argv[1])))
    async with running(container):
        print(*descendants(container.pid), flush=True)
        await asyncio.Event().wait()

asyncio.run(live())
"""


def test_ends_with_its_parent(tmp_path: Path, temporary: Path) -> None:
    """When the process that started it is killed, it ends, and leaves neither process nor file."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        cwd=ROOT,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) > 2
        assert any(temporary.glob("*/*"))
        parent.kill()
    wait_until(lambda: not alive(pids), END_SECONDS, "all processes gone")
    assert list(temporary.glob("*/*")) == []


def test_a_parent_that_has_gone(tmp_path: Path) -> None:
    """A command whose parent ended before it began is not run."""
    done = tmp_path / "done"
    words = tied.command("touch", str(done))
    ours = words.index(str(os.getpid()))
    subprocess.run([*words[:ours], "1", *words[ours + 1 :]], check=True, timeout=END_SECONDS)
    assert not done.exists()
    subprocess.run(words, check=True, timeout=END_SECONDS)
    assert done.exists()
