"""Disposable processes: one job each, which may crash, hang or swell without harm to anyone.

The parent forks them before they are needed (``handler.nursery``); a job comes to one with its
files as descriptors, and its answer goes straight back to who asked: a thread of the child.
"""

import contextlib
import json
import math
import os
import resource
import socket
import struct
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from handler import memory
from handler.errors import Fault, HandlerError

MAX_MESSAGE_BYTES = 16 * 1024
_HEAD = struct.Struct(">HHQ")  # status, length of the content type, length of the body
APART = b"apart "  # before a message: for a new process, which does nothing else
_MOST_JOBS = 1000  # of one process
_DIED = 0  # the status that the parent sends for a process that died
_CHUNK = 1024**2
_ALLOWED_BYTES, _ALLOWED_TIMES = 256 * memory.MIB, 60  # of memory, and for each byte of the files
_MOST_OF_AVAILABLE = 0.8
_FRESH_SECONDS = 1.0  # that a look at the machine's memory is good for
_LATE_SECONDS = 0.05  # so that who asked has the answer before nobody waits for it

Job = Mapping[str, str]
Reply = tuple[int, str, bytes]  # an HTTP status, a content type, a body
Work = Callable[[Job, Sequence[bytes]], Reply]


class DiedError(Exception):
    """The process died; the message is how, such as the name of a signal."""


class Disposables:
    """The asking side, for threads of the child.

    Args:
        control: the child's socket to the parent, one message a call.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def run(self, job: Job, files: Sequence[bytes], until: float, *, apart: bool) -> Reply:
        """Have one job done in another process, and wait for it.

        Args:
            job: texts that say what to do.
            files: bytes that it is done to.
            until: CLOCK_MONOTONIC seconds; then the process is killed.
            apart: in a process that does nothing else, before or after.

        Raises:
            DiedError: the process died.
            TimeoutError: it took too long.
        """
        mine, theirs = socket.socketpair()
        with mine:
            descriptors = []
            try:
                with theirs:
                    descriptors = [_in_memory(data) for data in files]
                    message = (APART if apart else b"") + json.dumps(job).encode()
                    fds = [theirs.fileno(), *descriptors]
                    socket.send_fds(self._control, [message], fds)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            return _received(mine, until - _LATE_SECONDS)


def _in_memory(data: bytes) -> int:
    descriptor = os.memfd_create("job")
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])
    return descriptor


def _received(mine: socket.socket, until: float) -> Reply:
    received = bytearray()
    needed = _HEAD.size
    while len(received) < needed:
        mine.settimeout(max(0.001, until - time.monotonic()))
        data = mine.recv(_CHUNK)
        if not data:
            raise DiedError("it is gone")
        received += data
        if len(received) >= _HEAD.size:
            status, kind, length = _HEAD.unpack_from(received)
            needed = _HEAD.size + kind + length
    head = bytes(received[_HEAD.size : _HEAD.size + kind]).decode()
    body = bytes(memoryview(received)[_HEAD.size + kind : needed])
    if status == _DIED:
        raise DiedError(body.decode())
    return status, head, body


def died(how: str) -> bytes:
    """What the parent sends to who asked, for a process that died."""
    body = how.encode()
    return _HEAD.pack(_DIED, 0, len(body)) + body


def wait_and_work(channel: socket.socket, work: Work) -> None:
    """Be a disposable process: do jobs until one of them does not go well, and never return."""
    try:
        # The kernel, too, is to take this one first.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        bounds = _Bounds()
        for _ in range(_MOST_JOBS):
            message, descriptors, _, _ = socket.recv_fds(channel, MAX_MESSAGE_BYTES, 4)
            if not message or not _do(message, descriptors, channel, work, bounds):
                break
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _do(
    message: bytes,
    descriptors: list[int],
    channel: socket.socket,
    work: Work,
    bounds: "_Bounds",
) -> bool:
    """Do one job, and say so to the parent; whether this process is fit for another."""
    files = [_read(descriptor) for descriptor in descriptors[1:]]
    clamped = bounds.set(sum(len(data) for data in files))
    apart = message.startswith(APART)
    try:
        status, kind, body = work(json.loads(message.removeprefix(APART)), files)
    except MemoryError:
        error = _no_memory(clamped)
        status, kind, body = error.fault.status, "application/json", error.body()
    fit = status == 200 and not apart
    with socket.socket(fileno=descriptors[0]) as reply:
        reply.setblocking(True)
        reply.sendall(_HEAD.pack(status, len(kind), len(body)) + kind.encode() + body)
    if fit:
        channel.send(b"d")  # done, and ready for more
    return fit


def _read(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    parts: list[bytes] = []
    while size > 0 and (part := os.pread(descriptor, size, sum(len(part) for part in parts))):
        parts.append(part)
        size -= len(part)
    os.close(descriptor)
    return b"".join(parts)


class _Bounds:
    """This process's bounds: memory may grow by what a sound file of a size can explain."""

    def __init__(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        self._begun_with = pages * resource.getpagesize()
        self._looked_at = -math.inf
        self._available = 0

    def set(self, size: int) -> bool:
        """Set them for files of so many bytes; whether the machine has less than they allow."""
        now = time.monotonic()
        if now > self._looked_at + _FRESH_SECONDS:
            self._looked_at = now
            self._available = int(memory.available_bytes()[0] * _MOST_OF_AVAILABLE)
        allowed = _ALLOWED_BYTES + _ALLOWED_TIMES * size
        most = self._begun_with + min(allowed, self._available)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        return self._available < allowed


def _no_memory(clamped: bool) -> HandlerError:
    if clamped:
        return HandlerError(
            Fault.OUT_OF_MEMORY, "not enough memory for this model; unload models and try again"
        )
    return HandlerError(
        Fault.BAD_MODEL, "the model is damaged: it wants more memory than its size explains"
    )
