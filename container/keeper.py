"""Clients' connections outlive the gate: the supervisor holds a copy of each.

When a gate is killed, the supervisor answers who has a request inside it with 503, and gives the
quiet connections to the next gate. Which is which: before each answer the gate writes, into memory
that both share, how many bytes it has sent, will have sent, and had taken in; the kernel knows how
many came and went.
"""

import contextlib
import fcntl
import mmap
import os
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from container.faults import Fault, FaultError
from container.messages import to_response

_SLOT = struct.Struct("=QQQ")
_MORE_INSIDE = 2**64 - 1  # more bytes than any connection has taken in
_INFO_BYTES, _COUNTS_AT = 256, 120  # of Linux' tcp_info: tcpi_bytes_acked and _received
_COUNTS = struct.Struct("=QQ")
_LOOKS = 100  # at counts that change meanwhile
_MESSAGE_BYTES = 64
_GATE_DIED = FaultError(Fault.UNAVAILABLE, "the server restarts; try again")


def memory(slots: int) -> int:
    """A descriptor of the memory that supervisor and gate share, for so many connections."""
    descriptor = os.memfd_create("connections", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, slots * _SLOT.size)
    return descriptor


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
        self._memory = mmap.mmap(descriptor, 0)
        self.slots = len(self._memory) // _SLOT.size

    def write(self, slot: int, sent_before: int, sent: int, taken: int | None) -> None:
        """An answer is about to go out; ``taken`` is None if it is not the last for what came."""
        inside = _MORE_INSIDE if taken is None else taken
        _SLOT.pack_into(self._memory, slot * _SLOT.size, sent_before, sent, inside)

    def read(self, slot: int) -> Account:
        """What was written last."""
        return Account(*_SLOT.unpack_from(self._memory, slot * _SLOT.size))


class Guest:
    """The gate's side: tells the supervisor of connections, without ever waiting for it.

    Args:
        channel: to the supervisor, one message a connection that opens or closes.
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
        self._free = list(range(ledger.slots - 1, -1, -1))
        self._unsent: deque[tuple[bytes, list[int]]] = deque()

    def inherited(self) -> list[tuple[int, socket.socket]]:
        """The connections that the last gate left: they are what the channel begins with."""
        found: list[tuple[int, socket.socket]] = []
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_BYTES, 1)
            if not descriptors:
                self._channel.setblocking(False)
                return found
            slot = int(message)
            self._free.remove(slot)
            found.append((slot, socket.socket(fileno=descriptors[0])))

    def opened(self, descriptor: int) -> int | None:
        """A client has come; its slot, or None when there is none for it."""
        if not self._free:
            return None
        slot = self._free.pop()
        self.ledger.write(slot, 0, 0, 0)
        # A copy, since the message may have to wait until the client has gone.
        self._send(b"%d" % slot, [os.dup(descriptor)])
        return slot

    def closed(self, slot: int) -> None:
        """A client has gone, or was sent away."""
        self._free.append(slot)
        self._send(b"%d" % slot, [])

    def _send(self, message: bytes, copies: list[int]) -> None:
        self._unsent.append((message, copies))
        if len(self._unsent) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._unsent:
            message, copies = self._unsent[0]
            try:
                socket.send_fds(self._channel, [message], copies)
            except BlockingIOError:
                self._when_writable(self._flush)
                return
            except OSError:  # the supervisor has gone, and we go with it
                pass
            for copy in copies:
                os.close(copy)
            self._unsent.popleft()
            if not self._unsent:
                self._when_writable(None)


class Keeper:
    """The supervisor's side: holds the copies.

    Args:
        slots: connections that can be held.
    """

    def __init__(self, slots: int) -> None:
        self.descriptor = memory(slots)
        self._ledger = Ledger(self.descriptor)
        self._held: dict[int, socket.socket] = {}
        self.channel: socket.socket | None = None

    def new_channel(self) -> socket.socket:
        """A channel for the next gate, with the connections that the last one left in it."""
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        for slot, connection in list(self._held.items()):
            try:
                socket.send_fds(self.channel, [b"%d" % slot], [connection.fileno()])
            except OSError:  # the channel is full: these clients come again
                self._let_go(slot)
        with contextlib.suppress(OSError):
            self.channel.send(b"end")
        return theirs

    def hear(self) -> bool:
        """Take what the gate has said; False when it has said all."""
        if self.channel is None:
            return False
        try:
            message, descriptors, _, _ = socket.recv_fds(self.channel, _MESSAGE_BYTES, 1)
        except OSError:
            return False
        if not message:
            return False
        slot = int(message)
        self._let_go(slot)
        if descriptors:
            self._held[slot] = socket.socket(fileno=descriptors[0])
        return True

    def answer_for_the_dead(self) -> int:
        """The gate is dead: answer the requests that were inside it, and return how many."""
        while self.hear():
            pass
        if self.channel is not None:
            self.channel.close()
            self.channel = None
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
        if (connection := self._held.pop(slot, None)) is not None:
            connection.close()


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
