"""One instance of a training job: its ``/opt/ml`` laid out, and ``mme train`` in it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from container import resources
from mme.local.containers import tied
from mme.local.containers.container import last_words
from mme.local.training.plan import Plan
from mme.training.order import CHANNELS, HYPERPARAMETERS, RESOURCES

STOP_SECONDS = 120.0  # from SIGTERM to SIGKILL, as the platform has it
_POLL_SECONDS = 0.02
_LEFT_SECONDS = 5.0  # that the kernel may take to end what was killed


class Host:
    """An instance.

    Args:
        plan: of the job.
        number: this one's, from 0.
        root: its ``/opt/ml``.
        log: what it writes is appended to this file.
        environment: what the platform sets.
    """

    def __init__(
        self, plan: Plan, number: int, root: Path, log: Path, environment: dict[str, str]
    ) -> None:
        self.plan, self.name, self.root, self.log = plan, plan.hosts[number], root, log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def lay_out(self) -> None:
        """Make the folders, and the files that say what is asked for."""
        for folder in ("input/config", "input/data", "model", "output/data"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        if self.plan.checkpoint_url is not None:
            (self.root / "checkpoints").mkdir(exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        files = {
            HYPERPARAMETERS: self.plan.hyperparameters,
            CHANNELS: {channel.name: channel.about for channel in self.plan.channels},
            RESOURCES: {
                "current_host": self.name,
                "current_instance_type": self.plan.instance_type,
                "current_group_name": "homogeneousCluster",
                "hosts": list(self.plan.hosts),
                "instance_groups": [
                    {
                        "instance_group_name": "homogeneousCluster",
                        "instance_type": self.plan.instance_type,
                        "hosts": list(self.plan.hosts),
                    }
                ],
                "network_interface_name": "lo",
            },
        }
        for name, content in files.items():
            (self.root / "input" / "config" / name).write_text(json.dumps(content))

    def start(self) -> None:
        """Start it; in the main thread, since it is to end with us."""
        jobs = max(1, resources.cpus() // len(self.plan.hosts))  # all share this machine
        environment = {
            "MME_TRAIN_JOBS": str(jobs),
            **self.plan.environment,
            **self._environment,
            "MME_TRAIN_ROOT": str(self.root.resolve()),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tied.command(sys.executable, "-m", "mme", "train"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | environment,
                start_new_session=True,
            )
        _pid_file(self.root).write_text(str(self._process.pid))

    @property
    def status(self) -> int | None:
        """As it ended; nothing while it runs."""
        return None if self._process is None else self._process.poll()

    def failure(self) -> str:
        """Why it failed, in the platform's words."""
        try:
            said = (self.root / "output" / "failure").read_text(errors="replace")
        except OSError:
            said = last_words(self.log)
        status = self.status or 0
        code = 128 - status if status < 0 else status  # as a container's
        return f"AlgorithmError: {said}, exit code: {code}"

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End it, by force after so many seconds."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        give_up = time.monotonic() + seconds
        while process.poll() is None:
            if time.monotonic() > give_up:
                process.kill()
            await asyncio.sleep(_POLL_SECONDS)


def end_left(root: Path) -> None:
    """End the processes of a host that an earlier process of ours has left, before its folder goes.

    They end by themselves, too, but not at once.
    """
    with contextlib.suppress(OSError, ValueError):
        pid = int(_pid_file(root).read_text())
        ours = f"MME_TRAIN_ROOT={root.resolve()}\0".encode()
        give_up = time.monotonic() + _LEFT_SECONDS
        # Until they are gone: the number may be somebody else's by now, but not with this folder.
        while ours in Path(f"/proc/{pid}/environ").read_bytes() and time.monotonic() < give_up:
            os.killpg(pid, signal.SIGKILL)  # it has a session of its own
            time.sleep(_POLL_SECONDS)


def _pid_file(root: Path) -> Path:
    return root.with_name(f"{root.name}.pid")
