"""HTTP to a container: keep-alive connections, one request at a time on each."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import httptools

_LINE_END = b" HTTP/1.1\r\nHost: model.aws.local\r\n"

Part = Callable[[Mapping[bytes, bytes], bytes], None]
_OK = 200


class Answer(NamedTuple):
    """A status, the headers (lower-case names) and the body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class LostError(Exception):
    """The container closed the connection, or sent what is not HTTP.

    Args:
        reason: in words.
        begun: part of an answer had come.
    """

    def __init__(self, reason: str, begun: bool = False) -> None:
        super().__init__(reason)
        self.begun = begun


class _Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.usable = True
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    async def ask(self, message: tuple[bytes, ...], on_part: Part | None) -> Answer:
        """Send a request and wait for the end of its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._begun = self._head_is_complete = False
        self._on_part = on_part
        self._transport.writelines(message)
        return await self._answer

    def abort(self) -> None:
        self.usable = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"the container did not answer in HTTP: {error}")
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._head_is_complete = True

    def on_body(self, body: bytes) -> None:
        if self._on_part is None or self._parser.get_status_code() != _OK:
            self._body.append(body)
        else:
            self._on_part(self._headers, body)

    def on_message_complete(self) -> None:
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            status, body = self._parser.get_status_code(), b"".join(self._body)
            self._answer.set_result(Answer(status, self._headers, body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.usable and exc is None and self._ends_with_connection():
            self.on_message_complete()
        self.usable = False
        self._fail(str(exc or "the container closed the connection"))

    def _ends_with_connection(self) -> bool:
        """Whether a body has begun of which nothing but the end of the connection is the end."""
        framed = {b"content-length", b"transfer-encoding"} & self._headers.keys()
        return self._head_is_complete and not framed

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LostError(reason, self._begun))


class Wire:
    """All connections to one container.

    Args:
        address: host and port; asked for at each connection, since a container that has not been
            started has none yet.
    """

    def __init__(self, address: Callable[[], tuple[str, int]]) -> None:
        self._address = address
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    async def ask(
        self,
        method: bytes,
        path: bytes,
        body: bytes = b"",
        headers: bytes = b"",
        on_part: Part | None = None,
    ) -> Answer:
        """Make one request.

        Args:
            method: of HTTP.
            path: encoded.
            body: whole.
            headers: beside Host and Content-Length, each with its line's end.
            on_part: is given the headers and the parts of a 200's body as they come, which the
                answer then does not have.

        Raises:
            LostError: there is no answer, or only the beginning of one.
        """
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        message: tuple[bytes, ...] = (method, b" ", path, _LINE_END, headers, length)
        if body:  # asyncio's own loop is never done with an empty part
            message = (*message, body)
        if method != b"POST" and (kept := self._take()) is not None:
            with contextlib.suppress(LostError):  # the container may have closed it meanwhile
                return await self._ask_on(kept, message, on_part)
        connection = self._take() or await self._connect()
        return await self._ask_on(connection, message, on_part)

    async def _ask_on(
        self, connection: _Connection, message: tuple[bytes, ...], on_part: Part | None
    ) -> Answer:
        self._busy.add(connection)
        try:
            answer = await connection.ask(message, on_part)
        except BaseException:  # who is cancelled must not leave its answer to somebody else
            connection.abort()
            raise
        finally:
            self._busy.discard(connection)
        if connection.usable:
            self._idle.append(connection)
        return answer

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(_Connection, *self._address())
        except OSError as error:
            raise LostError(f"the container does not answer: {error}") from error
        return connection

    def close(self) -> None:
        """Close all connections; what waits for an answer gets none."""
        for connection in (*self._idle, *self._busy):
            connection.abort()
        self._idle.clear()
