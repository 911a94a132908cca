"""Faults of memory, disk and rights: the rows of the fault table that need a container's limits."""

import json
import time
from pathlib import Path

import pytest

from mme.client import Client
from tests.faults.conftest import error
from tests.image.conftest import Run
from tests.image.support import BUILD_SECONDS, docker
from tests.support import saved, train

pytestmark = [pytest.mark.docker, pytest.mark.timeout(BUILD_SECONDS + 300)]
ROW = b"1,2,3,4,5,6"
ROUNDS = 2000


def test_f81_temporary_directory_full(run: Run) -> None:
    """The temporary directory is full: models load, answer and unload all the same."""
    name, client = run("--tmpfs", "/tmp:size=2m,mode=1777")
    assert client.load("m0", "/opt/ml/models/m0/model").status == 200
    docker("exec", name, "sh", "-c", "dd if=/dev/zero of=/tmp/full bs=4k || true")
    expected = client.invoke("m0", ROW).body
    for _ in range(200):  # the journal's last page has room for some
        assert client.load("m1", "/opt/ml/models/m1/model").status == 200
        assert client.invoke("m1", ROW).status == 200
        assert client.unload("m1").status == 200
    assert client.invoke("m0", ROW).body == expected
    assert "the journal cannot be written" in docker("logs", name)


def test_f83_no_rights(container: tuple[str, Client]) -> None:
    """No root, a read-only root and one writable directory: works, and leaves nothing else."""
    name, client = container
    assert docker("exec", name, "id", "-u") == "65534"
    assert client.load("m0", "/opt/ml/models/m0/model").status == 200
    assert client.invoke("m0", ROW).status == 200
    written = docker("diff", name)
    assert all(
        line.endswith((" /tmp", " /opt", " /opt/ml", " /opt/ml/models")) or not line
        for line in written.splitlines()
    ), written


def test_f37_f38_memory(run: Run, models: Path) -> None:
    """512 MB: models come in until 507; then for each that goes one comes; never a kill.

    Two thousand rounds of one out, one in, and asked, at the limit.
    """
    directory = models / "large" / "model"
    directory.mkdir(parents=True)
    booster = train(max_depth=8, num_parallel_tree=6)
    (directory / "m.ubj").write_bytes(saved(booster))
    name, client = run("--memory", "512m", "--memory-swap", "512m")
    url, count = "/opt/ml/models/large/model", 0
    while (reply := client.load(f"x{count}", url)).status == 200:
        assert client.invoke(f"x{count}", ROW).status == 200
        count += 1
        assert count < 20_000
    error(reply, 507, "no memory for a model", "unload models")
    assert count > 100
    expected = client.invoke("x0", ROW).body
    slowest = 0.0
    for number in range(ROUNDS):
        begun = time.monotonic()
        assert client.unload(f"x{number}").status == 200
        reply = client.load(f"x{number + count}", url)
        assert reply.status == 200, (number, reply)
        reply = client.invoke(f"x{number + count}", ROW)
        assert (reply.status, reply.body) == (200, expected)
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 20
    assert len(list(client.models())) == count
    state = json.loads(docker("inspect", name))[0]["State"]
    assert (state["Running"], state["OOMKilled"]) == (True, False)
    files = "/sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control"
    events = docker("exec", name, "sh", "-c", f"cat {files} 2>/dev/null || true").split()
    assert events[events.index("oom_kill") + 1] == "0"
