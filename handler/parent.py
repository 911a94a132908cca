"""The parent: keeps the lanes and the ledger, and forks whatever may die.

MMS's lanes end here. The child that serves has them only on loan, so MMS does not notice when it
dies: the next child takes the lanes over in milliseconds, and a request that was inside the dead
one is answered by the parent, who knows its id from the ledger. The parent itself never looks at
what models or clients send.
"""

import contextlib
import ctypes
import math
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from handler import disposable, frames, memory
from handler.ledger import MAX_LANES, Ledger, State
from handler.nursery import Nursery

LOST = 599  # the status that tells the gate that a request was lost with its process
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_QUIET_SECONDS = 1.0  # a child that lived this long did not die of its start
_LONGEST_DELAY_SECONDS = 5.0
_LOOK_SECONDS = 0.1  # how often the ledger is looked at for requests that are overdue
_GRACE_SECONDS = 0.1  # for the child to answer an overdue request itself
_BLOCKED_SECONDS, _BUSY_SECONDS = 0.3, 10.0  # that the child's loop may not run, by what it does

Lanes = dict[int, socket.socket]
Serve = Callable[[socket.socket, Ledger, Lanes], None]


class Parent:
    """One worker program as MMS sees it.

    Args:
        listener: where MMS opens its lanes.
        life: where the gate connects, to be told of our end by the end of its connection.
        serve: what the child does, and never returns from.
        work: what a disposable process does with a job.
    """

    def __init__(
        self, listener: socket.socket, life: socket.socket, serve: Serve, work: disposable.Work
    ) -> None:
        self._listener, self._life = listener, life
        self._serve = serve
        self._ledger = Ledger()
        self._lanes: Lanes = {}
        self._free = list(range(MAX_LANES - 1, -1, -1))
        self._child: int | None = None
        self._control: socket.socket | None = None
        self._killed_for = ""  # why we killed the child
        self._how = ""  # the last child died
        self._born = 0.0
        self._fork_at = 0.0
        self._delay = 0.0
        self._look_at = 0.0
        self._asleep = 0  # times that the child was found so
        self._oom_kills = memory.oom_kills()
        self._selector = selectors.DefaultSelector()
        self._nursery = Nursery(self._selector, self._fork_disposable, work)

    def run(self) -> None:
        """Serve until MMS closes our standard input."""
        woken, wake = os.pipe()
        for end in (woken, wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._listener.setblocking(False)
        self._life.setblocking(False)
        self._watch(0, None)
        self._watch(woken, lambda: self._reap(woken))
        self._watch(self._listener, self._open_lane)
        self._watch(self._life, self._be_watched)
        while True:
            self._fork_child_if_due()
            self._nursery.go_on()
            for key, _ in self._selector.select(_LOOK_SECONDS):
                if key.fd == 0:
                    if not os.read(0, 4096):
                        return self._end()
                elif key.fd in self._selector.get_map():  # not closed by one before it
                    key.data()
            self._look_after_child()

    def _watch(self, file: socket.socket | int, act: Callable[[], None] | None) -> None:
        self._selector.register(file, selectors.EVENT_READ, act)

    def _forget(self, file: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(file)
        file.close()

    def _end(self) -> None:
        self._nursery.kill_all()
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)

    # Lanes.

    def _open_lane(self) -> None:
        with contextlib.suppress(OSError):
            lane, _ = self._listener.accept()
            if not self._free:
                lane.close()
                return
            number = self._free.pop()
            self._ledger.set(number, State.IDLE)
            self._lanes[number] = lane
            if self._control is not None:
                self._lend(number, lane)

    def _lend(self, number: int, lane: socket.socket) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):  # it has died: the next one gets all lanes
                socket.send_fds(self._control, [b"%d" % number], [lane.fileno()])

    def _close_lane(self, number: int) -> None:
        lane = self._lanes.pop(number, None)
        if lane is not None:
            lane.close()
            self._free.append(number)

    def _be_watched(self) -> None:
        with contextlib.suppress(OSError):
            gate, _ = self._life.accept()
            gate.setblocking(False)
            self._watch(gate, lambda: self._forget(gate))  # the gate says nothing: it has gone

    # The child.

    def _fork_child_if_due(self) -> None:
        if self._child is None and time.monotonic() >= self._fork_at:
            mine, theirs = _pair()
            self._born = time.monotonic()
            self._ledger.beat(self._born)
            self._asleep = 0
            self._child = _fork("mme-shard", lambda: self._be_the_child(theirs))
            theirs.close()
            self._control = mine
            self._watch(mine, self._hear_child)

    def _be_the_child(self, control: socket.socket) -> None:
        _keep_only([control, *self._lanes.values()])
        self._serve(control, self._ledger, self._lanes)

    def _fork_disposable(self, be: Callable[[], None], channel: socket.socket) -> int:
        def alone() -> None:
            _keep_only([channel])
            be()

        return _fork("mme-try", alone)

    def _hear_child(self) -> None:
        """The child sends a job for a disposable process, or the number of a lane that closed."""
        if self._control is None:
            return
        try:
            message, descriptors, _, _ = socket.recv_fds(
                self._control, disposable.MAX_MESSAGE_BYTES, 4
            )
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message:
            self._forget(self._control)
            self._control = None
        elif not descriptors:
            self._close_lane(int(message))
        else:
            self._nursery.take(message, descriptors)

    def _settle_lanes(self) -> None:
        """Make the lanes of a dead child fit for the next: answer what was inside it."""
        for number, lane in list(self._lanes.items()):
            entry = self._ledger.entry(number)
            if entry.state is State.INSIDE:
                lost = b"mme %d\n%b" % (LOST, self._how.encode())
                answer = frames.answered(entry.request_id, "text/plain", lost)
                with contextlib.suppress(OSError):
                    lane.setblocking(True)
                    lane.sendall(answer)
            elif entry.state is not State.IDLE:
                lane.shutdown(socket.SHUT_RDWR)
                self._close_lane(number)
            self._ledger.set(number, State.IDLE)

    def _look_after_child(self) -> None:
        """Kill the child when it hangs, or has a request for longer than anybody waits for it."""
        now = time.monotonic()
        if now < self._look_at or self._child is None:
            return
        self._look_at = now + _LOOK_SECONDS
        state, silent = _state(self._child), now - self._ledger.last_beat()
        # Asleep all the while it waits for something that is not its lanes; else it may be slow.
        blocked = state == "S" and silent > _BLOCKED_SECONDS and _all_asleep(self._child)
        self._asleep = self._asleep + 1 if blocked else 0
        if state == "T":
            self._killed_for = "it was stopped"
        elif self._asleep > 1 or silent > _BUSY_SECONDS:
            self._killed_for = f"it did nothing for {silent:.1f} s"
        elif any(now > self._overdue_at(number) for number in self._lanes):
            self._killed_for = "a request in it took too long"
        if self._killed_for:
            os.kill(self._child, signal.SIGKILL)

    def _overdue_at(self, number: int) -> float:
        entry = self._ledger.entry(number)
        return entry.until + _GRACE_SECONDS if entry.state is State.INSIDE else math.inf

    # The dead.

    def _reap(self, woken: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            how = self._cause(status)
            if pid == self._child:
                self._bury_child(how)
            else:
                self._nursery.bury(pid, how)

    def _cause(self, status: int) -> str:
        if not os.WIFSIGNALED(status):
            code = os.waitstatus_to_exitcode(status)
            return f"exit status {code}" if code else ""
        name = signal.Signals(os.WTERMSIG(status)).name
        kills = memory.oom_kills()
        if name == "SIGKILL" and kills > self._oom_kills:
            name = "out of memory"
        self._oom_kills = kills
        return name

    def _bury_child(self, how: str) -> None:
        now = time.monotonic()
        lived = now - self._born
        self._how, self._killed_for = self._killed_for or how or "exit status 0", ""
        self._child = None
        if self._control is not None:
            self._forget(self._control)
            self._control = None
        quiet = lived > _QUIET_SECONDS
        self._delay = 0.0 if quiet else min(2 * self._delay + 0.05, _LONGEST_DELAY_SECONDS)
        self._fork_at = now + self._delay
        self._settle_lanes()


def _state(process: int | Path) -> str:
    """What a process or thread does: R runs, S sleeps, D waits for a disk, T is stopped, Z dead."""
    return Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[0]


def _all_asleep(pid: int) -> bool:
    """Whether no thread of a process does anything; one that computes keeps Python's lock."""
    states = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            states.add(_state(thread))
    return states == {"S"}


def _pair() -> tuple[socket.socket, socket.socket]:
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return mine, theirs


def _fork(name: str, be: Callable[[], None]) -> int:
    """Fork a process that dies with us and never returns from ``be``; ``ps`` shows its name."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_NAME, name.encode())
        if os.getppid() == parent:  # or it died before the line above
            be()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _keep_only(files: list[socket.socket]) -> None:
    """Close every descriptor but the standard ones and these: a copy would keep a peer waiting."""
    kept = {0, 1, 2, *(file.fileno() for file in files)}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # of names, not of paths
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(int(name))
