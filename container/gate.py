"""The gate: the process on the public port, between the platform and MMS."""

import argparse
import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from container import log, mms, resources
from container.access import sentence_of
from container.api import Api
from container.budget import Budget
from container.connection import Connection
from container.deadlines import LOOK_SECONDS
from container.house import House
from container.journal import Journal
from container.keeper import Guest, Ledger, most_connections
from container.models import SINGLE
from container.settings import Settings
from container.shards import Shard

_SWEEP_SECONDS = 1.0
_LAST_FLUSH_SECONDS = 0.3
_IDLE_SECONDS = 1.0  # after which a connection may have to make room for another
_EMBEDDED_SECONDS = 60.0
_BODY_SHARE, _LARGE_BODIES = 8, 4  # an eighth of memory for bodies, or four of the largest
_HEAP_SHARE = 4  # of Java's heap, for bodies: it copies each once or twice


def main() -> None:
    """Serve the connections that the supervisor gives us, until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--ledger-fd", type=int, required=True)
    parser.add_argument("--run", type=Path, required=True)
    options = parser.parse_args()
    gate = Gate(Settings.from_environ(os.environ), options.run)
    channel = socket.socket(fileno=options.channel_fd)
    status = uvloop.run(gate.serve(channel, Ledger(options.ledger_fd)))
    log.flush(_LAST_FLUSH_SECONDS)
    sys.exit(status)


class Gate:
    """One gate: its API, its clients' connections, its shards."""

    def __init__(self, settings: Settings, run: Path) -> None:
        self._settings = settings
        self._run = run
        self._connections: set[Connection] = set()
        self._started = time.monotonic()
        self._arriving: set[asyncio.Task[None]] = set()

    async def serve(self, channel: socket.socket, ledger: Ledger) -> int:
        """Answer clients at once, and models as soon as the shards serve.

        Returns:
            The exit status: 0 after SIGTERM and its drain, 1 when the shards did not start.
        """
        settings, loop = self._settings, asyncio.get_running_loop()
        large = Budget(mms.heap_bytes() // _HEAP_SHARE)
        socket_path = mms.socket_path(self._run)
        self._shards = [Shard(n, socket_path, settings, large) for n in range(settings.shards)]
        journal = Journal(self._run / "models.journal")
        self._api = Api(settings, self._shards, journal)
        await self._api.restore()
        stop: asyncio.Future[int] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, stop)
        guest = self._new_guest(channel, ledger)
        largest = settings.max_request_bytes
        bodies = Budget(max(resources.memory_bytes() // _BODY_SHARE, _LARGE_BODIES * largest))
        house = House(self._api, largest, bodies, guest, self._connections, self._api.quick)
        loop.add_reader(channel, self._let_in, house, guest)
        work = [self._sweep(), self._look(), self._start(stop)]
        if settings.emf:
            work.append(self._write_embedded())
        tasks = [loop.create_task(one) for one in work]
        status = await stop
        unanswered = await self._api.drain(settings.drain_seconds)
        log.log("drained", unanswered=unanswered)
        for task in tasks:
            task.cancel()
        if settings.emf:
            self._embed()
        return status

    def _new_guest(self, channel: socket.socket, ledger: Ledger) -> Guest:
        loop = asyncio.get_running_loop()

        def when_writable(act: Callable[[], None] | None) -> None:
            if act is None:
                loop.remove_writer(channel)
            else:
                loop.add_writer(channel, act)

        return Guest(channel, ledger, when_writable)

    def _let_in(self, house: House, guest: Guest) -> None:
        """Serve who has come; one who does not fit in is told so."""
        loop = asyncio.get_running_loop()
        while (arrival := guest.next()) is not None:
            slot, client = arrival
            full = not self._has_room(most_connections(guest.ledger.slots))
            task = loop.create_task(_connect(Connection(house, slot, full), client))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    def _has_room(self, most: int) -> bool:
        """Whether there is room for another connection, if need be in the place of an idle one."""
        if len(self._connections) < most:
            return True
        since = time.monotonic() - _IDLE_SECONDS
        idle = [one for one in self._connections if one.is_idle(since)]
        if idle:
            min(idle, key=lambda connection: connection.idle_since).close_idle()
        return bool(idle)

    def _stop(self, stop: "asyncio.Future[int]") -> None:
        """The first signal begins the drain, the second cuts it short."""
        if stop.done():
            self._api.deadlines.cut_short()
        else:
            stop.set_result(0)

    async def _start(self, stop: "asyncio.Future[int]") -> None:
        """Start all shards at once; when one does not start, stop with status 1."""
        home = mms.shard_home(self._run)
        keeping = [asyncio.ensure_future(shard.keep(home)) for shard in self._shards]
        serving = asyncio.ensure_future(self._all_serving())
        try:
            async with asyncio.timeout(self._settings.start_deadline_seconds):
                await asyncio.wait([serving, *keeping], return_when=asyncio.FIRST_COMPLETED)
                for task in keeping:
                    if task.done():
                        task.result()
            if not self._settings.multi_model:
                await self._load_the_one_model()
        except Exception as error:  # whatever it is, the container cannot serve
            log.log("not started", reason=str(error) or "the shards did not start in time")
            if not stop.done():
                stop.set_result(1)
            return
        self._api.healthy = True
        seconds = round(time.monotonic() - self._started, 3)
        log.log("serving", port=self._settings.port, shards=len(self._shards), seconds=seconds)
        await asyncio.gather(*keeping)

    async def _all_serving(self) -> None:
        for shard in self._shards:
            await shard.serving.wait()

    async def _load_the_one_model(self) -> None:
        root = self._settings.model_root
        if self._api.has(SINGLE):  # an earlier gate has loaded it
            return
        answer = await self._api.load(SINGLE, str(root), str(root))
        if answer.status != 200:
            raise RuntimeError(f"the model in {root} cannot be served: {sentence_of(answer.body)}")

    async def _sweep(self) -> None:
        """Once a second, refuse what was begun too long ago, and look after hot models."""
        deadline = self._settings.receive_deadline_seconds
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            before = time.monotonic() - deadline
            for connection in tuple(self._connections):
                connection.expire(before, deadline)
            self._api.spread.sweep()

    async def _look(self) -> None:
        """Every so often, end what takes too long, and write the log."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._api.deadlines.look()
            log.flush()

    async def _write_embedded(self) -> None:
        while True:
            await asyncio.sleep(_EMBEDDED_SECONDS)
            self._embed()

    def _embed(self) -> None:
        for line in self._api.metrics.embedded_lines():
            log.say(line)


async def _connect(connection: Connection, client: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, client)
    except OSError:  # it has gone already
        client.close()
        connection.connection_lost(None)


if __name__ == "__main__":
    main()
