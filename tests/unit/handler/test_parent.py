"""What a worker's parent sees of its child."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from handler import parent
from tests.support import wait_until

SECONDS = 20
# The main thread waits for ever; the other does what is asked for.
CHILD = """
import threading, time
waits = threading.Lock()
waits.acquire()
print("ready", flush=True)
threading.Thread(target=lambda: {other}, daemon=True).start()
waits.acquire()
"""


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[int]:
    """A process whose main thread sleeps."""
    command = [sys.executable, "-c", CHILD.format(other=request.param)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("child", ["exec('while True: pass')"], indirect=True)
def test_computing(child: int) -> None:
    """A process is not asleep whose main thread waits while another computes.

    Until the main thread has Python's lock for the last time the two take turns, and while one is
    looked at the other may begin to wait; the parent looks twice for that.
    """
    waits: list[str] = []

    def settled() -> bool:
        waits.append(_waits(child))
        return len(waits) > 10 and len(set(waits[-10:])) == 1 and parent._state(child) == "S"

    wait_until(settled, SECONDS, "a main thread that waits for ever")
    looks = [parent._all_asleep(child) for _ in range(200)]
    assert not any(looks)


def _waits(pid: int) -> str:
    """How often the main thread has begun to wait."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("voluntary_ctxt_switches"))


@pytest.mark.parametrize("child", ["time.sleep(60)"], indirect=True)
def test_asleep(child: int) -> None:
    """One in which nobody does anything is asleep."""
    wait_until(lambda: parent._all_asleep(child), SECONDS, "all asleep")
