"""Plain messages: what the quick reader takes, all that came before it would take as it does."""

from typing import Any

import httptools
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from container.heads import read_reply, read_request
from tests.unit.container.test_connection_fuzz import MAX_BODY, SEEDS, exchange

pytestmark = pytest.mark.skipif(
    read_reply(b"HTTP/1.1 200 OK\r\na: b\r\nContent-Type: a\r\nContent-Length: 1\r\n\r\n1") is None,
    reason="container._http was not built: there was no compiler",
)

PLAIN = (
    b"POST /models/m/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    b"X-Amzn-SageMaker-Target-Model: m.tar.gz\r\nContent-Length: 3\r\n\r\n1,2"
)
REPLY = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: 1-2\r\n"
    b"cache-control: no-cache; no-store, must-revalidate, private\r\n"
    b"connection: keep-alive\r\ncontent-length: 13\r\n\r\nmme 200\n[1.0]"
)
LINES = [
    b"Host: x",
    b"host:y",
    b"Content-Type: text/csv",
    b"content-type: a/b; c=d",
    b"Accept: */*",
    b"Accept-Encoding: gzip, br",
    b"Connection: keep-alive",
    b"connection: Keep-Alive",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Proxy-Connection: close",
    b"Keep-Alive: timeout=5",
    b"Content-Length: 3",
    b"Content-Length: 003",
    b"Content-Length: +3",
    b"Content-Length: 3 ",
    b"Content-Length: 3,3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Content-Encoding: identity",
    b"Expect: 100-continue",
    b"Upgrade: h2c",
    b"X-Empty:",
    b"X-Blank:  a",
    b"X-Tab:\ta",
    b"X-Tail: a ",
    b"X-High: \xe9",
    b"X_Low: a",
    b"X Space: a",
    b" folded",
    b"No-Colon",
    b": none",
    b"TE: trailers",
    b"Trailer: a",
    b"X-" + b"n" * 70 + b": a",
    b"X-Long: " + b"v" * 9000,
]
HARMLESS = [
    *(b"Content-Type: text/csv", b"accept: */*", b"Accept-Encoding: gzip, br", b"TE: trailers"),
    *(
        b"Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"X-A-1: ~!@#$%^&*() =",
        b"USER-agent:a",
    ),
]
TARGETS = [b"/models/m/invoke", b"/", b"/a%20b", b"/a?b", b"/a#b", b"*", b"http://x/", b"/\xc3\xa9"]
PIECES = [b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"\xff", b"3", b"HTTP/1.0", b"GET", b"%"]
thorough = settings(deadline=None, max_examples=400)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The data with a few changes, and perhaps none."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 3)))
        data = data[:at] + draw(st.sampled_from([b"", *PIECES])) + data[until:]
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a plain request."""
    lines = draw(st.lists(st.sampled_from(HARMLESS), max_size=4, unique=True))
    lines += draw(st.lists(st.sampled_from(LINES), max_size=draw(st.integers(0, 1))))
    lines += [b"Host: z", b"Content-LENGTH: 3"][: draw(st.sampled_from([2, 2, 2, 2, 1, 0]))]
    lines = draw(st.permutations(lines))
    method = draw(st.sampled_from([b"POST"] * 8 + [b"PUT", b"post"]))
    target = draw(st.sampled_from(TARGETS[:1] * 12 + TARGETS))
    head = b"".join(line + b"\r\n" for line in lines)
    return draw(damaged(b"%b %b HTTP/1.1\r\n%b\r\n1,2" % (method, target, head)))


def assert_read_alike(data: bytes) -> bool:
    """Whether it is plain; if it is, the long way must read it so."""
    read = read_request(data)
    if read is None:
        return False
    target, headers, body = read
    if len(body) > MAX_BODY:
        return True
    seen = exchange([data])
    assert seen.waited
    (request,) = seen.requests
    assert request.fault is None
    assert request.keep_alive
    assert (request.method, request.target) == (b"POST", target)
    assert (request.headers, request.body) == (headers, body)
    return True


@thorough
@given(requests())
def test_requests(data: bytes) -> None:
    """A request that is plain is read as httptools and the connection read it."""
    event("plain" if assert_read_alike(data) else "not plain")


@thorough
@given(st.sampled_from(SEEDS).flatmap(damaged))
def test_requests_of_the_corpus(data: bytes) -> None:
    """So are those that have made trouble before."""
    assert_read_alike(data)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("where", [0, 1, 2, 3])
def test_each_line(line: bytes, where: int) -> None:
    """Each line alone, before, between and after what must be there."""
    lines = [b"Host: z", b"Accept: a", b"Content-Length: 3"]
    lines.insert(where, line)
    head = b"".join(line + b"\r\n" for line in lines)
    assert_read_alike(b"POST / HTTP/1.1\r\n%b\r\n1,2" % head)


def test_plain() -> None:
    """What clients send is plain, whole and not otherwise: not with a byte less or more."""
    expected = {
        b"host": b"x",
        b"content-type": b"text/csv",
        b"x-amzn-sagemaker-target-model": b"m.tar.gz",
        b"content-length": b"3",
    }
    assert read_request(PLAIN) == (b"/models/m/invoke", expected, b"1,2")
    assert assert_read_alike(PLAIN)
    for end in range(len(PLAIN)):
        assert read_request(PLAIN[:end]) is None
    assert read_request(PLAIN + b"3") is None
    assert read_request(PLAIN + PLAIN) is None


def test_large_heads() -> None:
    """Of a head over 8 KiB the limits are another's; a body may be as large as it likes."""
    fill = b"X-Fill: " + b"v" * 8100 + b"\r\nContent-Length"
    assert read_request(PLAIN.replace(b"Content-Length", fill)) is None
    large = PLAIN.replace(b"Length: 3", b"Length: 100000").replace(b"1,2", b"1" * 100_000)
    read = read_request(large)
    assert read is not None
    assert len(read[2]) == 100_000


