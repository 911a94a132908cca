"""Connections that outlive the gate: who holds them, and what becomes of what was inside."""

import contextlib
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.keeper import (
    Account,
    Guest,
    Keeper,
    Ledger,
    counts,
    memory,
    most_connections,
    slots,
)

REQUEST = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
SECONDS, SLOTS = 10, 3


class Door:
    """A keeper with its listener, the loop that serves both, and clients."""

    def __init__(self, count: int) -> None:
        self._stack = contextlib.ExitStack()
        self.listener = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self.keeper = Keeper(self.listener, count, self._selector)
        self._stack.callback(os.close, self.keeper.descriptor)

    def client(self) -> socket.socket:
        """Who comes to the listener."""
        address = self.listener.getsockname()
        client = socket.create_connection(address, SECONDS)
        return self._stack.enter_context(client)

    def turn(self) -> int:
        """One turn of the supervisor's loop; how many events there were."""
        self.keeper.watch()
        events = self._selector.select(0)
        for key, _ in events:
            key.data()
        return len(events)

    def settle(self) -> None:
        """Turns, until nothing happens."""
        give_up = time.monotonic() + SECONDS
        while self.turn():
            assert time.monotonic() < give_up

    def close(self) -> None:
        """End."""
        self.keeper.answer_for_the_dead()
        for slot in list(self.keeper._held):
            self.keeper._let_go(slot)
        self._stack.close()


@pytest.fixture
def door() -> Iterator[Door]:
    """A door with three slots."""
    one = Door(SLOTS)
    yield one
    one.close()


class Gate:
    """As much of a gate as the supervisor sees: its channel, until it dies."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self.channel = door.keeper.new_channel()
        self.wanted: Callable[[], None] | None = None  # called when the channel can be written
        self.guest = Guest(self.channel, Ledger(door.keeper.descriptor), self.when_writable)
        self.clients: list[socket.socket] = []

    def when_writable(self, act: Callable[[], None] | None) -> None:
        """What a loop does."""
        self.wanted = act

    def next(self) -> tuple[int, socket.socket] | None:
        """Who comes next."""
        self._door.settle()
        arrival = self.guest.next()
        if arrival is not None:
            arrival[1].settimeout(SECONDS)
            self.clients.append(arrival[1])
        return arrival

    def open(self) -> tuple[socket.socket, int, socket.socket]:
        """A client comes: its end, the slot, and our end."""
        client = self._door.client()
        arrival = self.next()
        assert arrival is not None
        return client, *arrival

    def __enter__(self) -> "Gate":
        return self

    def __exit__(self, *_: object) -> None:
        """Die."""
        self.channel.close()
        for client in self.clients:
            client.close()


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


def test_counts() -> None:
    """What the kernel has and the gate has not read is not taken in; what waits there is sent."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), SECONDS) as client,
        listener.accept()[0] as ours,
    ):
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


def test_a_copy_is_held(door: Door) -> None:
    """A connection stays open while the gate has not said that it is closed, and then no more."""
    with Gate(door) as gate:
        client, slot, ours = gate.open()
        ours.close()
        door.settle()
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        gate.guest.closed(slot)
        door.settle()
        client.settimeout(SECONDS)
        assert client.recv(1) == b""


def test_slots(door: Door) -> None:
    """Who comes when no slot is free waits for the one that becomes free."""
    with Gate(door) as gate:
        slots = [gate.open()[1] for _ in range(SLOTS)]
        assert sorted(slots) == list(range(SLOTS))
        late = door.client()
        assert gate.next() is None
        gate.guest.ledger.write(slots[1], 1, 2, 99)
        gate.guest.closed(slots[1])
        arrival = gate.next()
        assert arrival is not None
        assert arrival[0] == slots[1]
        assert gate.guest.ledger.read(slots[1]) == Account()  # not its predecessor's
        late.sendall(b"!")
        assert arrival[1].recv(1) == b"!"


def test_how_many_slots() -> None:
    """For each connection two, as far as there are descriptors; never none."""
    assert most_connections(slots(connections=40, descriptors=65536)) == 40
    assert slots(connections=4096, descriptors=1024) < 1024
    assert most_connections(slots(connections=1, descriptors=10)) == 1


def test_a_supervisor_that_does_not_listen() -> None:
    """It stops no gate, and later hears all, in order."""
    supervisor, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wanted: list[Callable[[], None] | None] = []
    descriptor = memory(1)
    guest = Guest(channel, Ledger(descriptor), wanted.append)
    os.close(descriptor)
    with supervisor, channel:
        said = 0
        while not wanted:
            guest.closed(said)
            said += 1
        guest.closed(said)
        heard = []
        supervisor.setblocking(False)
        while wanted[-1] is not None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard.append(int(supervisor.recv(64)))
            wanted[-1]()
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.append(int(supervisor.recv(64)))
        assert heard == list(range(said + 1))


