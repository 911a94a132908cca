"""Moto, in a process of its own: started, and started again on the same port when it dies."""

import asyncio
import contextlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)
_STOP_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_REST_SECONDS = 1.0


class MotoError(Exception):
    """It does not start; the message is the one line to print."""


class Moto:
    """The process.

    Args:
        state: the state directory.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """Its port; it ends with the block.

        Raises:
            MotoError: it does not start.
        """
        try:
            self.port = self._port_of(self._start())
            yield self.port
        finally:
            if self._child is not None:
                _end(self._child)

    def _start(self) -> "subprocess.Popen[bytes]":
        words = ["--state", str(self._state), "--port", str(self.port)]
        self._child = subprocess.Popen(
            [sys.executable, "-m", "mme.local.aws.moto_child", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            process_group=0,  # a Ctrl-C of the terminal is not for it
        )
        return self._child

    @staticmethod
    def _port_of(child: "subprocess.Popen[bytes]") -> int:
        """Read the line with which it says that it listens."""
        line = child.stdout.readline() if child.stdout is not None else b""
        if not line:
            raise MotoError(f"moto did not start: exit status {child.wait()}")
        return int(json.loads(line)["port"])

    async def keep(self) -> None:
        """Start it again whenever it has died; what it had in memory is lost, buckets are not."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if self._child is not None and self._child.poll() is not None:
                status = self._child.returncode
                logger.warning(
                    "moto ended with %s and is started again; metrics, roles, policies are gone",
                    status,
                )
                _end(self._child)
                try:
                    await asyncio.to_thread(self._port_of, self._start())
                except MotoError:
                    await asyncio.sleep(_REST_SECONDS)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()
