"""Connections that outlive the gate: who holds them, and what becomes of what was inside."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.keeper import Account, Guest, Keeper, Ledger, counts, memory

REQUEST = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
SECONDS = 10

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def connect() -> Iterator[Callable[[], Pair]]:
    """Makes TCP connections: the client's end, and the gate's."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def pair() -> Pair:
            client = socket.create_connection(listener.getsockname(), SECONDS)
            ours, _ = listener.accept()
            ours.settimeout(SECONDS)
            return stack.enter_context(client), stack.enter_context(ours)

        yield pair


class Gate:
    """As much of a gate as the supervisor sees: its channel, until it dies."""

    def __init__(self, keeper: Keeper) -> None:
        self.channel = keeper.new_channel()
        self.channel.settimeout(SECONDS)  # until all that was left is read
        self.wanted: Callable[[], None] | None = None  # called when the channel can be written
        self.guest = Guest(self.channel, Ledger(keeper.descriptor), self.when_writable)
        self.left = self.guest.inherited()

    def when_writable(self, act: Callable[[], None] | None) -> None:
        """What a loop does."""
        self.wanted = act

    def open(self, connection: socket.socket) -> int:
        """A client comes, for whom there is a slot."""
        slot = self.guest.opened(connection.fileno())
        assert slot is not None
        return slot

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        for _, connection in self.left:
            connection.close()


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """The supervisor's side, with room for three connections."""
    one = Keeper(3)
    yield one
    one.answer_for_the_dead()
    for slot in range(3):
        one._let_go(slot)
    os.close(one.descriptor)


def all_of(client: socket.socket) -> bytes:
    """What the client reads until the end."""
    return b"".join(iter(lambda: client.recv(65536), b""))


counted = st.integers(0, 2**63)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), counted, counted, st.none() | counted)))
def test_ledger(events: list[tuple[int, int, int, int | None]]) -> None:
    """Each slot has its own account, and the other process reads what this one wrote."""
    descriptor = memory(4)
    ours, theirs = Ledger(descriptor), Ledger(descriptor)
    os.close(descriptor)
    assert ours.slots == 4
    expected = [Account()] * 4
    for slot, before, sent, taken in events:
        ours.write(slot, before, sent, taken)
        expected[slot] = Account(before, sent, 2**64 - 1 if taken is None else taken)
        assert [theirs.read(slot) for slot in range(4)] == expected


def test_counts(connect: Callable[[], Pair]) -> None:
    """What the kernel has and the gate has not read is not taken in; what waits there is sent."""
    client, ours = connect()
    assert counts(ours) == (0, 0)
    client.sendall(b"12345")
    assert ours.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL) == b"12345"
    assert counts(ours) == (0, 0)
    ours.recv(3)
    assert counts(ours) == (0, 3)
    ours.setblocking(False)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += ours.send(bytes(100_000))
    assert sent > 100_000
    assert counts(ours) == (sent, 3)
    left = sent
    while left:
        left -= len(client.recv(left))
    assert counts(ours) == (sent, 3)


def test_a_copy_is_held(keeper: Keeper) -> None:
    """A connection stays open while the gate has not said that it is closed, and then no more."""
    client, ours = socket.socketpair()
    with client, Gate(keeper) as gate:
        slot = gate.open(ours)
        ours.close()
        assert keeper.hear()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        gate.guest.closed(slot)
        assert keeper.hear()
        assert client.recv(1) == b""
        assert not keeper.hear()


def test_slots(keeper: Keeper) -> None:
    """Who comes when no slot is free has none; who comes next has the one that became free."""
    one, other = socket.socketpair()
    with one, other, Gate(keeper) as gate:
        slots = [gate.open(one) for _ in range(3)]
        assert sorted(slots) == [0, 1, 2]
        assert gate.guest.opened(one.fileno()) is None
        gate.guest.ledger.write(slots[1], 1, 2, 99)
        gate.guest.closed(slots[1])
        assert gate.open(one) == slots[1]
        assert gate.guest.ledger.read(slots[1]) == Account()  # not its predecessor's


def test_nobody_is_waited_for(keeper: Keeper) -> None:
    """A supervisor that does not listen stops no gate; later it hears all, in order."""
    one, other = socket.socketpair()
    with one, other, Gate(keeper) as gate:
        for _ in range(5000):
            slot = gate.open(one)
            if gate.wanted is not None:
                break
            gate.guest.closed(slot)
        assert gate.wanted is not None
        last = gate.open(one)
        while keeper.hear():
            if gate.wanted is not None:
                gate.wanted()
        assert gate.wanted is None
        assert sorted(keeper._held) == sorted([slot, last])


