"""A shard: one of MMS's services, whose one worker process holds many models."""

import asyncio
import json
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from container.faults import Fault, FaultError
from container.settings import Settings
from container.upstream import Pool, Reply

HANDLER = "handler.service:handle"
_RETRY_SECONDS = 0.01
_MARK = b"mme "


class Answer(NamedTuple):
    """What a worker answered: the HTTP status, the type of the body, and the body."""

    status: int
    content_type: bytes
    body: bytes


class Shard:
    """One shard as the gate sees it."""

    def __init__(self, number: int, socket_path: Path, settings: Settings) -> None:
        self.name = f"shard-{number}"
        self.models = 0  # how many the gate has put here
        self.in_flight = 0  # calls that wait for a lane or are in one
        self._lanes = settings.lanes
        self._pool = Pool(socket_path, settings.lanes)
        self._prefix = (
            b"POST /predictions/%b HTTP/1.1\r\nContent-Type: application/octet-stream\r\n"
            % self.name.encode()
        )

    async def register(self, home: Path) -> None:
        """Wait for MMS, and have it start this shard's worker and open its lanes.

        Raises:
            RuntimeError: MMS did not start the shard.
        """
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
        while True:
            try:
                reply = await self._pool.ask(request)
            except ConnectionError:
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
        if reply.status != 200:
            raise RuntimeError(f"MMS did not start {self.name}: {_message(reply)}")

    async def load(self, key: bytes, directory: Path) -> Answer:
        """Have the worker load a model; it answers 200 also if it has it already."""
        return await self._call(b"load", key, str(directory).encode())

    async def unload(self, key: bytes) -> Answer:
        """Have the worker drop a model; it answers 200 also if it does not have it."""
        return await self._call(b"unload", key, b"")

    async def invoke(
        self, key: bytes, body: bytes, content_type: bytes | None, accept: bytes | None
    ) -> Answer:
        """Have the worker answer a client; 404 means that it does not have the model."""
        headers = []
        if content_type is not None:
            headers.append(b"mme-content-type: %b\r\n" % content_type)
        if accept is not None:
            headers.append(b"accept: %b\r\n" % accept)
        return await self._call(b"invoke", key, body, b"".join(headers))

    async def _call(
        self, operation: bytes, key: bytes, body: bytes, headers: bytes = b""
    ) -> Answer:
        """One request through MMS, for as long as the caller waits.

        Raises:
            FaultError: no answer of the worker came back; the message says what came instead.
        """
        request = b"%bContent-Length: %d\r\nmme-operation: %b\r\nmme-model: %b\r\n%b\r\n%b" % (
            self._prefix,
            len(body),
            operation,
            key,
            headers,
            body,
        )
        self.in_flight += 1
        try:
            reply = await self._pool.ask(request)
        except ConnectionError as error:
            sentence = f"the model server is restarting; try again ({error})"
            raise FaultError(Fault.UNAVAILABLE, sentence) from None
        finally:
            self.in_flight -= 1
        return _answer_of(reply)


def _answer_of(reply: Reply) -> Answer:
    """Take the worker's status off the front of its body (handler.service puts it there)."""
    if reply.status == 200 and reply.body.startswith(_MARK):
        end = reply.body.index(b"\n")
        status = int(reply.body[len(_MARK) : end])
        return Answer(status, reply.content_type, reply.body[end + 1 :])
    message = _message(reply)
    if reply.status in (500, 507):
        sentence = f"the model's process died before it answered ({message}); try again"
        raise FaultError(Fault.INTERNAL, sentence)
    raise FaultError(Fault.UNAVAILABLE, f"the model server is busy: {message}")


def _message(reply: Reply) -> str:
    """MMS's own words for an error."""
    try:
        return str(json.loads(reply.body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {reply.status}"
