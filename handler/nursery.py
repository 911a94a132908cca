"""The disposable processes, as the parent has them: forked, given jobs, watched, buried.

One that has done its job well is used again, since a new process spends more time on its first
touch of each page than on a model. Its verdict that it died is then asked for again in a new one,
and so is everything about a model that has died before.
"""

import contextlib
import math
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from handler import disposable

_MOST, _MOST_APART = 5, 3  # processes at once, and of them new ones for one job each
_LATE_SECONDS = 0.1  # after who asked has gone, for the process to say that it is done
_IDLE, _MOST_IDLE = 1, 2  # of them that wait

Fork = Callable[[Callable[[], None], socket.socket], int]


@dataclass(slots=True, eq=False)
class _Job:
    """What to do, the descriptors of its files, and the end of who asked."""

    message: bytes
    files: list[int]
    reply: socket.socket
    apart: bool  # only a new process may do it
    over_at: float = math.inf  # nobody has waited for it since (CLOCK_MONOTONIC)

    def close(self) -> None:
        """Nobody works on it any more."""
        for file in self.files:
            os.close(file)
        self.files = []


@dataclass(slots=True, eq=False)
class _Disposable:
    pid: int
    channel: socket.socket
    job: _Job | None = None
    used: bool = False
    killed: bool = False

    def kill(self) -> None:
        """It gets no job any more."""
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)


class Nursery:
    """The disposable processes of one worker.

    Args:
        selector: of the parent's loop; its data are functions to call.
        fork: forks a process that does what it is given and keeps only the socket given.
        work: what such a process does with a job.
    """

    def __init__(self, selector: selectors.BaseSelector, fork: Fork, work: disposable.Work) -> None:
        self._selector, self._fork, self._work = selector, fork, work
        self._all: dict[int, _Disposable] = {}  # by process id
        self._jobs: deque[_Job] = deque()  # that wait for a process

    def take(self, message: bytes, descriptors: list[int]) -> None:
        """A job has come: the first descriptor is where its answer goes."""
        reply = socket.socket(fileno=descriptors[0])
        job = _Job(message, descriptors[1:], reply, message.startswith(disposable.APART))
        self._jobs.append(job)
        self._selector.register(reply, selectors.EVENT_READ, lambda: self._given_up(job))

    def go_on(self) -> None:
        """Give jobs to processes, and have one wait for the next."""
        waiting = list(self._jobs)
        for job in waiting:
            if (one := self._process_for(job)) is None:
                continue
            self._jobs.remove(job)
            one.job = job
            with contextlib.suppress(OSError):  # it has died: we hear of it when it is reaped
                socket.send_fds(one.channel, [job.message], [job.reply.fileno(), *job.files])
        late = time.monotonic() - _LATE_SECONDS
        for one in self._all.values():
            if one.job is not None and one.job.over_at < late and not one.killed:
                one.kill()  # nobody waits, and it does not end
        idle = self._idle()
        if len(idle) < _IDLE and len(self._all) < _MOST:
            self._new()
        for one in idle[_MOST_IDLE:]:
            one.kill()

    def _idle(self) -> list[_Disposable]:
        return [one for one in self._all.values() if one.job is None and not one.killed]

    def _process_for(self, job: _Job) -> _Disposable | None:
        idle = self._idle()
        busy = [one.job for one in self._all.values() if one.job is not None]
        if job.apart and sum(other.apart for other in busy) >= _MOST_APART:
            return None
        # The used ones first, but for a job that must have a new one.
        fit = [one for one in idle if not one.used] if job.apart else idle
        if fit:
            return max(fit, key=lambda one: one.used)
        if len(self._all) < _MOST:
            return self._new()
        for one in idle[:1]:  # make room for a new one
            one.kill()
        return None

    def _new(self) -> _Disposable:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = self._fork(lambda: disposable.wait_and_work(theirs, self._work), theirs)
        theirs.close()
        mine.setblocking(False)
        one = self._all[pid] = _Disposable(pid, mine)
        self._selector.register(mine, selectors.EVENT_READ, lambda: self._done(one))
        return one

    def _done(self, one: _Disposable) -> None:
        """A process says that its job is done; one that ends is seen when it is reaped."""
        try:
            if not one.channel.recv(1):
                raise OSError
        except BlockingIOError:
            return
        except OSError:
            self._unwatch(one.channel)
            return
        if one.job is not None:
            self._end(one.job)
            one.job, one.used = None, True

    def _given_up(self, job: _Job) -> None:
        """Who asked has closed its end: it has its answer, or waits no longer."""
        self._end(job)
        job.over_at = time.monotonic()

    def bury(self, pid: int, how: str) -> bool:
        """A process was reaped; False if it is none of ours."""
        one = self._all.pop(pid, None)
        if one is None:
            return False
        self._done(one)  # it may have said so before it died
        job = one.job
        self._unwatch(one.channel)
        one.channel.close()
        if job is None or job.over_at < math.inf:
            return True
        if one.used and not job.apart:
            job.apart = True
            self._jobs.appendleft(job)
        else:
            with contextlib.suppress(OSError):
                job.reply.setblocking(False)
                job.reply.send(disposable.died(how or "exit status 0"))
            self._end(job)
        return True

    def _end(self, job: _Job) -> None:
        self._unwatch(job.reply)
        job.reply.close()
        job.close()
        with contextlib.suppress(ValueError):
            self._jobs.remove(job)

    def _unwatch(self, file: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(file)

    def kill_all(self) -> None:
        """End all of them."""
        for pid in self._all:
            os.kill(pid, signal.SIGKILL)
