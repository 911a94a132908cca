"""HTTP to a container that ends connections, or its answers, as it likes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import pytest

from mme.local.runtime.wire import LostError, Wire
from tests.unit.mme.local.fake_container import FakeServer, in_loop, until


@contextlib.asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, FakeServer]]:
    """A container that listens, and a wire to it."""
    server = FakeServer()
    await server.start()
    wire = Wire(lambda: ("127.0.0.1", server.port))
    try:
        yield wire, server
    finally:
        wire.close()
        await server.close()


@contextlib.asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[Wire]:
    """A wire to who answers anything with these bytes, and closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        wire = Wire(lambda: ("127.0.0.1", port))
        yield wire
        wire.close()


@in_loop
async def test_kept() -> None:
    """Requests one after another go over one connection."""
    async with wired() as (wire, server):
        for _ in range(3):
            assert (await wire.ask(b"GET", b"/ping")).status == 200
        assert server.accepted == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
@pytest.mark.parametrize("body", [b"", b"42"])
@in_loop
async def test_ends_with_connection(head: bytes, body: bytes) -> None:
    """An answer without a length ends with its connection, and is whole."""
    async with saying(head + body) as wire:
        answer = await wire.ask(b"POST", b"/invocations", b"1")
        assert (answer.status, answer.body) == (200, body)


@in_loop
async def test_parts_that_end_with_connection() -> None:
    """So does one that is handed on in parts."""
    parts: list[bytes] = []

    def on_part(headers: Mapping[bytes, bytes], part: bytes) -> None:
        assert headers[b"content-type"] == b"text/csv"
        parts.append(part)

    async with saying(b"HTTP/1.0 200 OK\r\nContent-Type: text/csv\r\n\r\n42") as wire:
        answer = await wire.ask(b"POST", b"/invocations", b"1", on_part=on_part)
        assert (answer.body, b"".join(parts)) == (b"", b"42")


@pytest.mark.parametrize(
    ("answer", "begun"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Ty", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n42", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n42\r\n", True),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", True),
    ],
)
@in_loop
async def test_cut(answer: bytes, begun: bool) -> None:
    """An answer that is cut short, or is none, is lost, and it is known whether it had begun."""
    async with saying(answer) as wire:
        with pytest.raises(LostError) as raised:
            await wire.ask(b"POST", b"/invocations", b"1")
        assert raised.value.begun is begun


@pytest.mark.parametrize("method", [b"GET", b"DELETE"])
@in_loop
async def test_closed_meanwhile(method: bytes) -> None:
    """What may be asked twice is asked anew when the container has closed a kept connection."""
    async with wired() as (wire, server):
        server.models.add("a")
        assert (await wire.ask(b"GET", b"/ping")).status == 200
        server.breaks = True
        assert (await wire.ask(method, b"/models/a")).status == 200
        assert server.accepted == 2
        assert server.models == (set() if method == b"DELETE" else {"a"})


@in_loop
async def test_post_closed_meanwhile() -> None:
    """An invocation is not repeated here: the container may have begun with it."""
    async with wired() as (wire, server):
        assert (await wire.ask(b"GET", b"/ping")).status == 200
        server.breaks = True
        with pytest.raises(LostError) as raised:
            await wire.ask(b"POST", b"/models/a/invoke", b"1")
        assert not raised.value.begun
        assert server.accepted == 1


@in_loop
async def test_cancelled() -> None:
    """The answer to who was cancelled is given to nobody else."""
    async with wired() as (wire, server):
        server.gates["invoke"].clear()
        asked = asyncio.create_task(wire.ask(b"POST", b"/models/a/invoke", b"1"))
        await until(lambda: server.calls["invoke"], "the request")
        asked.cancel()
        await asyncio.wait([asked])
        server.gates["invoke"].set()
        assert (await wire.ask(b"GET", b"/models/a")).body == b"{}"
        assert server.accepted == 2


@in_loop
async def test_close() -> None:
    """When the wire is closed, what still waits for an answer is lost."""
    async with wired() as (wire, server):
        server.gates["invoke"].clear()
        asked = asyncio.create_task(wire.ask(b"POST", b"/models/a/invoke", b"1"))
        await until(lambda: server.calls["invoke"], "the request")
        wire.close()
        with pytest.raises(LostError):
            await asked


@in_loop
async def test_nobody_listens() -> None:
    """A container that does not listen has lost the request before it began."""
    async with wired() as (wire, server):
        await server.close()
        with pytest.raises(LostError) as raised:
            await wire.ask(b"GET", b"/ping")
        assert not raised.value.begun
