"""Clients' connections outlive the gate: the supervisor takes them in, and holds a copy of each.

When a gate is killed, the supervisor answers who has a request inside it with 503, and gives the
quiet connections to the next gate. Which is which: before each answer the gate writes, into memory
that both share, how many bytes it has sent, will have sent, and had taken in; the kernel knows how
many came and went.
"""

import contextlib
import fcntl
import mmap
import os
import selectors
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from container.faults import Fault, FaultError
from container.messages import to_response

_SLOT_NUMBERS, _SLOT_BYTES = 3, 24
_MORE_INSIDE = 2**64 - 1  # more bytes than any connection has taken in
_INFO_BYTES, _COUNTS_AT = 256, 120  # of Linux' tcp_info: tcpi_bytes_acked and _received
_COUNTS = struct.Struct("=QQ")
_LOOKS = 100  # at counts that change meanwhile
_MESSAGE_BYTES = 64
_REST_SECONDS = 1.0
_OWN_DESCRIPTORS = 128  # of supervisor or gate, that are not clients' connections
_GATE_DIED = FaultError(Fault.UNAVAILABLE, "the server restarts; try again")


def memory(slots: int) -> int:
    """A descriptor of the memory that supervisor and gate share, for so many connections."""
    descriptor = os.memfd_create("connections", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, slots * _SLOT_BYTES)
    return descriptor


def slots(connections: int, descriptors: int) -> int:
    """Slots for so many connections: as many again are for who comes then and is told so."""
    return max(2, min(2 * connections, descriptors - _OWN_DESCRIPTORS))


def most_connections(slots: int) -> int:
    """Connections that are served at once where there are so many slots."""
    return slots // 2


class Account(NamedTuple):
    """A connection's bytes at its last answer.

    Attributes:
        sent_before: that had gone out before that answer.
        sent: that have gone out with it.
        taken: that had come in; more than can be if another request was inside the gate already.
    """

    sent_before: int = 0
    sent: int = 0
    taken: int = 0


class Ledger:
    """The account of each connection."""

    def __init__(self, descriptor: int) -> None:
        self._numbers = memoryview(mmap.mmap(descriptor, 0)).cast("Q")
        self.slots = len(self._numbers) // _SLOT_NUMBERS

    def write(self, slot: int, sent_before: int, sent: int, taken: int | None) -> None:
        """An answer is about to go out; ``taken`` is None if it is not the last for what came.

        Whoever dies between these stores, each of which is one of the processor's, owes an answer,
        and that is what is read.
        """
        at = slot * _SLOT_NUMBERS
        self._numbers[at] = sent_before
        self._numbers[at + 1] = sent
        self._numbers[at + 2] = _MORE_INSIDE if taken is None else taken

    def read(self, slot: int) -> Account:
        """What was written last."""
        at = slot * _SLOT_NUMBERS
        return Account(*self._numbers[at : at + _SLOT_NUMBERS])