def test_quiet_connections_go_on(keeper: Keeper, connect: Callable[[], Pair]) -> None:
    """The next gate has the connections on which nothing went on, and what came meanwhile."""
    client, ours = connect()
    with Gate(keeper) as gate:
        assert gate.left == []
        slot = gate.open(ours)
        client.sendall(REQUEST)
        taken = len(ours.recv(65536))
        gate.guest.ledger.write(slot, 0, len(b"answer"), taken)
        ours.sendall(b"answer")
        client.sendall(REQUEST)  # the gate dies before it reads this one
        assert ours.recv(65536, socket.MSG_PEEK) == REQUEST
        ours.close()
    assert keeper.answer_for_the_dead() == 0
    with Gate(keeper) as heir:
        ((same, connection),) = heir.left
        assert same == slot
        assert heir.guest.ledger.read(slot) == Account(0, len(b"answer"), taken)
        assert slot not in (heir.open(client), heir.open(client))
        connection.settimeout(SECONDS)
        assert connection.recv(65536) == REQUEST
        connection.sendall(b" again")
        assert client.recv(12, socket.MSG_WAITALL) == b"answer again"


def test_what_was_inside_is_answered(keeper: Keeper, connect: Callable[[], Pair]) -> None:
    """A request that the dead gate had begun to read gets one 503, and the connection ends."""
    client, ours = connect()
    with Gate(keeper) as gate:
        gate.open(ours)
        client.sendall(REQUEST)
        ours.recv(7)  # the rest is unread, and must not destroy the answer
        ours.close()
    assert keeper.answer_for_the_dead() == 1
    answer = all_of(client)
    head = answer.partition(b"\r\n\r\n")[0]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in head
    assert b"Connection: close" in head
    with Gate(keeper) as heir:
        assert heir.left == []


@pytest.mark.parametrize("written", [b"", b"answer"])
def test_between_request_and_answer(
    keeper: Keeper, connect: Callable[[], Pair], written: bytes
) -> None:
    """A gate that dies just before an answer, or in the next request, leaves nobody without one."""
    client, ours = connect()
    with Gate(keeper) as gate:
        slot = gate.open(ours)
        client.sendall(REQUEST)
        taken = len(ours.recv(65536))
        gate.guest.ledger.write(slot, 0, len(b"answer"), taken)
        if written:
            ours.sendall(written)
            client.sendall(REQUEST)
            ours.recv(1)
        ours.close()
    assert keeper.answer_for_the_dead() == 1
    assert all_of(client).startswith(written + b"HTTP/1.1 503 ")


def test_one_of_two_answers(keeper: Keeper, connect: Callable[[], Pair]) -> None:
    """Of two requests that came together, the second gets a 503 when the first is answered."""
    client, ours = connect()
    with Gate(keeper) as gate:
        slot = gate.open(ours)
        client.sendall(2 * REQUEST)
        ours.recv(2 * len(REQUEST), socket.MSG_WAITALL)
        gate.guest.ledger.write(slot, 0, len(b"answer"), None)
        ours.sendall(b"answer")
        ours.close()
    assert keeper.answer_for_the_dead() == 1
    assert all_of(client).startswith(b"answerHTTP/1.1 503 ")


def test_half_an_answer(keeper: Keeper, connect: Callable[[], Pair]) -> None:
    """An answer that is half out is not followed by another: the connection ends there."""
    client, ours = connect()
    with Gate(keeper) as gate:
        slot = gate.open(ours)
        client.sendall(REQUEST)
        ours.recv(65536)
        gate.guest.ledger.write(slot, 0, 100, len(REQUEST))
        ours.sendall(b"half")
        ours.close()
    assert keeper.answer_for_the_dead() == 0
    assert all_of(client) == b"half"
    with Gate(keeper) as heir:
        assert heir.left == []


def test_a_client_that_went_too(keeper: Keeper, connect: Callable[[], Pair]) -> None:
    """A client that reset its connection stops nobody's death from being dealt with."""
    client, ours = connect()
    with Gate(keeper) as gate:
        gate.open(ours)
        client.sendall(REQUEST)
        ours.recv(65536)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        ours.close()
    keeper.answer_for_the_dead()
    with Gate(keeper) as heir:
        assert heir.left == []
