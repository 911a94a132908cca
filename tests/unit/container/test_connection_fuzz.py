"""HTTP as nobody should write it: whatever comes, however it is cut, the gate stays in order."""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from container.budget import Budget
from container.connection import MAX_PIPELINED, Connection
from container.house import House
from container.messages import Request, Response
from tests.unit.container.support import cut

CORPUS = Path(__file__).parent.parent.parent / "corpus"
CASES = sorted((CORPUS / "gate").glob("*.http"))
SEEDS = [path.read_bytes() for path in [*CASES, *sorted((CORPUS / "requests").glob("*/*.http"))]]
SEEDS = [seed for seed in SEEDS if len(seed) < 500]
TOKENS = [
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"\xff"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(
        b"Host: x\r\n",
        b"HTTP/1.1",
        b"GET",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ),
]
PLAIN = b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n"
MAX_BODY, BODIES = 64, 10_000

quick = settings(deadline=None, max_examples=150)
places = st.lists(st.integers(1, 600), max_size=10)
waits = st.integers(0, 3)  # rounds of the loop that the app takes for an answer


class Wire(asyncio.Transport):
    """A transport that keeps what is written and reads what it is told to read."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = self.after_the_end = b""
        self.ended = self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """What a real transport raises at is kept apart."""
        if self.ended or self.closed:
            self.after_the_end += data
        self.sent += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def write_eof(self) -> None:
        """Half of it is closed."""
        self.ended = True

    def close(self) -> None:
        """All of it is."""
        self.ended = self.closed = True

    def is_closing(self) -> bool:
        """Whether it is."""
        return self.closed

    def pause_reading(self) -> None:
        """Too much waits."""
        self.reading = False

    def resume_reading(self) -> None:
        """No longer."""
        self.reading = True


@dataclass
class Seen:
    """What came of some bytes."""

    requests: list[Request] = field(default_factory=list)  # that reached the app
    answers: list[tuple[int, bytes]] = field(default_factory=list)  # that reached the client
    waited: bool = True  # for more, before the client ended its half


async def settle() -> None:
    """Until everything is answered."""
    if answering := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(answering)


def exchange(pieces: list[bytes], wait: int = 0) -> Seen:
    """Send the pieces, then the end; what must hold of any bytes is checked here."""
    seen, wire, bodies = Seen(), Wire(), Budget(BODIES)

    async def app(request: Request) -> Response:
        number = len(seen.requests)
        seen.requests.append(request)
        for _ in range(wait):
            await asyncio.sleep(0)
        status = 200 if request.fault is None else request.fault.fault.status
        return Response(status, b"%d" % number)

    async def main() -> None:
        house = House(app, MAX_BODY, bodies, None, set())
        connection = Connection(house)
        connection.connection_made(wire)
        for piece in pieces:
            if not wire.reading:
                await settle()
            assert wire.reading or wire.ended
            connection.data_received(piece)
        await settle()
        seen.waited = not wire.ended
        if wire.ended:
            count = len(seen.requests)
            connection.data_received(PLAIN)
            await settle()
            assert len(seen.requests) == count
        stays = connection.eof_received()
        await settle()
        assert wire.closed or not stays
        connection.connection_lost(None)
        assert not house.connections

    asyncio.run(main())
    seen.answers = answers(wire.sent)
    assert not wire.after_the_end
    assert [body for _, body in seen.answers] == [b"%d" % n for n in range(len(seen.requests))]
    assert all(len(request.body) <= MAX_BODY for request in seen.requests)
    assert all(request.fault is None for request in seen.requests[:-1])
    assert bodies.try_to_take(BODIES + 1)  # which can be had when nothing is taken
    return seen


def answers(sent: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer, and nothing else must there be."""
    found = []
    while sent:
        head, blank, sent = sent.partition(b"\r\n\r\n")
        assert blank
        assert re.fullmatch(rb"HTTP/1\.1 \d{3} [A-Za-z ]+(\r\n[A-Za-z-]+: [^\r\n]+)*", head)
        if head.startswith(b"HTTP/1.1 100 "):
            continue
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        found.append((int(head[9:12]), sent[:length]))
        sent = sent[length:]
    return found


