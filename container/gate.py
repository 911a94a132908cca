"""The gate: the process on the public port, between the platform and MMS."""

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

import uvloop

from container.api import SINGLE, Api
from container.connection import Connection
from container.log import log
from container.settings import Settings
from container.shards import Shard

_SWEEP_SECONDS = 1.0


def main() -> None:
    """Serve on the listening socket that the supervisor hands down, until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--mms-socket", type=Path, required=True)
    parser.add_argument("--shard-home", type=Path, required=True)
    options = parser.parse_args()
    gate = Gate(Settings.from_environ(os.environ), options.mms_socket)
    listener = socket.socket(fileno=options.listen_fd)
    sys.exit(uvloop.run(gate.serve(listener, options.shard_home)))


class Gate:
    """One gate: its API, its clients' connections, its shards."""

    def __init__(self, settings: Settings, mms_socket: Path) -> None:
        self._settings = settings
        self._shards = [Shard(n, mms_socket, settings) for n in range(settings.shards)]
        self._connections: set[Connection] = set()
        self._started = time.monotonic()

    async def serve(self, listener: socket.socket, shard_home: Path) -> int:
        """Answer clients at once, and models as soon as the shards serve.

        Returns:
            The exit status: 0 after SIGTERM and its drain, 1 when the shards did not start.
        """
        self._api = Api(self._settings, self._shards)
        loop = asyncio.get_running_loop()
        stop: asyncio.Future[int] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _finish, stop, 0)
        server = await loop.create_server(self._connect, sock=listener)
        sweep = loop.create_task(self._sweep())
        start = loop.create_task(self._start(shard_home, stop))
        status = await stop
        unanswered = await self._api.drain(self._settings.drain_seconds)
        log("drained", unanswered=unanswered)
        start.cancel()
        sweep.cancel()
        server.close()
        return status

    def _connect(self) -> Connection:
        return Connection(self._api, self._settings.max_request_bytes, self._connections)

    async def _start(self, shard_home: Path, stop: "asyncio.Future[int]") -> None:
        """Start all shards at once; when one does not start, stop with status 1."""
        try:
            async with asyncio.timeout(self._settings.start_deadline_seconds):
                await asyncio.gather(*(shard.register(shard_home) for shard in self._shards))
            self._api.serving.set()
            if not self._settings.multi_model:
                await self._load_the_one_model()
        except Exception as error:  # whatever it is, the container cannot serve
            log("not started", reason=str(error) or "the shards did not start in time")
            _finish(stop, 1)
            return
        self._api.healthy = True
        seconds = round(time.monotonic() - self._started, 3)
        log("serving", port=self._settings.port, shards=len(self._shards), seconds=seconds)

    async def _load_the_one_model(self) -> None:
        root = self._settings.model_root
        answer = await self._api.load(SINGLE, str(root), root)
        if answer.status != 200:
            raise RuntimeError(answer.body.decode("utf-8", "replace"))

    async def _sweep(self) -> None:
        """Once a second, refuse what was begun too long ago, and look after hot models."""
        deadline = self._settings.receive_deadline_seconds
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            received_before = time.monotonic() - deadline
            for connection in tuple(self._connections):
                connection.expire(received_before, deadline)
            self._api.spread.sweep()


def _finish(stop: "asyncio.Future[int]", status: int) -> None:
    if not stop.done():
        stop.set_result(status)


if __name__ == "__main__":
    main()
