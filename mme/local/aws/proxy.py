"""What is not ours goes on to moto, as it came, and so does its answer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httptools

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_BLOCK_BYTES = 256 * 1024
_OWN = frozenset((b"connection", b"expect", b"transfer-encoding", b"keep-alive"))  # of one hop


class _Answer:
    """What the parser has found since it was last looked at."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []
        self.head_complete = self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in _OWN:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.complete = True


class Proxy:
    """The way to moto.

    Args:
        host: that it listens on.
        port: as well.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, body: bytes | None = None
    ) -> None:
        """Answer one request.

        Args:
            scope: of ASGI, as are the next two.
            receive: the request's body.
            send: the answer.
            body: the same, if it has been received already.

        Raises:
            OSError: moto is not there, or went away.
        """
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=_BLOCK_BYTES)
        try:
            sending = asyncio.create_task(_send_on(scope, receive, writer, body))
            try:
                await _send_back(scope["method"] == "HEAD", reader, send)
            finally:  # who has the whole answer does not wait for the end of the request
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await sending
        finally:
            writer.close()


async def _send_on(
    scope: Scope, receive: Receive, writer: asyncio.StreamWriter, whole: bytes | None
) -> None:
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), target)]
    lines += [b"%b: %b" % header for header in scope["headers"] if header[0] not in _OWN]
    lines += [b"Transfer-Encoding: chunked"] if chunked else []
    writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]))
    body, more = whole or b"", whole is None
    while True:
        if body:
            writer.write(b"%x\r\n%b\r\n" % (len(body), body) if chunked else body)
            await writer.drain()
        if not more:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            writer.transport.abort()  # moto would wait for the rest, and we for moto
            return
        body, more = message.get("body", b""), message.get("more_body", False)
    if chunked:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _send_back(head_only: bool, reader: asyncio.StreamReader, send: Send) -> None:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    begun = False
    while not answer.complete:
        data = await reader.read(_BLOCK_BYTES)
        if not data:
            break
        parser.feed_data(data)
        if answer.head_complete and not begun:
            begun = True
            status = parser.get_status_code()
            await send({"type": "http.response.start", "status": status, "headers": answer.headers})
            if head_only:
                break
        for part in answer.parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        answer.parts.clear()
    if not begun:
        raise ConnectionError("moto closed the connection")
    await send({"type": "http.response.body", "body": b"", "more_body": False})
