"""The program that MMS starts (its ``--python`` option): a parent that imports and forks.

The parent pays for the imports once, binds the socket and forks the child that serves. When the
child dies the parent forks the next in milliseconds; the listening socket stays open meanwhile, so
MMS reconnects its lanes by itself. When MMS dies the parent sees its standard input close and goes,
and the child with it: nothing is left behind.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_BACKLOG = 128
_QUIET_SECONDS = 1.0  # a child that lived this long did not die of its start
_LONGEST_DELAY_SECONDS = 5.0


def main() -> int:
    """Serve as MMS's worker, or run what else MMS runs with its Python: its metric collector."""
    program, *options = sys.argv[1:]
    if Path(program).name != "model_service_worker.py":
        os.execv(sys.executable, [sys.executable, program, *options])  # noqa: S606  # as asked
    # What a model prints must not be read as a message to MMS: only these lines go to it.
    to_mms = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    listener = _listen(options[options.index("--sock-name") + 1])

    import gc

    from handler import lanes  # numpy and xgboost come with it: once, before any fork

    gc.collect()
    gc.freeze()  # the child never writes to these pages, so they stay shared
    to_mms.write(f"[PID] {os.getpid()}\nMMS worker started.\n")
    to_mms.flush()
    _keep_forking(listener, lanes.serve)
    return 0


def _listen(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(_BACKLOG)
    return listener


def _keep_forking(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Fork a child, wait until it or MMS dies, and again; slower when children die at once."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    delay = 0.0
    while True:
        born = time.monotonic()
        child = _fork(listener, serve)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if _mms_is_gone([0, woken], timeout=None):
                os.kill(child, signal.SIGKILL)
                return
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
        lived = time.monotonic() - born
        delay = 0.0 if lived > _QUIET_SECONDS else min(2 * delay + 0.05, _LONGEST_DELAY_SECONDS)
        if _mms_is_gone([0], timeout=delay):
            return


def _mms_is_gone(wait_for: list[int], timeout: float | None) -> bool:
    """Wait for one of the descriptors; True when MMS has closed our standard input."""
    ready, _, _ = select.select(wait_for, [], [], timeout)
    return 0 in ready and not os.read(0, 4096)


def _fork(listener: socket.socket, serve: Callable[[socket.socket], None]) -> int:
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    try:
        serve(listener)
    finally:
        os._exit(1)  # the child never returns into the parent's frames
