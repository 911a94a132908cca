"""The connections to MMS: who may send on them, and who no more."""

import asyncio
from pathlib import Path

from container.upstream import Pool

SECONDS = 10


def test_given_up_while_they_wait(tmp_path: Path) -> None:
    """All is given up: who waits for an answer is told, and who waits for a turn never asks."""
    asked: list[bytes] = []
    first = asyncio.Event()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            asked.append(data)
            first.set()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_unix_server(keep, tmp_path / "mms")
        pool = Pool(tmp_path / "mms", 1)
        one, two, three = (asyncio.ensure_future(pool.ask(b"%d" % n)) for n in range(3))
        await first.wait()
        two.cancel()
        pool.abort()
        results = await asyncio.gather(one, two, three, return_exceptions=True)
        kinds = [ConnectionError, asyncio.CancelledError, ConnectionError]
        assert [type(result) for result in results] == kinds
        assert asked == [b"0"]
        later = asyncio.ensure_future(pool.ask(b"later"))
        first.clear()
        await first.wait()
        assert asked == [b"0", b"later"]
        pool.abort()
        await asyncio.gather(later, return_exceptions=True)
        server.close()

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_given_up_while_it_connects(tmp_path: Path) -> None:
    """All is given up while a connection is being made: nothing is sent on it."""
    asked: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    async def main() -> None:
        server = await asyncio.start_unix_server(keep, tmp_path / "mms")
        pool = Pool(tmp_path / "mms", 1)
        asking = asyncio.ensure_future(pool.ask(b"x"))
        await asyncio.sleep(0)  # it connects
        pool.abort()
        (result,) = await asyncio.gather(asking, return_exceptions=True)
        assert type(result) is ConnectionError
        server.close()
        await server.wait_closed()
        assert asked in ([], [b""])

    asyncio.run(asyncio.wait_for(main(), SECONDS))
