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
from collections import deque
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import httptools

from container.faults import Fault, FaultError
from container.heads import read_reply
from container.messages import Request

_CONTENT_TYPE_BYTES = len(b"content-type")  # looked at first, for there are six other headers
_CONNECT_SECONDS = 1.0
_WHO = struct.Struct("3i")  # process, user and group, as the kernel tells them of a peer
AT_ONCE_SECONDS = 0.001  # who has had to wait for longer may have been given up meanwhile


class Reply(NamedTuple):
    """What MMS answered."""

    status: int
    content_type: bytes
    body: bytes


def client_gone() -> FaultError:
    """The fault of a client that went away while its request waited."""
    return FaultError(Fault.CLIENT_GONE, "the client has left")


class Listener(Protocol):
    """Who has asked, and is told once."""

    def answered(self, reply: Reply) -> None:
        """Here is the answer."""

    def lost(self, error: ConnectionError) -> None:
        """There will be none."""


class Upstream(asyncio.Protocol):
    """One connection to MMS.

    Args:
        those: all that are open.
    """

    def __init__(self, those: "set[Upstream]") -> None:
        self.usable = True
        self._those = those
        self._listener: Listener | None = None
        self._parser: httptools.HttpResponseParser | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)  # so that what is written goes out at once
        self._those.add(self)

    def send(self, request: bytes, listener: Listener) -> None:
        """Send one request, and tell the listener when it is answered."""
        self._listener = listener
        self._transport.write(request)

    async def ask(self, request: bytes) -> Reply:
        """Send one request and wait for its answer.

        Raises:
            ConnectionError: MMS closed the connection, or sent what is not HTTP.
        """
        waiter = _Waiter()
        self.send(request, waiter)
        return await waiter.reply

    def abort(self) -> None:
        """Give the connection up: whatever still comes on it belongs to nobody."""
        self.usable = False
        self._transport.abort()

    def forsake(self) -> None:
        """Give it up, and hear no more of what was asked."""
        self._listener = None
        self.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came; most answers come whole, and as one expects."""
        if self._parser is None:
            plain = read_reply(data)
            if plain is not None:
                self._tell(Reply(200, *plain))
                return
            self._parser = httptools.HttpResponseParser(self)
            self._content_type = b""
            self._body: list[bytes] = []
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abort()
            self._fail(ConnectionError(f"not an HTTP response: {error}"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the one header that matters."""
        if len(name) == _CONTENT_TYPE_BYTES and name.lower() == b"content-type":
            self._content_type = value

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        parser, self._parser = self._parser, None
        if parser is not None:
            self.usable = self.usable and parser.should_keep_alive()
            body = b"".join(self._body)
            self._tell(Reply(parser.get_status_code(), self._content_type, body))

    def _tell(self, reply: Reply) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.answered(reply)
        else:
            self.abort()  # nobody has asked

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was asked and not answered."""
        self.usable = False
        self._those.discard(self)
        self._fail(ConnectionError(str(exc or "MMS closed the connection")))

    def _fail(self, error: ConnectionError) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.lost(error)


class _Waiter:
    """Waits for an answer."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def answered(self, reply: Reply) -> None:
        """Here it is."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def lost(self, error: ConnectionError) -> None:
        """There will be none."""
        if not self.reply.done():
            self.reply.set_exception(error)


class Waiting(Protocol):
    """Who waits for a connection."""

    def take(self) -> bool:
        """It is their turn; whether they take it, and will give it back."""


class _Turn:
    """Who waits in a coroutine."""

    def __init__(self) -> None:
        self.come: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self) -> bool:
        """Wake up, if that is still wanted."""
        if self.come.done():
            return False
        self.come.set_result(None)
        return True


class Pool:
    """A bounded number of connections to MMS; who finds none free waits in turn."""

    def __init__(self, socket_path: Path, size: int) -> None:
        self._socket_path = str(socket_path)
        self._free = size  # of connections, open or not
        self.waiting: deque[Waiting] = deque()
        self._idle: list[Upstream] = []
        self._open: set[Upstream] = set()
        self._epoch = 0  # up each time that all are closed

    async def ask(self, message: bytes, client: Request | None = None) -> Reply:
        """Send one request on a free connection; who waits too long cancels.

        Args:
            message: the request's bytes.
            client: whose it is; noted in it is when it was sent and answered.

        Raises:
            ConnectionError: MMS is not there, or went away before it answered.
            FaultError: the client went away while its request waited.
        """
        asked_at, epoch = time.monotonic(), self._epoch
        await self._take()
        try:
            self._check(epoch)
            if client is not None:
                client.sent_at = time.monotonic()
                if client.gone and client.sent_at > asked_at + AT_ONCE_SECONDS:
                    raise client_gone()
            upstream = self.idle_one() or await self._connect()
            try:
                self._check(epoch)
                reply = await upstream.ask(message)
            except BaseException:  # a cancelled request too: its answer must reach nobody else
                upstream.abort()
                raise
            if client is not None:
                client.answered_at = time.monotonic()
            if upstream.usable:
                self._idle.append(upstream)
            return reply
        finally:
            self._next()

    def _check(self, epoch: int) -> None:
        """Who asked before all were closed asks nobody now: MMS would keep the request."""
        if epoch != self._epoch:
            raise ConnectionError("it was given up meanwhile")

    async def _take(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = _Turn()
        self.waiting.append(turn)
        try:
            await turn.come
        except asyncio.CancelledError:
            if turn.come.done() and not turn.come.cancelled():
                self._next()
            raise

    def _next(self) -> None:
        """One is free: it goes to who has waited longest."""
        while self.waiting:
            if self.waiting.popleft().take():
                return
        self._free += 1

    @property
    def is_full(self) -> bool:
        """Whether none is free, so that one has to wait."""
        return not self._free

    def take_now(self) -> Upstream | None:
        """A connection, to be given back, if one is open and free."""
        if not self._free:
            return None
        upstream = self.idle_one()
        if upstream is not None:
            self._free -= 1
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        """It is free again, if it can still be used."""
        if upstream.usable:
            self._idle.append(upstream)
        self._next()

    def idle_one(self) -> Upstream | None:
        """An open connection for whose turn it is; None if there is none."""
        while self._idle:
            upstream = self._idle.pop()
            if upstream.usable:
                return upstream
        return None

    async def _connect(self) -> Upstream:
        loop = asyncio.get_running_loop()
        try:
            _, upstream = await loop.create_unix_connection(
                lambda: Upstream(self._open), self._socket_path
            )
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
        """Close all connections: who waits, for an answer or for a turn, gets none."""
        self._epoch += 1
        self._idle.clear()
        for upstream in tuple(self._open):
            upstream.abort()