class Guest:
    """The gate's side: is given connections, and gives them back, without ever waiting.

    Args:
        channel: to the supervisor; a message is a slot's number, with its connection or without.
        ledger: shared with it.
        when_writable: has a function called when the channel can be written; None ends it.
    """

    def __init__(
        self,
        channel: socket.socket,
        ledger: Ledger,
        when_writable: Callable[[Callable[[], None] | None], None],
    ) -> None:
        self._channel, self.ledger, self._when_writable = channel, ledger, when_writable
        self._channel.setblocking(False)
        self._unsent: deque[bytes] = deque()

    def next(self) -> tuple[int, socket.socket] | None:
        """A connection that came, or that the last gate left, and its slot; None if none waits."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_BYTES, 1)
        except BlockingIOError:
            return None
        return (int(message), socket.socket(fileno=descriptors[0])) if descriptors else None

    def closed(self, slot: int) -> None:
        """A client has gone, or was sent away."""
        self._unsent.append(b"%d" % slot)
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._unsent:
            try:
                self._channel.send(self._unsent[0])
            except BlockingIOError:
                self._when_writable(self._flush)
                return
            except OSError:  # the supervisor has gone, and we go with it
                pass
            self._unsent.popleft()
            if not self._unsent:
                self._when_writable(None)


class Keeper:
    """The supervisor's side: takes connections in, and holds the copies.

    Args:
        listener: where clients come.
        slots: connections that can be held; who comes after them waits in the listener's queue.
        selector: of the supervisor's loop, which calls what each key has as its data.
    """

    def __init__(
        self, listener: socket.socket, slots: int, selector: selectors.BaseSelector
    ) -> None:
        self.descriptor = memory(slots)
        self._listener, self._selector = listener, selector
        self._listener.setblocking(False)
        self._ledger = Ledger(self.descriptor)
        self._free = list(range(slots - 1, -1, -1))
        self._held: dict[int, socket.socket] = {}
        self._ungiven: deque[int] = deque()  # slots that the gate has not been given yet
        self._channel: socket.socket | None = None
        self._rests_until = 0.0

    def new_channel(self) -> socket.socket:
        """A channel for the next gate, which is given first what the last one left."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        self._ungiven = deque(self._held)
        self._give()
        return theirs

    def watch(self) -> None:
        """Say to the selector what is waited for now; to be called before each wait."""
        takes = self._channel is not None and not self._ungiven and bool(self._free)
        takes = takes and time.monotonic() >= self._rests_until
        self._wait_for(self._listener, selectors.EVENT_READ if takes else 0, self._take)
        if self._channel is not None:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._ungiven else 0)
            self._wait_for(self._channel, events, self._speak)

    def _wait_for(self, file: socket.socket, events: int, act: Callable[[], None]) -> None:
        key = self._selector.get_map().get(file.fileno())
        if key is None and events:
            self._selector.register(file, events, act)
        elif key is not None and not events:
            self._selector.unregister(file)
        elif key is not None and key.events != events:
            self._selector.modify(file, events, act)

    def _take(self) -> None:
        """Take in who waits, and give them to the gate."""
        while self._free and not self._ungiven:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:  # there are no more descriptors: what is left in the queue waits there
                self._rests_until = time.monotonic() + _REST_SECONDS
                return
            slot = self._free.pop()
            self._ledger.write(slot, 0, 0, 0)
            self._held[slot] = connection
            self._ungiven.append(slot)
            self._give()

    def _speak(self) -> None:
        self._hear()
        self._give()

    def _give(self) -> None:
        """Give the gate what it has not been given, as far as the channel takes it."""
        while self._ungiven and self._channel is not None:
            slot = self._ungiven[0]
            try:
                socket.send_fds(self._channel, [b"%d" % slot], [self._held[slot].fileno()])
            except OSError:  # the channel is full, or the gate is dead: the next one is given it
                return
            self._ungiven.popleft()

    def _hear(self) -> None:
        """Take what the gate has said, to the end if it is dead."""
        while self._channel is not None:
            try:
                message = self._channel.recv(_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if message:
                self._let_go(int(message))
            else:
                self._wait_for(self._channel, 0, self._speak)
                self._channel.close()
                self._channel = None

    def answer_for_the_dead(self) -> int:
        """The gate is dead: answer the requests that were inside it, and return how many."""
        self._hear()
        answered = 0
        for slot, connection in list(self._held.items()):
            account = self._ledger.read(slot)
            counts = _counts(connection)
            if counts == (account.sent, account.taken):
                continue  # quiet: the next gate goes on with it
            if counts is not None and counts.sent in (account.sent_before, account.sent):
                answered += 1
                with contextlib.suppress(OSError):
                    connection.send(to_response(_GATE_DIED).to_bytes(keep_alive=False))
            # Else an answer is half out, and nobody can go on with it.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
                _drop_what_came(connection)
            self._let_go(slot)
        return answered

    def _let_go(self, slot: int) -> None:
        self._held.pop(slot).close()
        self._free.append(slot)


class Counts(NamedTuple):
    """Bytes of a TCP connection that its process has written and read."""

    sent: int
    taken: int


def counts(connection: socket.socket) -> Counts:
    """What the kernel knows of a connection.

    Raises:
        OSError: it is not connected any more.
    """
    for _ in range(_LOOKS):
        acknowledged, received = _acknowledged_and_received(connection)
        unacknowledged = _ask(connection, termios.TIOCOUTQ)
        unread = _ask(connection, termios.FIONREAD)
        if (acknowledged, received) == _acknowledged_and_received(connection):
            break
    return Counts(acknowledged + unacknowledged, received - unread)


def _acknowledged_and_received(connection: socket.socket) -> tuple[int, int]:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    acknowledged, received = _COUNTS.unpack_from(info, _COUNTS_AT)
    return int(acknowledged), int(received)


def _ask(connection: socket.socket, request: int) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(connection, request, b"\0" * 4))
    return int(count)


def _counts(connection: socket.socket) -> Counts | None:
    try:
        return counts(connection)
    except OSError:
        return None


def _drop_what_came(connection: socket.socket) -> None:
    """Unread bytes at a close would send a reset, which destroys the answer before it is read."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while connection.recv(65536):
            pass