def test_a_gate_that_does_not_look() -> None:
    """It stops no supervisor, and later gets everybody; so does the gate after it."""
    door = Door(many := 1000)
    try:
        with Gate(door):
            clients = [door.client() for _ in range(100)]
            door.settle()
            turns = 0
            while len(door.keeper._held) == len(clients) and turns < 100:
                assert len(clients) < many, "the channel takes them all"
                turns += 1
                door.turn()
                if len(door.keeper._held) == len(clients):
                    clients.append(door.client())
                    turns = 0
            held = len(door.keeper._held)
        assert door.keeper.answer_for_the_dead() == 0
        with Gate(door) as heir:
            got = 0
            while heir.next() is not None:
                got += 1
            assert got == len(clients) >= held
    finally:
        door.close()


def test_who_comes_while_there_is_no_gate(door: Door) -> None:
    """Clients wait for the next gate, with what they have sent."""
    client = door.client()
    client.sendall(REQUEST)
    door.settle()
    with Gate(door) as gate:
        arrival = gate.next()
        assert arrival is not None
        assert arrival[1].recv(65536) == REQUEST


def test_a_gate_that_dies_before_it_looks(door: Door) -> None:
    """Who was given to a gate that never looked is given to the next one."""
    with Gate(door):
        client = door.client()
        client.sendall(REQUEST)
        door.settle()
    assert door.keeper.answer_for_the_dead() == 0
    with Gate(door) as heir:
        arrival = heir.next()
        assert arrival is not None
        assert arrival[1].recv(65536) == REQUEST


def test_quiet_connections_go_on(door: Door) -> None:
    """The next gate has the connections on which nothing went on, and what came meanwhile."""
    with Gate(door) as gate:
        client, slot, ours = gate.open()
        client.sendall(REQUEST)
        taken = len(ours.recv(65536))
        gate.guest.ledger.write(slot, 0, len(b"answer"), taken)
        ours.sendall(b"answer")
        client.sendall(REQUEST)  # the gate dies before it reads this one
        assert ours.recv(65536, socket.MSG_PEEK) == REQUEST
        ours.close()
    assert door.keeper.answer_for_the_dead() == 0
    with Gate(door) as heir:
        arrival = heir.next()
        assert arrival is not None
        same, connection = arrival
        assert same == slot
        assert heir.guest.ledger.read(slot) == Account(0, len(b"answer"), taken)
        assert slot not in (heir.open()[1], heir.open()[1])
        assert connection.recv(65536) == REQUEST
        connection.sendall(b" again")
        assert client.recv(12, socket.MSG_WAITALL) == b"answer again"


def test_what_was_inside_is_answered(door: Door) -> None:
    """A request that the dead gate had begun to read gets one 503, and the connection ends."""
    with Gate(door) as gate:
        client, _, ours = gate.open()
        client.sendall(REQUEST)
        ours.recv(7)  # the rest is unread, and must not destroy the answer
        ours.close()
    assert door.keeper.answer_for_the_dead() == 1
    answer = all_of(client)
    head = answer.partition(b"\r\n\r\n")[0]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in head
    assert b"Connection: close" in head
    with Gate(door) as heir:
        assert heir.next() is None


@pytest.mark.parametrize("written", [b"", b"answer"])
def test_between_request_and_answer(door: Door, written: bytes) -> None:
    """A gate that dies just before an answer, or in the next request, leaves nobody without one."""
    with Gate(door) as gate:
        client, slot, ours = gate.open()
        client.sendall(REQUEST)
        taken = len(ours.recv(65536))
        gate.guest.ledger.write(slot, 0, len(b"answer"), taken)
        if written:
            ours.sendall(written)
            client.sendall(REQUEST)
            ours.recv(1)
        ours.close()
    assert door.keeper.answer_for_the_dead() == 1
    assert all_of(client).startswith(written + b"HTTP/1.1 503 ")


def test_one_of_two_answers(door: Door) -> None:
    """Of two requests that came together, the second gets a 503 when the first is answered."""
    with Gate(door) as gate:
        client, slot, ours = gate.open()
        client.sendall(2 * REQUEST)
        ours.recv(2 * len(REQUEST), socket.MSG_WAITALL)
        gate.guest.ledger.write(slot, 0, len(b"answer"), None)
        ours.sendall(b"answer")
        ours.close()
    assert door.keeper.answer_for_the_dead() == 1
    assert all_of(client).startswith(b"answerHTTP/1.1 503 ")


def test_half_an_answer(door: Door) -> None:
    """An answer that is half out is not followed by another: the connection ends there."""
    with Gate(door) as gate:
        client, slot, ours = gate.open()
        client.sendall(REQUEST)
        ours.recv(65536)
        gate.guest.ledger.write(slot, 0, 100, len(REQUEST))
        ours.sendall(b"half")
        ours.close()
    assert door.keeper.answer_for_the_dead() == 0
    assert all_of(client) == b"half"
    with Gate(door) as heir:
        assert heir.next() is None


def test_a_client_that_went_too(door: Door) -> None:
    """A client that reset its connection stops nobody's death from being dealt with."""
    with Gate(door) as gate:
        client, _, ours = gate.open()
        client.sendall(REQUEST)
        ours.recv(65536)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        ours.close()
    door.keeper.answer_for_the_dead()
    with Gate(door) as heir:
        assert heir.next() is None
