"""A shard: one of MMS's services, whose one worker process holds many models."""

import asyncio
import contextlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from container import envelope
from container.budget import Budget
from container.faults import Fault, FaultError
from container.log import log
from container.messages import Request
from container.settings import Settings
from container.upstream import Pool, Reply

HANDLER = "handler.service:handle"
_RETRY_SECONDS = 0.01
_LONGEST_RETRY_SECONDS = 5.0
_FIRST_PATIENCE_SECONDS, _PATIENCE_SECONDS = 20.0, 5.0  # with MMS that starts a worker
_STARTS = 3  # that may fail, one after another, before the first that does not
_SETTLE_SECONDS = 0.05  # after a loss, for the end of a worker to be noticed too
_MARK = b"mme "
_LOST = 599  # the worker's parent says that the worker died with the request inside
SMALL_BYTES = 64 * 1024  # bodies that are not counted: not all lanes together hold a large one
_LANES_FOR_LOADS = 4  # one of so many may have a load in it: the others stay for invocations


class Answer(NamedTuple):
    """What a worker answered: the HTTP status, the type of the body, and the body."""

    status: int
    content_type: bytes
    body: bytes


class LostError(Exception):
    """A request got no answer, since what it was in has died; the message is how.

    Attributes:
        inside: the worker had it, and it may be why.
    """

    def __init__(self, how: str, inside: bool) -> None:
        super().__init__(how)
        self.inside = inside