class Parsed:
    """A reply as httptools reads it."""

    def __init__(self, data: bytes) -> None:
        self.types: list[bytes] = []
        self.body = b""
        self.complete = 0
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of which one matters."""
        if name.lower() == b"content-type":
            self.types.append(value)

    def on_body(self, body: bytes) -> None:
        """A part of it."""
        self.body += body

    def on_message_complete(self) -> None:
        """All is here."""
        self.complete += 1
        self.status, self.stays = self._parser.get_status_code(), self._parser.should_keep_alive()


@thorough
@given(st.one_of(damaged(REPLY), requests().map(lambda data: b"HTTP/1.1 200 OK" + data[29:])))
def test_replies(data: bytes) -> None:
    """A reply that is plain is read as httptools reads it, and leaves the connection open."""
    read = read_reply(data)
    event("plain" if read else "not plain")
    if read is not None:
        parsed = Parsed(data)
        assert (parsed.status, parsed.stays, parsed.complete) == (200, True, 1)
        assert (parsed.types, parsed.body) == ([read[0]], read[1])


def test_plain_reply() -> None:
    """MMS's reply is plain when it is whole."""
    assert read_reply(REPLY) == (b"application/json", b"mme 200\n[1.0]")
    for end in range(len(REPLY)):
        assert read_reply(REPLY[:end]) is None
    assert read_reply(REPLY + b"\n") is None


@pytest.mark.parametrize("reader", [read_request, read_reply])
@pytest.mark.parametrize("arguments", [(), (b"", b""), ("POST",), (None,), (bytearray(b"POST"),)])
def test_what_is_no_data(reader: Any, arguments: tuple[object, ...]) -> None:
    """Anything but bytes is a mistake of ours."""
    with pytest.raises(TypeError):
        reader(*arguments)
