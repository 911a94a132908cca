"""A client's connection: HTTP/1.1 requests in, answers out in the order they were asked.

httptools parses the heads; what it leaves open (how much may be sent, for how long, and what is
ambiguous) is decided here.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Coroutine
from typing import cast

import httptools

from container.chunked import Chunked, ChunkError, TooLargeError
from container.faults import Fault, FaultError
from container.house import House, Ride
from container.messages import Request, to_response
from container.objections import objection

MAX_HEAD_BYTES = 16 * 1024  # the request line and all headers
MAX_FIELD_BYTES = 8 * 1024  # the URL, or one header
MAX_PIPELINED = 16  # requests that wait on one connection before it is read no further
LINGER_SECONDS = 2.0  # how long a refused upload is read and dropped, so that the answer arrives
_BETWEEN_BYTES = 4  # a header's name and value, and after it
_ONCE = (b"content-length", b"transfer-encoding", b"host")  # of several, who knows which holds
_BLANK_LINE = b"\r\n\r\n"

_HEAD_TOO_LARGE = FaultError(Fault.BAD_REQUEST, f"headers over {MAX_HEAD_BYTES} bytes")
_TOO_MUCH = FaultError(Fault.UNAVAILABLE, "too many large requests at once; try again")


class Connection(asyncio.Protocol):
    """One client's connection, from its first byte to its last.

    Args:
        house: what it shares with others.
        slot: that the supervisor knows it by; None where there is no supervisor.
        full: there are too many connections: it is told so, and closed.
    """

    def __init__(self, house: House, slot: int | None = None, full: bool = False) -> None:
        self._house = house
        self._slot = slot
        self._full = full
        self._taken_bytes = self._sent_bytes = 0
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._ride = house.quick(self) if house.quick is not None else None
        self._answering: asyncio.Task[None] | Ride | None = None
        self._answered: Request | None = None  # the one that is being answered
        self._refused = False  # what still comes in is dropped
        self._client_has_ended = False
        self.gone = False  # it has ended, or is not there any more
        self._receiving_since: float | None = None
        self._stuck_since: float | None = None  # the client does not read its answer
        self.idle_since = time.monotonic()
        self._request = Request()
        self._in_head = False
        self._body_left = 0
        self._chunked: Chunked | None = None
        self._unparsed_bytes = 0  # of a header that is not complete yet
        self._tail = b""  # the last bytes of a head that is not complete yet
        self._held_bytes = 0  # of bodies, in the shared budget
        house.connections.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)  # so that we hear when all is written
        house = self._house
        if house.guest is not None and self._slot is not None:
            _, self._sent_bytes, self._taken_bytes = house.guest.ledger.read(self._slot)
        if self._full:
            fault = FaultError(Fault.UNAVAILABLE, "too many connections (descriptors); try again")
            self._write(to_response(fault).to_bytes(keep_alive=False))
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # the protocol's
        """Forget the client; a load that it asked for is finished all the same."""
        self._house.connections.discard(self)
        if self._slot is not None and self._house.guest is not None:
            self._house.guest.closed(self._slot)
        self._waiting.clear()
        self._refused = True
        self._gone()
        self._release(self._held_bytes)

    def _gone(self) -> None:
        self.gone = True
        for request in (*self._waiting, self._answered):
            if request is not None:
                request.gone = True

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._stuck_since = time.monotonic()

    def resume_writing(self) -> None:
        """All is written."""
        self._stuck_since = None

    def data_received(self, data: bytes) -> None:
        """Parse what came, and begin to answer when a request is whole."""
        self._taken_bytes += len(data)
        between = self._answering is None and self._receiving_since is None
        between = between and not (self._waiting or self._tail or self._refused)
        if between and self._ride is not None and self._ride.begin(data):
            self._answering = self._ride
            return
        while data and not self._refused:
            if self._chunked is not None:
                data = self._feed_chunks(self._chunked, data)
            elif self._body_left:
                part, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(part)
                self._feed(part)
            else:
                end = self._end_of_head(data)
                if end == len(data):
                    head, data = data, b""
                else:
                    head, data = (data[:end], data[end:]) if end else (data, b"")
                self._feed_head(head, complete=bool(end))
        self._begin_to_answer()

    def _end_of_head(self, data: bytes) -> int:
        """Where the head ends in ``data``, which may begin in its middle; 0 if it does not."""
        if self._tail:
            joined = self._tail + data[:3]
            at = joined.find(_BLANK_LINE)
            if at >= 0:
                return at + len(_BLANK_LINE) - len(self._tail)
        at = data.find(_BLANK_LINE)
        return at + len(_BLANK_LINE) if at >= 0 else 0

    def _feed_head(self, data: bytes, complete: bool) -> None:
        unfinished = self._request if self._in_head else None
        self._tail = b"" if complete else (self._tail + data)[-3:]
        self._feed(data)
        if self._in_head and self._request is unfinished:
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > MAX_HEAD_BYTES:
                self._refuse(_HEAD_TOO_LARGE)

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refused = True  # it is answered as if it had not asked, and then we close
        except httptools.HttpParserError as error:
            self._refuse(FaultError(Fault.BAD_REQUEST, f"not a valid HTTP request: {error}"))

    def _feed_chunks(self, chunked: Chunked, data: bytes) -> bytes:
        rest = b""
        try:
            parts, rest = chunked.feed(data)
        except ChunkError as error:
            self._refuse(FaultError(Fault.BAD_REQUEST, f"not a valid HTTP request: {error}"))
        except TooLargeError:
            self._refuse(self._too_large())
        else:
            for part in parts:
                self.on_body(part)
            if chunked.complete and not self._refused:
                self._parser = httptools.HttpRequestParser(self)  # the old one waits for chunks
                self._chunked = None
                self.on_message_complete()
        return rest

    def eof_received(self) -> bool:
        """The client sends no more; whether it still waits for an answer."""
        if self._receiving_since is not None:
            self._refuse(FaultError(Fault.BAD_REQUEST, "the request ends early"))
        self._refused = self._client_has_ended = True
        self._gone()
        self._begin_to_answer()
        return not self._idle()

    # What httptools calls, in this order, for each request.

    def on_message_begin(self) -> None:
        """A request line begins."""
        self._request = Request()
        self._body: list[bytes] = []
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
        size = len(name) + len(value)
        self._head_bytes += size + _BETWEEN_BYTES
        headers = self._request.headers
        if self._head_bytes > MAX_HEAD_BYTES:
            self._fault = _HEAD_TOO_LARGE
        elif size > MAX_FIELD_BYTES:
            self._fault = FaultError(Fault.BAD_REQUEST, f"a header over {MAX_FIELD_BYTES} bytes")
        elif name in headers and name in _ONCE:
            self._fault = FaultError(Fault.BAD_REQUEST, f"two {name.decode()} headers")
        headers[name] = value

    def on_headers_complete(self) -> None:
        """All but the body is here: refuse what must not be read on."""
        request, headers = self._request, self._request.headers
        request.method = self._parser.get_method()
        request.keep_alive = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._in_head = False
        if self._fault is None:
            self._fault = objection(self._parser.get_http_version(), headers)
        if self._fault is None:
            length = int(headers.get(b"content-length", b"0"))
            if length > self._house.max_body_bytes:
                self._fault = self._too_large()
            self._body_left = length
        if self._fault is not None:
            self._refuse(self._fault)
            return
        if b"transfer-encoding" in headers:
            self._chunked = Chunked(self._house.max_body_bytes)
        if b"expect" in headers and self._idle():
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Part of the body has come."""
        if self._refused:
            return
        if self.hold(len(body)):
            self._body.append(body)
        else:
            self._refuse(_TOO_MUCH)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._refused or self._chunked is not None:
            return
        self._request.body = b"".join(self._body)
        self._request.received_at = time.monotonic()
        self._receiving_since = None
        self._body_left = 0
        self._body = []
        self._enqueue(self._request)
        self._request = Request()  # it may be long until the next: nothing holds this one's body

    # The answers.

    def _too_large(self) -> FaultError:
        limit = self._house.max_body_bytes
        return FaultError(Fault.TOO_LARGE, f"the body is over {limit} bytes")

    def _refuse(self, fault: FaultError) -> None:
        """Answer with the fault, after what was asked before it, and then close."""
        if not self._refused:
            self._refused = True
            self._receiving_since = None
            self._request.keep_alive, self._request.fault = False, fault
            self._request.received_at = time.monotonic()
            self._enqueue(self._request)

    def hold(self, count: int) -> bool:
        """Take so many bytes of a body, if all bodies leave as much."""
        if not self._house.bodies.try_to_take(count):
            return False
        self._held_bytes += count
        return True

    def _release(self, count: int) -> None:
        self._held_bytes -= count
        self._house.bodies.give_back(count)

    def _idle(self) -> bool:
        return self._answering is None

    def _enqueue(self, request: Request) -> None:
        self._waiting.append(request)
        if len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()

    def _begin_to_answer(self) -> None:
        if self._waiting and self._idle():
            self._answering = answering = _started(self._answer())
            if answering.done():
                self._answering = None

    async def _answer(self) -> None:
        close = False
        while self._waiting and not close:
            self._answered = request = self._waiting.popleft()
            response = await (request.app or self._house.app)(request)
            self._answered = None
            if self._transport.is_closing():
                return
            self._release(len(request.body))
            self._write(response.to_bytes(request.keep_alive))
            self._transport.resume_reading()
            close = not request.keep_alive
        self._answering = None
        self.idle_since = time.monotonic()
        if close or self._refused:
            self._close()

    def finish(self, count: int, answer: bytes) -> None:
        """The quicker way has led to an answer, to a request with so many bytes of body."""
        if self._transport.is_closing():
            return
        self._release(count)
        self._write(answer)
        self._answering = None
        self.idle_since = time.monotonic()
        if self._waiting:
            self._transport.resume_reading()
            self._begin_to_answer()
        elif self._refused:
            self._close()

    def go_on(self, request: Request) -> None:
        """It has not: the request is answered as others are."""
        request.gone = self.gone
        self._waiting.appendleft(request)
        self._answering = None
        self._begin_to_answer()

    def _write(self, data: bytes) -> None:
        """Send; before, tell the supervisor how it can see whether an answer is owed."""
        guest, slot = self._house.guest, self._slot
        if guest is not None and slot is not None:
            inside = self._waiting or self._receiving_since or self._tail
            before, self._sent_bytes = self._sent_bytes, self._sent_bytes + len(data)
            taken = None if inside else self._taken_bytes
            guest.ledger.write(slot, before, self._sent_bytes, taken)
        self._transport.write(data)

    def is_idle(self, since: float) -> bool:
        """Whether nothing is being received or answered, and that since a time or longer."""
        quiet = self._idle() and self._receiving_since is None and not self._refused
        return quiet and self.idle_since <= since

    def close_idle(self) -> None:
        """Close a connection on which nothing happens, in favour of another."""
        self._refused = True
        self._transport.close()

    def _close(self) -> None:
        """Close after the client has had the time to read: a reset would destroy the answer."""
        self._refused = True
        if self._client_has_ended:
            self._transport.close()
        else:
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)

    def expire(self, before: float, deadline_seconds: int) -> None:
        """Refuse a request that began before the time given and is not here yet.

        And give up a client that since then has not read its answer.
        """
        if self._receiving_since is not None and self._receiving_since < before:
            sentence = f"the request was not received in {deadline_seconds} s"
            self._refuse(FaultError(Fault.BAD_REQUEST, sentence))
            self._begin_to_answer()
        if self._stuck_since is not None and self._stuck_since < before:
            self._transport.abort()


def _started(work: Coroutine[object, object, None]) -> asyncio.Task[None]:
    """A task that runs at once until it first has to wait, where Python can do so."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
