"""A client's connection: HTTP/1.1 requests in, answers out in the order they were asked.

httptools parses; what it leaves open (how much may be sent, for how long, and what is ambiguous)
is decided here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

import httptools

from container.faults import Fault, FaultError

MAX_HEAD_BYTES = 16 * 1024  # the request line and all headers
MAX_FIELD_BYTES = 8 * 1024  # the URL, or one header
MAX_PIPELINED = 16  # requests that wait on one connection before it is read no further
LINGER_SECONDS = 2.0  # how long a refused upload is read and dropped, so that the answer arrives
JSON = b"application/json"

_HEAD_TOO_LARGE = FaultError(Fault.BAD_REQUEST, f"headers over {MAX_HEAD_BYTES} bytes")
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


@dataclass(slots=True)
class Request:
    """One request, whole. Header names are lower-case; all is as the client sent it."""

    method: bytes = b""
    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    fault: FaultError | None = None


@dataclass(slots=True)
class Response:
    """One answer: an HTTP status, the body and its type, and headers beside those."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def to_bytes(self, keep_alive: bool) -> bytes:
        """The answer as it goes over the wire."""
        head = [
            _STATUS_LINES[self.status],
            b"Content-Type: %b\r\nContent-Length: %d\r\n" % (self.content_type, len(self.body)),
        ]
        head += [b"%b: %b\r\n" % header for header in self.headers]
        head += [b"\r\n" if keep_alive else b"Connection: close\r\n\r\n", self.body]
        return b"".join(head)


App = Callable[[Request], Awaitable[Response]]


class Connection(asyncio.Protocol):
    """One client's connection, from its first byte to its last."""

    def __init__(self, app: App, max_body_bytes: int, connections: set["Connection"]) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._answering: asyncio.Task[None] | None = None
        self._refused = False  # what still comes in is dropped
        self._client_has_ended = False
        self._receiving_since: float | None = None
        self._request = Request()
        self._in_head = False
        self._unparsed_bytes = 0  # of a header that is not complete yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's
        """Forget the client; what it asked for goes on, since a load must be finished."""
        self._connections.discard(self)
        self._waiting.clear()
        self._refused = True

    def data_received(self, data: bytes) -> None:
        """Parse what came, and begin to answer when a request is whole."""
        if self._refused:
            return
        unfinished = self._request if self._in_head else None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refused = True  # it is answered as if it had not asked, and then we close
        except httptools.HttpParserError as error:
            self._refuse(FaultError(Fault.BAD_REQUEST, f"not a valid HTTP request: {error}"))
        if self._in_head and self._request is unfinished:
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > MAX_HEAD_BYTES:
                self._refuse(_HEAD_TOO_LARGE)

    def eof_received(self) -> bool:
        """The client sends no more; whether it still waits for an answer."""
        if self._receiving_since is not None:
            self._refuse(FaultError(Fault.BAD_REQUEST, "the request ends early"))
        self._refused = self._client_has_ended = True
        return not self._idle()

    # What httptools calls, in this order, for each request.

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._request = Request()
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._fault: FaultError | None = None
        self._in_head = True
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._receiving_since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        """Part of the target has come."""
        self._request.target += url
        if len(self._request.target) > MAX_FIELD_BYTES:
            self._fault = FaultError(Fault.BAD_REQUEST, f"URL over {MAX_FIELD_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header has come; one that says how long the body is may come once."""
        name = name.lower()
        self._unparsed_bytes = 0
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._fault = _HEAD_TOO_LARGE
        elif len(name) + len(value) > MAX_FIELD_BYTES:
            self._fault = FaultError(Fault.BAD_REQUEST, f"a header over {MAX_FIELD_BYTES} bytes")
        elif name in self._request.headers and name in (
            b"content-length",
            b"transfer-encoding",
            b"host",
        ):
            self._fault = FaultError(Fault.BAD_REQUEST, f"two {name.decode()} headers")
        self._request.headers[name] = value

    def on_headers_complete(self) -> None:
        """All but the body is here: refuse what must not be read on."""
        request, headers = self._request, self._request.headers
        request.method = self._parser.get_method()
        request.keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._in_head = False
        if self._fault is None:
            self._fault = _objection(self._parser.get_http_version(), headers)
        length = headers.get(b"content-length", b"0")
        if self._fault is None and int(length) > self._max_body_bytes:
            self._fault = self._too_large()
        if self._fault is not None:
            self._refuse(self._fault)
        elif b"expect" in headers and self._idle():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Part of the body has come."""
        if self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._refuse(self._too_large())
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._refused:
            return
        self._request.body = b"".join(self._body)
        self._receiving_since = None
        self._enqueue(self._request)

    # The answers.

    def _too_large(self) -> FaultError:
        return FaultError(Fault.TOO_LARGE, f"the body is over {self._max_body_bytes} bytes")

    def _refuse(self, fault: FaultError) -> None:
        """Answer with the fault, after what was asked before it, and then close."""
        if not self._refused:
            self._refused = True
            self._receiving_since = None
            self._enqueue(Request(keep_alive=False, fault=fault))

    def _idle(self) -> bool:
        return self._answering is None

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()
        if self._idle():
            self._answering = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        close = False
        while self._waiting and not close:
            request = self._waiting.popleft()
            if request.fault is None:
                response = await self._app(request)
            else:
                response = to_response(request.fault)
            if self._transport.is_closing():
                return
            self._transport.write(response.to_bytes(request.keep_alive))
            self._transport.resume_reading()
            close = not request.keep_alive
        self._answering = None
        if close or self._refused:
            self._close()

    def _close(self) -> None:
        """Close after the client has had the time to read: a reset would destroy the answer."""
        self._refused = True
        if self._client_has_ended:
            self._transport.close()
        else:
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)

    def expire(self, received_before: float, deadline_seconds: int) -> None:
        """Refuse a request that began before the time given and is not here yet."""
        if self._receiving_since is not None and self._receiving_since < received_before:
            sentence = f"the request was not received in {deadline_seconds} s"
            self._refuse(FaultError(Fault.BAD_REQUEST, sentence))


def _objection(http_version: str, headers: dict[bytes, bytes]) -> FaultError | None:
    """What must not be guessed: where the body ends, for whom it is, how it is packed."""
    sentence = None
    if b"transfer-encoding" in headers:
        if b"content-length" in headers:
            sentence = "both content-length and transfer-encoding"
        elif headers[b"transfer-encoding"].lower() != b"chunked":
            sentence = "the only transfer-encoding is chunked"
    if http_version == "1.1" and b"host" not in headers:
        sentence = "no host header"
    if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
        sentence = "the only expectation is 100-continue"
    if sentence is not None:
        return FaultError(Fault.BAD_REQUEST, sentence)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return FaultError(Fault.UNSUPPORTED_MEDIA_TYPE, "send the body without content-encoding")
    return None


def to_response(fault: FaultError) -> Response:
    """The answer for a fault; for one that passes, when to try again."""
    retry = ((b"Retry-After", b"1"),) if fault.fault is Fault.UNAVAILABLE else ()
    return Response(fault.fault.status, fault.body(), headers=retry)
