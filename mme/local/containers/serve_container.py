"""``mme serve`` as the container of an instance: processes of this machine, without Docker."""

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mme import process_tree
from mme.local.containers import tied
from mme.local.containers.container import HOST, ContainerError, Spec, sentence

_MIB = 1024**2
_SERVER_MB = 512  # of an instance's memory, for what is not models
_LEAST_MODEL_MB = 64  # where that leaves nothing
_KILL_SECONDS = 10.0  # for what was killed to be gone
_POLL_SECONDS = 0.01


class ServeContainer:
    """A container that is a process.

    It ends with the process that started it, which must do so in its main thread.

    Args:
        spec: what to run; its image does not matter, since there is only this one.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.url_host, self.url_port = HOST, 0
        self.model_root = str(spec.model_root.resolve())
        self._process: subprocess.Popen[bytes] | None = None
        self._port: socket.socket | None = None
        # Of its own, to be removed also after one that was killed; not below the models, where its
        # path could be too long for a socket.
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    async def start(self) -> None:
        """As of ``Container``."""
        self._spec.model_root.mkdir(parents=True, exist_ok=True)
        self._port = _reserved_port()
        self.url_port = self._port.getsockname()[1]
        try:
            self._temporary = tempfile.TemporaryDirectory(
                prefix=_prefix(self._spec.models.parents[1]), ignore_cleanup_errors=True
            )
            self._process = self._spawn(self._temporary.name)
        except OSError as error:
            raise ContainerError(f"mme serve cannot be started: {error}") from None

    def _spawn(self, temporary: str) -> "subprocess.Popen[bytes]":
        with self._spec.log.open("ab") as log:
            return subprocess.Popen(
                tied.command(sys.executable, "-m", "mme", "serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self._variables() | {"TMPDIR": temporary},
                start_new_session=True,  # a Ctrl-C of the terminal is not for it
            )

    def _variables(self) -> dict[str, str]:
        memory = max(_LEAST_MODEL_MB, self._spec.memory_bytes // _MIB - _SERVER_MB)
        return {
            "MME_MODEL_MEMORY_MB": str(memory),
            **self._spec.variables(),
            "MME_BIND_ADDRESS": HOST,
            "MME_MODEL_ROOT": self.model_root,
            "SAGEMAKER_BIND_TO_PORT": str(self.url_port),
        }

    @property
    def pid(self) -> int | None:
        """Of its first process, from ``start`` on."""
        return None if self._process is None else self._process.pid

    def ended(self) -> str | None:
        """As of ``Container``."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        how = f"ended with status {status}"
        if status < 0:
            how = f"was ended by signal {-status} ({signal.strsignal(-status)})"
        return sentence(f"mme serve {how}", self._spec.log)

    async def memory_bytes(self) -> int:
        """As of ``Container``: of all its processes."""
        if self._process is None or self._process.poll() is not None:
            return 0
        return await asyncio.to_thread(process_tree.memory_bytes, self._process.pid)

    async def cpu_seconds(self) -> float:
        """As of ``Container``: of all its processes."""
        if self._process is None or self._process.poll() is not None:
            return 0.0
        return await asyncio.to_thread(process_tree.cpu_seconds, self._process.pid)

    async def stop(self, seconds: float = 30) -> None:
        """As of ``Container``."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            if not await self._gone_within(seconds):
                self._process.kill()  # what is below it dies with it
                await self._gone_within(_KILL_SECONDS)
        if self._port is not None:
            self._port.close()
        if self._temporary is not None:
            await asyncio.to_thread(self._temporary.cleanup)

    async def _gone_within(self, seconds: float) -> bool:
        give_up = time.monotonic() + seconds
        while self._process is not None and self._process.poll() is None:
            if time.monotonic() > give_up:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True


def _prefix(instances: Path) -> str:
    """How the temporary directories begin of those whose models are below that folder."""
    return f"mme-local-{hashlib.sha256(str(instances).encode()).hexdigest()[:8]}-"


def remove_stale(instances: Path) -> None:
    """Remove the temporary directories that a run over the same folder left, which was killed.

    Args:
        instances: ``models`` of a specification is ``instances/ID/models``.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_prefix(instances)}*"):
        shutil.rmtree(left, ignore_errors=True)


def _reserved_port() -> socket.socket:
    """A port that the kernel gives to nobody else while this socket, which never listens, is open.

    Who asks for this very port, and lets addresses be reused as we do, can listen on it.
    """
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind((HOST, 0))
    return port