@st.composite
def valid(draw: st.DrawFn) -> tuple[Request, bytes]:
    """A request, and its bytes."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]))
    target = b"/" + draw(st.text("abc/%?=-.~", max_size=20)).encode()
    headers = draw(st.dictionaries(st.sampled_from([b"x-a", b"x-b", b"accept"]), st.just(b"a, b")))
    headers[b"host"] = b"x"
    chunks = draw(st.lists(st.binary(min_size=1, max_size=16), max_size=4))
    body = b"".join(chunks)
    sent = body
    if draw(st.booleans()):
        headers[b"Transfer-Encoding"] = b"chunked"
        sent = b"".join(b"%x;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
        sent += b"0\r\n" + draw(st.sampled_from([b"", b"X-Trailer: y\r\n"])) + b"\r\n"
    elif body or draw(st.booleans()):
        headers[b"Content-Length"] = b"%d" % len(body)
    lines = b"".join(b"%b: %b\r\n" % header for header in headers.items())
    wire = b"%b %b HTTP/1.1\r\n%b\r\n%b" % (method, target, lines, sent)
    lower = {name.lower(): value for name, value in headers.items()}
    return Request(method, target, lower, body), wire


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A request of the corpus, damaged, and perhaps another behind it."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 10, 50]))
        new = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=3), st.just(data[:30])))
        data = data[:start] + new + data[end:]
    return data + draw(st.sampled_from([b"", PLAIN, *SEEDS]))


@quick
@given(sequence=st.lists(valid(), min_size=1, max_size=40), places=places, wait=waits)
def test_pipelined(sequence: list[tuple[Request, bytes]], places: list[int], wait: int) -> None:
    """However valid requests are cut, they reach the app as they are, and each has its answer."""
    seen = exchange(cut(b"".join(wire for _, wire in sequence), places), wait)
    assert [
        (request.method, request.target, request.headers, request.body) for request in seen.requests
    ] == [(one.method, one.target, one.headers, one.body) for one, _ in sequence]
    assert all(status == 200 for status, _ in seen.answers)
    assert seen.waited


@quick
@given(data=st.one_of(mutated(), st.binary(max_size=200)), places=places, wait=waits)
def test_damaged(data: bytes, places: list[int], wait: int) -> None:
    """Damaged requests and arbitrary bytes: answered or waited for, the same however cut."""
    assume(not re.search(rb"/1\.0|close|upgrade|connect ", data, re.IGNORECASE))
    whole, pieces = exchange([data], wait), exchange(cut(data, places), wait)
    assert whole.answers == pieces.answers
    assert whole.waited == pieces.waited
    assert [(one.target, one.body) for one in whole.requests if one.fault is None] == [
        (one.target, one.body) for one in pieces.requests if one.fault is None
    ]


@pytest.mark.parametrize("wait", [0, 1])
@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_corpus(case: Path, bytewise: bool, wait: int) -> None:
    """Each file of the corpus ends in the answer that its name begins with."""
    data = case.read_bytes()
    seen = exchange(cut(data, range(len(data) if bytewise else 0)), wait)
    assert seen.answers[-1][0] == int(case.stem[:3])
    assert all(status == 200 for status, _ in seen.answers[:-1])


def test_no_more_is_read() -> None:
    """While many requests wait for their answers, the connection is read no further."""

    async def main() -> None:
        answer, wire = asyncio.Event(), Wire()

        async def app(_: Request) -> Response:
            await answer.wait()
            return Response(200, b"")

        connection = Connection(House(app, MAX_BODY, Budget(BODIES), None, set()))
        connection.connection_made(wire)
        connection.data_received(PLAIN)
        await asyncio.sleep(0)  # it is being answered, and waits no more
        connection.data_received(PLAIN * (MAX_PIPELINED - 1))
        assert wire.reading
        connection.data_received(PLAIN)
        assert not wire.reading
        answer.set()
        await settle()
        assert wire.reading
        assert len(re.findall(rb"HTTP/1.1 200", wire.sent)) == MAX_PIPELINED + 1
        connection.connection_lost(None)

    asyncio.run(main())


def test_bodies_of_all() -> None:
    """What one connection holds is not there for another, until it is answered or gone."""

    async def main() -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n"
        bodies = Budget(100)

        async def app(request: Request) -> Response:
            return Response(200 if request.fault is None else request.fault.fault.status, b"")

        house = House(app, MAX_BODY, bodies, None, set())

        def connect(sent: bytes) -> tuple[Connection, Wire]:
            connection, wire = Connection(house), Wire()
            connection.connection_made(wire)
            connection.data_received(sent)
            return connection, wire

        half, _ = connect(head + b"x" * 59)
        refused, wire = connect(head + b"x" * 60)
        await settle()
        assert [status for status, _ in answers(wire.sent)] == [503]
        refused.connection_lost(None)
        half.data_received(b"x")
        await settle()
        whole, wire = connect(head + b"x" * 60)
        await settle()
        assert [status for status, _ in answers(wire.sent)] == [200]
        whole.connection_lost(None)
        half.connection_lost(None)
        assert bodies.try_to_take(101)

    asyncio.run(main())
