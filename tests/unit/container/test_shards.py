"""What the gate sends to a shard, seen from where MMS would be."""

import asyncio
import itertools
import os
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from container.envelope import MAX_PASSED_ON_BYTES
from container.faults import FaultError
from container.messages import Request
from container.settings import Settings
from container.shards import Shard

SECONDS = 10
ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
ANSWER = b"mme 200\n[1.0]"
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)

HEAD = struct.Struct("<2scxd5H")


class Asked(NamedTuple):
    """What a worker reads in a request."""

    operation: bytes
    until: float
    model: bytes
    content_type: bytes
    accept: bytes
    attributes: bytes
    directory: bytes
    body: bytes


def read(sent: bytes) -> Asked:
    """Read a request as a worker does."""
    magic, operation, until, *lengths = HEAD.unpack_from(sent)
    assert (magic, sent[3]) == (b"mm", 0)
    *places, end = itertools.accumulate(lengths, initial=HEAD.size)
    texts = [sent[at : at + length] for at, length in zip(places, lengths, strict=True)]
    return Asked(operation, until, *texts, sent[end:])


def run(directory: Path, case: Callable[[Shard, list[Asked]], Coroutine[Any, Any, None]]) -> None:
    """Run a case with a shard whose MMS keeps all that it is asked."""
    asked: list[Asked] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.CancelledError):
                break
            first, *lines = head.split(b"\r\n")[:-2]
            assert first == b"POST /predictions/shard-0 HTTP/1.1"
            headers = dict(line.split(b": ") for line in lines)
            assert headers.keys() == {b"Content-Type", b"Content-Length"}
            assert headers[b"Content-Type"] == b"application/x-mme"
            asked.append(read(await reader.readexactly(int(headers[b"Content-Length"]))))
            writer.write(REPLY)
        writer.close()

    async def main() -> None:
        path = directory / "mms"
        server = await asyncio.start_unix_server(serve, path)
        shard = Shard(0, path, Settings.from_environ({"MME_MODEL_ROOT": "/models"}))
        shard.serving.set()
        async with asyncio.timeout(SECONDS), server:
            try:
                await case(shard, asked)
            finally:
                shard.pool.abort()

    asyncio.run(main())


def test_what_a_worker_is_asked(tmp_path: Path) -> None:
    """Each operation says what it needs, and nothing else: the name and the path as they are."""
    name, directory = "cafe \u00e9/%41 \U0001f600", "/m/\u00e9\udcff"
    theirs = {b"content-type": b"text/csv", b"accept": b"a/b", ATTRIBUTES: b"output=labels; id=7"}
    others = {b"x-amzn-sagemaker-target-model": b"m.tar.gz", b"mme-operation": b"unload"}
    request = Request(headers=theirs | others, body=b"1,2\n")
    bare = Asked(b"", 7.25, name.encode(), b"", b"", b"", b"", b"")
    client = bare._replace(
        content_type=b"text/csv",
        accept=b"a/b",
        attributes=theirs[ATTRIBUTES],
        body=b"1,2\n",
    )

    async def case(shard: Shard, asked: list[Asked]) -> None:
        await shard.load(name, directory, 7.25)
        await shard.unload(name, 7.25)
        await shard.invoke(name, request, 7.25)
        await shard.attempt(name, directory, request, 7.25)
        place = os.fsencode(directory)
        assert asked == [
            bare._replace(operation=b"l", directory=place),
            bare._replace(operation=b"u"),
            client._replace(operation=b"i"),
            client._replace(operation=b"t", directory=place),
        ]

    run(tmp_path, case)


def test_headers_passed_on(tmp_path: Path) -> None:
    """The client's wishes go to the worker, and only what it has sent."""
    theirs = {b"content-type": b"text/\xff", b"accept": b"a/b", ATTRIBUTES: b"output=labels"}

    async def case(shard: Shard, asked: list[Asked]) -> None:
        await shard.invoke("m", Request(body=b"1"), 1.0)
        (bare,) = asked
        assert bare == Asked(b"i", 1.0, b"m", b"", b"", b"", b"", b"1")
        for field, name in zip(("content_type", "accept", "attributes"), theirs, strict=True):
            await shard.invoke("m", Request(headers={name: theirs[name]}, body=b"1"), 1.0)
            assert asked[-1] == bare._replace(**{field: theirs[name]})

    run(tmp_path, case)


@pytest.mark.parametrize("name", [b"content-type", b"accept", ATTRIBUTES])
def test_headers_too_long(tmp_path: Path, name: bytes) -> None:
    """What is longer than the platform lets through is refused, and not sent."""
    longest = b"x" * MAX_PASSED_ON_BYTES

    async def case(shard: Shard, asked: list[Asked]) -> None:
        await shard.invoke("m", Request(headers={name: longest}, body=b"1"))
        assert longest in asked[-1]
        for ask in (
            shard.invoke("m", Request(headers={name: longest + b"x"}, body=b"1")),
            shard.attempt("m", "/m", Request(headers={name: longest + b"x"}, body=b"1")),
        ):
            with pytest.raises(FaultError, match=f"{name.decode()} is over 1024 bytes") as fault:
                await ask
            assert fault.value.fault.status == 400
        assert len(asked) == 1

    run(tmp_path, case)


def test_attributes_that_are_not_ascii(tmp_path: Path) -> None:
    """The platform lets none through, and MMS would pass on something else."""

    async def case(shard: Shard, asked: list[Asked]) -> None:
        with pytest.raises(FaultError, match="not ASCII") as fault:
            await shard.invoke("m", Request(headers={ATTRIBUTES: b"output=\xe9"}, body=b"1"))
        assert fault.value.fault.status == 400
        assert asked == []

    run(tmp_path, case)
