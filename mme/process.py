"""``mme serve`` and ``mme local`` as processes of their own: started, waited for, stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from mme.client import Client
from mme.local.containers import tied

START_SECONDS = 60.0
STOP_SECONDS = 40.0  # longer than the container's own drain
_POLL_SECONDS = 0.01
LOCAL_READY = "ready\n"  # the line that ``mme local`` prints when its endpoints are in service


class ServeProcess:
    """A running ``mme serve`` and a client of it.

    Args:
        root: the model root.
        environ: settings beside those of this process; a port is found where none is given.
        log: a file for what it writes; without one, ``stop`` returns that.
    """

    def __init__(
        self, root: Path, environ: Mapping[str, str] | None = None, log: IO[bytes] | None = None
    ) -> None:
        settings = {"SAGEMAKER_BIND_TO_PORT": str(free_port()), "MME_MODEL_ROOT": str(root)}
        settings |= environ or {}
        self.port = int(settings["SAGEMAKER_BIND_TO_PORT"])
        self.root = root
        self.client = Client("127.0.0.1", self.port)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mme", "serve"],
            stdout=subprocess.PIPE if log is None else log,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | settings,
        )

    def wait_healthy(self) -> None:
        """Return as soon as ``GET /ping`` answers 200.

        Raises:
            RuntimeError: the container ended, or is not healthy in time.
        """
        give_up = time.monotonic() + START_SECONDS
        while not self.client.healthy():
            if self.process.poll() is not None:
                raise RuntimeError(f"mme serve ended with {self.process.returncode}")
            if time.monotonic() > give_up:
                raise RuntimeError(f"mme serve is not healthy after {START_SECONDS} s")
            time.sleep(_POLL_SECONDS)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and wait for the end; the exit status, and what it wrote.

        Raises:
            subprocess.TimeoutExpired: it did not end in time.
        """
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=STOP_SECONDS)
        self.close()
        return self.process.returncode, output or ""

    def close(self) -> None:
        """Close what this side holds of it."""
        self.client.close()
        if self.process.stdout is not None:
            self.process.stdout.close()


class LocalProcess:
    """A running ``mme local``, which ends with us, and what its clients need to find it.

    To be made in the main thread, whose end the kernel takes for that of the process.

    Args:
        state: the folder that it keeps things in.
        words: options beside it.
        environ: variables beside those of this process.
    """

    def __init__(self, state: Path, *words: str, environ: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        options = ["--port", str(self.port), "--state", str(state), *words]
        self.process = subprocess.Popen(
            tied.command(sys.executable, "-m", "mme", "local", *options),
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict(environ or {}),
        )
        self.said: list[str] = []

    @property
    def environ(self) -> dict[str, str]:
        """What ``mme local env`` would have a shell export."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def wait_ready(self) -> None:
        """Return as soon as it says that all is ready.

        Raises:
            RuntimeError: it ended.
        """
        for line in self.process.stdout or ():
            self.said.append(line.rstrip())
            if line == LOCAL_READY:
                return
        raise RuntimeError(f"mme local ended with {self.process.wait()}: {self.said}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status.

        Raises:
            subprocess.TimeoutExpired: it did not end in time.
        """
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=STOP_SECONDS)
        self.said += output.splitlines()
        return self.process.returncode


def free_port() -> int:
    """A port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
