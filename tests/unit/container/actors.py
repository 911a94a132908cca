"""A gate and an MMS that does what it is told, in one process."""

import asyncio
import json
import re
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from container.api import Api
from container.budget import Budget
from container.connection import Connection
from container.house import House
from container.settings import Settings
from container.shards import Shard
from tests.unit.container.support import piped, records
from tests.unit.container.test_connection_fuzz import Wire

SECONDS = 5
HEAD = struct.Struct("<2scxd5H")
LINE = b"POST /models/m/invoke HTTP/1.1\r\nHost: x\r\n"
ROW = LINE + b"Content-Type: text/csv\r\nContent-Length: 3\r\n\r\n1,2"
GOOD = b"mme 200\n[1.0]"
CLOSE, KEEP_SILENT = b"close", b"silent"  # what MMS may do instead of answering


def reply(body: bytes, status: int = 200, more: bytes = b"") -> bytes:
    """As MMS writes one."""
    head = b"HTTP/1.1 %d Some Words\r\ncontent-type: application/json\r\n%b" % (status, more)
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


@dataclass
class Mms:
    """An MMS.

    Attributes:
        answers: to invocations, in turn; when there are none left, a good one.
        asked: the operations, in turn.
        silent: invocations that it does not answer.
    """

    answers: list[bytes] = field(default_factory=list)
    asked: list[bytes] = field(default_factory=list)
    silent: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.partition(b"Length: ")[2].split()[0]))
                operation = HEAD.unpack_from(body)[1]
                self.asked.append(operation)
                answer = reply(b"mme 200\n{}")
                if operation in (b"i", b"t"):
                    answer = self.answers.pop(0) if self.answers else reply(GOOD)
                if answer == CLOSE:
                    break
                if answer == KEEP_SILENT:
                    self.silent.append(writer)
                    continue
                for piece in answer.split(b"|"):
                    writer.write(piece)
                    await asyncio.sleep(0)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        writer.close()


@dataclass
class Gate:
    """A gate with one shard and the model ``m``, and its MMS."""

    api: Api
    shard: Shard
    mms: Mms
    house: House

    def connect(self) -> tuple[Connection, Wire]:
        """A client."""
        connection, wire = Connection(self.house), Wire()
        connection.connection_made(wire)
        return connection, wire

    async def ask(self, data: bytes = ROW, answers: int = 1) -> list[tuple[Any, ...]]:
        """What a client is answered."""
        connection, wire = self.connect()
        connection.data_received(data)
        return await self.answered(connection, wire, answers)

    async def in_flight(self, asked: int = 1, waiting: int = 0) -> list[tuple[Connection, Wire]]:
        """Clients whose invocations MMS is silent about, and some that wait for a lane."""
        self.mms.answers = [KEEP_SILENT] * asked
        clients = [self.connect() for _ in range(asked + waiting)]
        for connection, _ in clients:
            connection.data_received(ROW)
        await until(lambda: len(self.mms.silent) == asked)
        return clients

    async def answered(
        self, connection: Connection, wire: Wire, answers: int = 1
    ) -> list[tuple[Any, ...]]:
        """Wait for so many answers, and hang up."""
        await until(lambda: len(read(wire.sent)) >= answers)
        connection.connection_lost(None)
        return read(wire.sent)

    @property
    def state(self) -> dict[str, Any]:
        """What must be nothing in the end."""
        model = self.api._register.get("m")
        return {
            "in flight": self.api.in_flight,
            "invocations": self.api._invocations.count,
            "of the model": model.in_flight if model else 0,
            "of the shard": self.shard.in_flight,
            "lanes": 2 - self.shard.pool._free,
            "deadlines": len(self.api.deadlines.open),
            "bytes": self.house.bodies._taken,
        }


def read(sent: bytes) -> list[tuple[Any, ...]]:
    """Status, headers and body of each answer that is whole; each request's id is its own."""
    found, ids = [], []
    while sent:
        head, blank, sent = sent.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ") for line in lines)
        length = int(headers[b"Content-Length"])
        assert blank
        assert len(sent) >= length
        ids.append(headers.pop(b"X-Request-Id"))
        found.append((status, headers, sent[:length]))
        sent = sent[length:]
    assert len(set(ids)) == len(ids)
    return found


async def until(done: Callable[[], object]) -> None:
    """Wait for something."""
    while not done():  # noqa: ASYNC110  # it is of another's making
        await asyncio.sleep(0.001)


Case = Callable[[Gate], Coroutine[Any, Any, Any]]


def run(directory: Path, case: Case, quickly: bool = True, **environ: str) -> Any:
    """Run a case; what it returns, what was asked, the log and what metrics count."""

    async def main() -> Any:
        given = {"MME_MODEL_ROOT": str(directory), "MME_LANES": "2"} | environ
        settings, mms = Settings.from_environ(given), Mms()
        path = directory / "mms"
        server = await asyncio.start_unix_server(mms, path)
        shard = Shard(0, path, settings)
        shard.serving.set()
        api = Api(settings, [shard])
        house = House(api, 10**6, Budget(10**6), None, set(), api.quick if quickly else None)
        gate = Gate(api, shard, mms, house)
        async with asyncio.timeout(SECONDS), server:
            url = str(directory / "m")
            assert (await api.load("m", url, url)).status == 200
            await gate.ask()  # a connection to MMS is open
            try:
                result = await case(gate)
                await until(lambda: not any(gate.state.values()))
            finally:
                shard.pool.abort()
            counts = api.metrics.of("m")
            return result, mms.asked, (counts.invocations, dict(counts.faults), sum(counts.buckets))

    with piped() as out:
        result = asyncio.run(main())
        said = records(out)
    for record in said:
        for varying in ("time", "id", "queue_ms", "model_ms"):
            record.pop(varying, None)
    return *result, sorted(said, key=json.dumps)


def run_both(directory: Path, case: Case, **environ: str) -> Any:
    """Run it both ways; they must not differ."""
    (directory / "1").mkdir()
    (directory / "2").mkdir()
    one = run(directory / "1", case, True, **environ)
    other = run(directory / "2", case, False, **environ)
    texts = [re.sub(r"/[12]/", "/N/", repr(result)) for result in (one, other)]
    assert texts[0] == texts[1]
    return one
