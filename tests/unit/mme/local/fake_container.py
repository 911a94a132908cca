"""A multi-model container to test with: its API over real HTTP, with room, gates and mistakes."""

import asyncio
import contextlib
import functools
import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec

import pytest
import uvloop

from mme import artifacts
from mme.local.aws.objects import Objects
from mme.local.containers.container import HOST, Container
from mme.local.runtime.cache import Surroundings
from mme.local.runtime.deployment import Variant
from mme.local.runtime.history import Events
from mme.local.runtime.meter import Meter
from mme.local.settings import Settings

SECONDS = 20.0
BUCKET = "models"
LATE = b"late"  # the body of an invocation whose answer is held back
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"  # which it sends back as they came
KINDS = ("ping", "list", "describe", "load", "unload", "invoke")
P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an asynchronous test in the loop of ``mme local``; it has a deadline."""

    @functools.wraps(test)
    def run(*words: P.args, **more: P.kwargs) -> None:
        uvloop.run(asyncio.wait_for(test(*words, **more), 2 * SECONDS))

    return run


async def until(condition: Callable[[], Any], what: str) -> None:
    """Return when the condition holds; fail when the time is over."""
    give_up = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > give_up:
            pytest.fail(f"{what} not within {SECONDS} s")
        await asyncio.sleep(0.001)


class FakeServer:
    """The API of a multi-model container.

    Args:
        room: so many models fit, those that are being loaded among them.

    Attributes:
        models: that are loaded, or being so, by name.
        calls: how often it was asked, by kind.
        refused: loads that it had no room for.
        accepted: connections.
        gates: by kind; while one is clear, what it is asked of that kind is not answered.
        late: while it is clear, invocations with the body ``LATE`` have a result, but no answer.
        statuses: by kind, what it answers instead, without doing it.
        heard: the headers of the newest request.
        breaks: it closes a connection instead of answering a second request on it.
    """

    def __init__(self, room: int = 1000) -> None:
        self.room, self.port = room, 0
        self.refused = self.accepted = 0
        self.models: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.gates = {kind: asyncio.Event() for kind in KINDS}
        self.late = asyncio.Event()
        for gate in (*self.gates.values(), self.late):
            gate.set()
        self.statuses: dict[str, int] = {}
        self.heard: dict[str, str] = {}
        self.breaks = False
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Be gone, and with it what has not been answered."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = (asyncio.IncompleteReadError, ConnectionError)
        with contextlib.closing(writer), contextlib.suppress(*gone):
            again = False
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                if self.breaks and again:
                    return
                again = True
                method, path, _ = head[0].split(" ")
                status, answer = await self._answer(method, path, body)
                self.heard = headers
                echoed = headers.get(ATTRIBUTES)
                more = f"{ATTRIBUTES}: {echoed}\r\n".encode() if echoed else b""
                length = b"Content-Length: %d\r\n" % len(answer)
                writer.write(b"HTTP/1.1 %d x\r\n" % status + more + length + b"\r\n" + answer)
                await writer.drain()

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        kind = _kind(method, path)
        self.calls[kind] += 1
        name = json.loads(body)["model_name"] if kind == "load" else f"{path}//".split("/")[2]
        status = self.statuses.get(kind) or (self._admit(name) if kind == "load" else 0)
        await self.gates[kind].wait()
        if not status:
            status = 200 if kind in ("ping", "list") or name in self.models else 404
            if kind == "unload":
                self.models.discard(name)
        if body == LATE:
            await self.late.wait()
        return status, b"1" if kind == "invoke" else b"{}"

    def _admit(self, name: str) -> int:
        """Where there is room, a model takes it as soon as its load begins."""
        if name in self.models:
            return 409
        if len(self.models) >= self.room:
            self.refused += 1
            return 507
        self.models.add(name)
        return 200


def _kind(method: str, path: str) -> str:
    if path == "/ping":
        return "ping"
    if path == "/models":
        return "load" if method == "POST" else "list"
    if path.endswith("/invoke"):
        return "invoke"
    return "unload" if method == "DELETE" else "describe"


class FakeContainer:
    """A container of an instance.

    Attributes:
        server: its API.
        end: how it has ended, if it has.
    """

    def __init__(self, fleet: "Fleet") -> None:
        self.url_host, self.url_port, self.model_root = HOST, 0, "/models"
        self.server = FakeServer()
        self.end: str | None = None
        self.fleet = fleet

    async def start(self) -> None:
        """As of ``Container``."""
        self.fleet.starting += 1
        try:
            await self.fleet.starts.wait()
        finally:
            self.fleet.starting -= 1
        if self.fleet.start_error is not None:
            raise self.fleet.start_error
        self.server.statuses["ping"] = self.fleet.ping_status
        await self.server.start()
        self.url_port = self.server.port
        self.fleet.running.append(self)

    def ended(self) -> str | None:
        """As of ``Container``."""
        return self.end

    async def memory_bytes(self) -> int:
        """As of ``Container``."""
        return 0

    async def cpu_seconds(self) -> float:
        """As of ``Container``."""
        return 0.0

    async def stop(self, seconds: float = 30) -> None:
        """As of ``Container``."""
        del seconds
        await self.server.close()
        if self in self.fleet.running:
            self.fleet.running.remove(self)
        if self.fleet.stop_error is not None:
            raise self.fleet.stop_error


class Fleet:
    """Makes containers, and knows those that run.

    Attributes:
        running: those that have been started and not been stopped.
        starting: how many are being started.
        starts: while it is clear, no start comes to its end.
        ping_status: of those that are started from now on; 0 leaves it to them.
        make_error: that making one raises, if any.
        start_error: that starting one raises, if any.
        stop_error: that stopping one raises when it has been stopped, if any.
    """

    def __init__(self) -> None:
        self.running: list[FakeContainer] = []
        self.starting = self.ping_status = 0
        self.starts = asyncio.Event()
        self.starts.set()
        self.make_error: Exception | None = None
        self.start_error: Exception | None = None
        self.stop_error: Exception | None = None

    def make(self, identity: str, around: Surroundings, variant: Variant, home: Path) -> Container:
        """As ``Make`` has it."""
        del identity, around, variant, home
        if self.make_error is not None:
            raise self.make_error
        return FakeContainer(self)


def variant(**more: Any) -> Variant:
    """A variant over the bucket."""
    fields = {
        "name": "AllTraffic",
        "model_name": "m",
        "image": "i",
        "model_data_url": f"s3://{BUCKET}/",
        "multi_model": True,
        "cache_enabled": True,
        "environment": {},
        "instance_type": "ml.m5.xlarge",
        "instance_count": 1,
        "weight": 1.0,
        "volume_gb": 30,
        "start_seconds": 10,
        **more,
    }
    return Variant(**fields)


def surroundings(folder: Path, *targets: str, **settings: float) -> Surroundings:
    """What instances share, with these models in the bucket."""
    bucket = folder / "s3" / BUCKET
    bucket.mkdir(parents=True, exist_ok=True)
    for target in targets:
        (bucket / target).write_bytes(artifacts.pack({"xgboost-model": b"any"}))
    return Surroundings(
        endpoint="e",
        region="us-east-1",
        account="123456789012",
        objects=Objects(folder / "s3"),
        meter=Meter(60),
        events=Events(),
        settings=Settings(**settings),
    )