class Shard:
    """One shard as the gate sees it.

    Args:
        number: its number, from 0.
        socket_path: where MMS listens.
        settings: of the container.
        bodies: bytes of large bodies that MMS may hold at once, of all shards.
    """

    def __init__(
        self, number: int, socket_path: Path, settings: Settings, bodies: Budget | None = None
    ) -> None:
        self.number = number
        self.name = f"shard-{number}"
        self.models = 0  # how many the gate has put here
        self.in_flight = 0  # calls that wait for a lane or are in one
        self.serving = asyncio.Event()
        self._lanes = settings.lanes
        self._load_seconds = settings.load_deadline_seconds
        self.pool = Pool(socket_path, settings.lanes)
        self._patience = _FIRST_PATIENCE_SECONDS
        self._life = socket_path.parent / f"{self.name}.life"
        self._bodies = bodies or Budget(2**62)
        self._attempts = asyncio.Semaphore(max(1, settings.lanes // _LANES_FOR_LOADS))
        self._loads = asyncio.Semaphore(max(1, settings.lanes // _LANES_FOR_LOADS))
        self.head = envelope.HEAD % self.name.encode()

    async def keep(self, home: Path) -> None:
        """Have MMS serve this shard, and again whenever MMS or the shard's worker has died.

        Raises:
            RuntimeError: MMS does not start the shard, which has never started.
        """
        retry, failed, has_served = _RETRY_SECONDS, 0, False
        while True:
            try:
                await self._register(home)
                watched = await self._watch()
            except (RuntimeError, OSError) as error:
                failed += isinstance(error, RuntimeError)
                if failed == _STARTS and not has_served:
                    raise
                await self._unregister()
                await asyncio.sleep(retry)
                retry = min(2 * retry, _LONGEST_RETRY_SECONDS)
                continue
            retry, has_served, self._patience = _RETRY_SECONDS, True, _PATIENCE_SECONDS
            self.serving.set()
            await watched
            self.serving.clear()
            log("shard lost", shard=self.name)
            self.pool.abort()
            await self._unregister()

    async def _register(self, home: Path) -> None:
        """Wait for MMS, and have it start this shard's worker and open its lanes."""
        query = urlencode(
            {
                "url": str(home),
                "model_name": self.name,
                "handler": HANDLER,
                "initial_workers": self._lanes,
                "synchronous": "true",
            }
        )
        request = f"POST /models?{query} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode()
        reply = await self._ask_until_it_is_there(request)
        if reply.status not in (200, 409):  # 409: an earlier gate has had it started
            raise RuntimeError(f"MMS did not start {self.name}: {_message(reply)}")

    async def _unregister(self) -> None:
        """Have MMS forget a worker that is gone; it would keep requests for it without end."""
        request = b"DELETE /models/%b HTTP/1.1\r\nContent-Length: 0\r\n\r\n" % self.name.encode()
        await self._ask_until_it_is_there(request)

    async def _ask_until_it_is_there(self, request: bytes) -> Reply:
        """Ask MMS, again if it is not there, and have it end if it does not answer.

        It does not when a worker ends before it has said that it started.
        """
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    return await self.pool.ask(request)
            except ConnectionError:
                await asyncio.sleep(_RETRY_SECONDS)
            except TimeoutError:
                log("hangs", part="MMS", shard=self.name, seconds=self._patience)
                self._patience *= 2
                self.pool.kill_server()

    async def _watch(self) -> "asyncio.Future[object]":
        """What is done when the worker's parent ends: its end of a connection is closed then.

        Raises:
            OSError: it has ended already.
        """
        if not self._life.exists():  # MMS's own worker, which nobody can watch
            return asyncio.get_running_loop().create_future()
        reader, writer = await asyncio.open_unix_connection(str(self._life))

        async def end() -> None:
            with contextlib.closing(writer), contextlib.suppress(OSError):
                await reader.read()

        return asyncio.ensure_future(end())

    async def load(self, name: str, directory: str, until: float = 0) -> Answer:
        """Have the worker load a model; it answers 200 also if it has it already.

        Args:
            name: of the model.
            directory: where its files are.
            until: ``time.monotonic()`` after which nobody waits; 0 is the longest load from now.

        Raises:
            LostError: the worker died.
        """
        async with self._loads:
            return await self._call(envelope.LOAD, name, until, directory=directory)

    async def unload(self, name: str, until: float = 0) -> Answer:
        """Have the worker drop a model; it answers 200 also if it does not have it.

        Raises:
            LostError: the worker died, and the model with it.
        """
        return await self._call(envelope.UNLOAD, name, until)

    async def invoke(self, name: str, request: Request, until: float = 0) -> Answer:
        """Have the worker answer a client; 404 means that it does not have the model.

        Raises:
            LostError: the worker died.
        """
        return await self._call(envelope.INVOKE, name, until, request)

    async def attempt(
        self, name: str, directory: str, request: Request, until: float = 0
    ) -> Answer:
        """Have a client answered in a process of its own, which nobody else is in.

        Raises:
            LostError: the worker died, which is not to do with this request.
        """
        async with self._attempts:
            return await self._call(envelope.TRY, name, until, request, directory)

    async def _call(
        self,
        operation: bytes,
        name: str,
        until: float,
        request: Request | None = None,
        directory: str = "",
    ) -> Answer:
        """One request through MMS, for as long as the caller waits."""
        texts = envelope.passed_on(request.headers) if request is not None else envelope.NOTHING
        if not self.serving.is_set():
            await self.serving.wait()
        until = until or time.monotonic() + self._load_seconds
        body = request.body if request is not None else b""
        message = envelope.seal(
            self.head, operation, until, name.encode(), texts, os.fsencode(directory), body
        )
        large = len(body) if len(body) > SMALL_BYTES else 0
        if large:
            await self._bodies.take(large)
        self.in_flight += 1
        try:
            reply = await self.pool.ask(message, request)
        except ConnectionError as error:
            raise await lost(error) from None
        finally:
            self.in_flight -= 1
            if large:
                self._bodies.give_back(large)
        return answer_of(reply)


async def lost(error: ConnectionError) -> LostError:
    """What has become of a request whose connection to MMS has ended."""
    await asyncio.sleep(_SETTLE_SECONDS)
    return LostError(f"the model server has gone ({error})", inside=False)


def answer_of(reply: Reply) -> Answer:
    """Take the worker's status off the front of its body (handler.service puts it there).

    Raises:
        LostError: the worker died with the request inside it.
        FaultError: MMS has not passed the request on.
    """
    if reply.status == 200 and reply.body.startswith(_MARK):
        end = reply.body.index(b"\n")
        status = int(reply.body[len(_MARK) : end])
        body = reply.body[end + 1 :]
        if status == _LOST:
            raise LostError(body.decode("utf-8", "replace"), inside=True)
        return Answer(status, reply.content_type, body)
    message = _message(reply)
    if reply.status in (500, 507):
        raise LostError(message, inside=True)
    raise FaultError(Fault.UNAVAILABLE, f"the model server is busy: {message}")


def _message(reply: Reply) -> str:
    """MMS's own words for an error."""
    try:
        return str(json.loads(reply.body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {reply.status}"
