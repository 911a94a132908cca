"""What the gate sends to a shard, seen from where MMS would be."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from container.faults import FaultError
from container.messages import Request
from container.settings import Settings
from container.shards import MAX_PASSED_ON_BYTES, Shard

SECONDS = 10
ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
ANSWER = b"mme 200\n[1.0]"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)

Heads = list[dict[bytes, bytes]]


def run(directory: Path, case: Callable[[Shard, Heads], Coroutine[Any, Any, None]]) -> None:
    """Run a case with a shard whose MMS keeps the headers of all that it is asked."""
    heads: Heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.CancelledError):
                break
            lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:-2]]
            heads.append({name.lower(): value for name, _, value in lines})
            assert len(heads[-1]) == len(lines)  # no header twice
            await reader.readexactly(int(heads[-1][b"content-length"]))
            writer.write(REPLY)
        writer.close()

    async def main() -> None:
        path = directory / "mms"
        server = await asyncio.start_unix_server(serve, path)
        shard = Shard(0, path, Settings.from_environ({"MME_MODEL_ROOT": "/models"}))
        shard.serving.set()
        async with asyncio.timeout(SECONDS), server:
            try:
                await case(shard, heads)
            finally:
                shard._pool.abort()

    asyncio.run(main())


def test_headers_passed_on(tmp_path: Path) -> None:
    """The client's wishes go to the worker, each under one name, and only what it has sent."""
    theirs = {b"content-type": b"text/csv", b"accept": b"a/b", ATTRIBUTES: b"output=labels; id=7"}
    ours = {
        b"mme-content-type": b"text/csv",
        b"accept": b"a/b",
        b"mme-attributes": b"output=labels; id=7",
    }
    names = zip(theirs, ours, strict=True)

    async def case(shard: Shard, heads: Heads) -> None:
        await shard.invoke(b"m", Request(body=b"1"))
        (bare,) = heads
        assert not ours.keys() & bare.keys()
        for their, our in names:
            await shard.invoke(b"m", Request(headers={their: theirs[their]}, body=b"1"))
            assert heads[-1] == bare | {
                our: ours[our],
                b"mme-until": heads[-1][b"mme-until"],
            }
        others = {b"x-amzn-sagemaker-target-model": b"m.tar.gz", b"mme-operation": b"unload"}
        await shard.attempt(b"m", Path("/m"), Request(headers=theirs | others, body=b"1"))
        assert ours.items() <= heads[-1].items()
        assert heads[-1][b"mme-operation"] == b"try"
        assert heads[-1].keys() == bare.keys() | ours.keys() | {b"mme-directory"}

    run(tmp_path, case)


@pytest.mark.parametrize("name", [b"content-type", b"accept", ATTRIBUTES])
def test_headers_too_long(tmp_path: Path, name: bytes) -> None:
    """What is longer than the platform lets through is refused, and not sent."""
    longest = b"x" * MAX_PASSED_ON_BYTES

    async def case(shard: Shard, heads: Heads) -> None:
        await shard.invoke(b"m", Request(headers={name: longest}, body=b"1"))
        assert longest in heads[-1].values()
        for ask in (
            shard.invoke(b"m", Request(headers={name: longest + b"x"}, body=b"1")),
            shard.attempt(b"m", Path("/m"), Request(headers={name: longest + b"x"}, body=b"1")),
        ):
            with pytest.raises(FaultError, match=f"{name.decode()} is over 1024 bytes") as fault:
                await ask
            assert fault.value.fault.status == 400
        assert len(heads) == 1

    run(tmp_path, case)


def test_attributes_that_are_not_ascii(tmp_path: Path) -> None:
    """The platform lets none through, and MMS would pass on something else."""

    async def case(shard: Shard, heads: Heads) -> None:
        with pytest.raises(FaultError, match="not ASCII") as fault:
            await shard.invoke(b"m", Request(headers={ATTRIBUTES: b"output=\xe9"}, body=b"1"))
        assert fault.value.fault.status == 400
        assert heads == []

    run(tmp_path, case)
