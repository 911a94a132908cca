"""The gate's side of MMS: HTTP over a Unix socket, one request at a time on each connection.

One at a time because MMS answers pipelined requests in any order, and so swaps answers.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import NamedTuple, cast

import httptools

from container.faults import Fault, FaultError
from container.messages import Request

_CONTENT_TYPE_BYTES = len(b"content-type")  # looked at first, for there are six other headers
_CONNECT_SECONDS = 1.0
_WHO = struct.Struct("3i")  # process, user and group, as the kernel tells them of a peer
_AT_ONCE_SECONDS = 0.001  # who has had to wait for longer may have been given up meanwhile


class Reply(NamedTuple):
    """What MMS answered."""

    status: int
    content_type: bytes
    body: bytes


class Upstream(asyncio.Protocol):
    """One connection to MMS."""

    def __init__(self) -> None:
        self.usable = True
        self._loop = asyncio.get_running_loop()
        self._reply: asyncio.Future[Reply] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    async def ask(self, request: bytes) -> Reply:
        """Send one request and wait for its answer.

        Raises:
            ConnectionError: MMS closed the connection, or sent what is not HTTP.
        """
        self._reply = self._loop.create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._content_type = b""
        self._body: list[bytes] = []
        self._transport.write(request)
        return await self._reply

    def abort(self) -> None:
        """Give the connection up: whatever still comes on it belongs to nobody."""
        self.usable = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not an HTTP response: {error}"))
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the one header that matters."""
        if len(name) == _CONTENT_TYPE_BYTES and name.lower() == b"content-type":
            self._content_type = value

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._reply is not None and not self._reply.done():
            body = b"".join(self._body)
            self._reply.set_result(Reply(self._parser.get_status_code(), self._content_type, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was asked and not answered."""
        self.usable = False
        self._fail(ConnectionError(str(exc or "MMS closed the connection")))

    def _fail(self, error: ConnectionError) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)


class Pool:
    """A bounded number of connections to MMS; who finds none free waits in turn."""

    def __init__(self, socket_path: Path, size: int) -> None:
        self._socket_path = str(socket_path)
        self._free = asyncio.Semaphore(size)
        self._idle: list[Upstream] = []
        self._busy: set[Upstream] = set()

    async def ask(self, message: bytes, client: Request | None = None) -> Reply:
        """Send one request on a free connection; who waits too long cancels.

        Args:
            message: the request's bytes.
            client: whose it is; noted in it is when it was sent and answered.

        Raises:
            ConnectionError: MMS is not there, or went away before it answered.
            FaultError: the client went away while its request waited.
        """
        asked_at = time.monotonic()
        async with self._free:
            if client is not None:
                client.sent_at = time.monotonic()
                if client.gone and client.sent_at > asked_at + _AT_ONCE_SECONDS:
                    raise FaultError(Fault.CLIENT_GONE, "the client has left")
            upstream = self._idle_one() or await self._connect()
            self._busy.add(upstream)
            try:
                reply = await upstream.ask(message)
            except BaseException:  # a cancelled request too: its answer must reach nobody else
                upstream.abort()
                raise
            finally:
                self._busy.discard(upstream)
            if client is not None:
                client.answered_at = time.monotonic()
            if upstream.usable:
                self._idle.append(upstream)
            return reply

    def _idle_one(self) -> Upstream | None:
        while self._idle:
            upstream = self._idle.pop()
            if upstream.usable:
                return upstream
        return None

    async def _connect(self) -> Upstream:
        loop = asyncio.get_running_loop()
        try:
            _, upstream = await loop.create_unix_connection(Upstream, self._socket_path)
        except OSError as error:
            raise ConnectionError(f"MMS is not there: {error}") from error
        return upstream

    def kill_server(self) -> None:
        """End who listens at the other end; it is started again by whoever keeps it running."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_CONNECT_SECONDS)
            connection.connect(self._socket_path)
            who = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _WHO.size)
            os.kill(_WHO.unpack(who)[0], signal.SIGKILL)

    def abort(self) -> None:
        """Close all connections: what waits for an answer gets none."""
        while self._idle:
            self._idle.pop().abort()
        for upstream in tuple(self._busy):
            upstream.abort()
