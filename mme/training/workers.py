"""Processes that train: one a CPU, since a third of the work of a small model is Python's own."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess

from mme.training.fit import Failed, Group, Recipe, Trained, train_one
from mme.training.order import OrderError

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.2  # between two looks at whether to stop
_THREADS = "OMP_NUM_THREADS"
_AHEAD = 4  # groups for each process that are handed over before they are needed
_KILLED = (
    "a training process was killed, most likely for want of memory: take a larger instance, or "
    "fewer processes at once (MME_TRAIN_JOBS)"
)


Task = tuple[Group, str]
Done = tuple[Trained | Failed, str]


class StoppedError(Exception):
    """It was to stop, and did."""


def train_all(
    groups: Iterator[Task], recipe: Recipe, jobs: int, stopping: Callable[[], bool]
) -> Iterator[Done]:
    """Train groups in whatever order they are done.

    When a process is killed, what was in flight is trained again, each group apart: one that kills
    its process then, too, has failed.

    Args:
        groups: with a word each, which is returned with the result.
        recipe: how.
        jobs: processes at once.
        stopping: whether to stop, asked several times a second.

    Raises:
        StoppedError: it is to stop; no process is left, and what they were at is lost.
        OrderError: all that was in flight kills its process.
    """
    with _single_threaded():
        while lost := (yield from _pooled(groups, recipe, jobs, stopping)):
            failed = 0
            for task in lost:
                if (yield from _pooled(iter([task]), recipe, 1, stopping)):
                    failed += 1
                    yield Failed(task[0].name, _KILLED), task[1]
            if failed == len(lost) > 1:  # nothing can be trained here
                raise OrderError(_KILLED)


def _pooled(
    groups: Iterator[Task], recipe: Recipe, jobs: int, stopping: Callable[[], bool]
) -> Generator[Done, None, list[Task]]:
    """Train groups until all are done, or a process is killed: those that were in flight."""
    with contextlib.ExitStack() as stack:
        pool = ProcessPoolExecutor(
            # Not a fork: the libraries have threads.
            *(jobs, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
        )
        stack.callback(_end, pool, multiprocessing.active_children())
        pending: dict[Future[Trained | Failed], Task] = {}
        more = True
        while more or pending:
            if stopping():
                raise StoppedError
            while more and len(pending) < _AHEAD * jobs:
                if (task := next(groups, None)) is None:
                    more = False
                    break
                pending[_submit(pool, task[0], recipe)] = task
            done, _ = wait(pending, _LOOK_SECONDS, FIRST_COMPLETED)
            lost = [future for future in done if _is_lost(future)]
            for future in done.difference(lost):
                yield future.result(), pending.pop(future)[1]
            if lost:
                if stopping():  # a signal to all of us
                    raise StoppedError
                return list(pending.values())
    return []


def _submit(pool: ProcessPoolExecutor, group: Group, recipe: Recipe) -> "Future[Trained | Failed]":
    try:
        return pool.submit(train_one, group, recipe)
    except BrokenProcessPool as error:
        future: Future[Trained | Failed] = Future()
        future.set_exception(error)
        return future


def _is_lost(future: "Future[Trained | Failed]") -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes that are started meanwhile have one thread each for XGBoost's every step.

    It asks for all CPUs in some of them, whatever ``nthread`` says; two processes on two CPUs took
    three times as long so, spinning while they waited for each other.
    """
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def _begin(parent: int) -> None:
    """In a worker: Ctrl-C is for the parent, and its end is ours.

    SIGTERM must end us: with it the pool ends its other processes when one was killed, and waits.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end(pool: ProcessPoolExecutor, others: list[BaseProcess]) -> None:
    """Leave no process of the pool, whatever it is at."""
    for process in multiprocessing.active_children():
        if process not in others:
            process.kill()
    pool.shutdown(wait=True, cancel_futures=True)
