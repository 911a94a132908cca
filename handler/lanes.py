"""The child that serves: every lane that MMS opens, on one event loop, over the same models."""

import asyncio
import contextlib
import os
import socket
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import uvloop
from sagemaker_inference import content_types

from handler import envelope, frames
from handler.disposable import Disposables
from handler.envelope import DIRECTORY, UNTIL, EnvelopeError
from handler.ledger import Ledger, State
from handler.service import SERVICE, Service

_SWITCH_SECONDS = 0.0005  # a thread with long work lets the loop run after so long
_CHUNK = 64 * 1024
_MESSAGE_BYTES = 64
_WAITING = 8  # threads that wait for disposable processes
_SCRIPTS = 32  # that wait for users' scripts
_NO_DEADLINE_SECONDS = 300.0
_BEAT_SECONDS = 0.1  # how often the parent is shown that the loop runs


def serve(control: socket.socket, ledger: Ledger, lanes: dict[int, socket.socket]) -> None:
    """Answer lanes until the process is killed.

    Args:
        control: to the parent, which sends new lanes and takes jobs and closed lanes.
        ledger: where the state of each lane is kept.
        lanes: those that there are already.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    SERVICE.admission.use(Disposables(control))
    uvloop.run(Child(control, ledger, SERVICE).serve(lanes))


class Child:
    """What the lanes of one child share."""

    def __init__(self, control: socket.socket, ledger: Ledger, service: Service) -> None:
        self._control = control
        self.ledger = ledger
        self.service = service
        self.waiting = ThreadPoolExecutor(_WAITING)
        self.scripts = ThreadPoolExecutor(_SCRIPTS)

    async def serve(self, lanes: dict[int, socket.socket]) -> None:
        """Take lanes as they come, for ever."""
        self.loop = asyncio.get_running_loop()
        for number, lane in lanes.items():
            Lane(number, lane, self)
        self.loop.add_reader(self._control, self._take)
        while True:
            self.ledger.beat(time.monotonic())
            await asyncio.sleep(_BEAT_SECONDS)

    def _take(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 1)
        if not message:
            os._exit(1)  # the parent has gone
        Lane(int(message), socket.socket(fileno=descriptors[0]), self)

    def closed(self, number: int) -> None:
        """Tell the parent that a lane is closed: it has a descriptor of it too."""
        self._control.send(b"%d" % number)


class Lane:
    """One connection of MMS: it sends one request and waits for its answer.

    The ledger is told before bytes are taken from the socket, never after.
    """

    def __init__(self, number: int, lane: socket.socket, child: Child) -> None:
        self._number, self._socket, self._child = number, lane, child
        self._ledger, self._service, self._loop = child.ledger, child.service, child.loop
        self._received = bytearray()
        self._needed = 1  # bytes, before it is worth a look
        lane.setblocking(False)
        self._loop.add_reader(lane, self._readable)

    def _readable(self) -> None:
        self._ledger.set(self._number, State.READING)
        try:
            data = self._socket.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            if not self._received:
                self._ledger.set(self._number, State.IDLE)
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        if not self._received and self._answered_quickly(data):
            return
        frame: bytes | bytearray = data
        if self._received:
            self._received += data
            frame = self._received
        if len(frame) < self._needed:
            return
        try:
            message, _ = frames.read(frame)
        except frames.IncompleteError as incomplete:
            self._needed = incomplete.needed
            self._received = self._received or bytearray(data)
            return
        except frames.FrameError:
            traceback.print_exc()
            self._close()
            return
        # MMS waits for the answer before it sends the next request: nothing follows.
        self._received, self._needed = bytearray(), 1
        if isinstance(message, frames.Load):
            self._write(frames.loaded(message.name, os.getppid()))
        else:
            self._answer(message)

    def _answered_quickly(self, data: bytes) -> bool:
        """Answer what came, if it is one invocation that takes some microseconds."""
        opened = frames.open_invocation(data)
        if opened is None:
            return False
        request_id, until, name, content_type, accept, body = opened
        self._ledger.inside(self._number, request_id, until)
        answer = self._service.quick(name, content_type, accept, body)
        if answer is None:
            self._ledger.set(self._number, State.READING)
            return False
        self._write(frames.answered(request_id, content_types.JSON, answer))
        return True

    def _answer(self, message: frames.Invoke) -> None:
        try:
            headers, body = envelope.unseal(message.body)
        except EnvelopeError:  # it is not of the gate
            traceback.print_exc()
            self._close()
            return
        service, asked = self._service, (message.request_id, headers, body)
        until = headers.get(UNTIL)
        ends = float(until) if until else time.monotonic() + _NO_DEADLINE_SECONDS
        self._ledger.inside(self._number, message.request_id, ends)
        if DIRECTORY in headers:
            executor: ThreadPoolExecutor | None = self._child.waiting
        elif service.asks_script(headers):
            executor = self._child.scripts
        elif service.takes_long(headers, body):
            executor = None
        else:
            self._write(self._answered(*asked))
            return
        # It leaves the loop to the other lanes.
        work = self._loop.run_in_executor(executor, self._answered, *asked)
        work.add_done_callback(lambda done: self._write(done.result()))

    def _answered(self, request_id: bytes, headers: dict[str, str], body: bytes) -> bytes:
        answer = self._service.answer(headers, body)
        return frames.answered(request_id, answer.content_type, answer.for_gate())

    def _write(self, data: bytes | memoryview) -> None:
        if self._socket.fileno() < 0:  # MMS closed the lane meanwhile
            return
        self._ledger.set(self._number, State.WRITING)
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._close()
            return
        if sent < len(data):
            rest = memoryview(data)[sent:]
            self._loop.add_writer(self._socket, lambda: self._write_rest(rest))
        else:
            self._ledger.set(self._number, State.IDLE)

    def _write_rest(self, rest: memoryview) -> None:
        self._loop.remove_writer(self._socket)
        self._write(rest)

    def _close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._child.closed(self._number)
