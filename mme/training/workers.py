"""Processes that train: one a CPU, since a third of the work of a small model is Python's own."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from mme.training.fit import Failed, Group, Recipe, Trained, train_one
from mme.training.order import OrderError

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.2  # between two looks at whether to stop
_THREADS = "OMP_NUM_THREADS"
_AHEAD = 4  # groups for each process that are handed over before they are needed


class StoppedError(Exception):
    """It was to stop, and did."""


def train_all(
    groups: Iterator[tuple[Group, str]], recipe: Recipe, jobs: int, stopping: Callable[[], bool]
) -> Iterator[tuple[Trained | Failed, str]]:
    """Train groups in whatever order they are done.

    Args:
        groups: with a word each, which is returned with the result.
        recipe: how.
        jobs: processes at once.
        stopping: whether to stop, asked several times a second.

    Raises:
        StoppedError: it is to stop; no process is left, and what they were at is lost.
        OrderError: a process was killed.
    """
    with _single_threaded(), contextlib.ExitStack() as stack:
        pool = ProcessPoolExecutor(
            # Not a fork: the libraries have threads.
            *(jobs, multiprocessing.get_context("spawn"), _begin, (os.getpid(),))
        )
        stack.callback(_end, pool)
        pending: dict[Future[Trained | Failed], str] = {}
        more = True
        while more or pending:
            if stopping():
                raise StoppedError
            while more and len(pending) < _AHEAD * jobs:
                try:
                    group, word = next(groups)
                except StopIteration:
                    more = False
                    break
                pending[_submit(pool, group, recipe)] = word
            done, _ = wait(pending, _LOOK_SECONDS, FIRST_COMPLETED)
            for future in done:
                yield _result(future), pending.pop(future)


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


def _submit(pool: ProcessPoolExecutor, group: Group, recipe: Recipe) -> "Future[Trained | Failed]":
    try:
        return pool.submit(train_one, group, recipe)
    except BrokenProcessPool:
        raise _killed() from None


def _result(future: "Future[Trained | Failed]") -> Trained | Failed:
    try:
        return future.result()
    except BrokenProcessPool:
        raise _killed() from None


def _killed() -> OrderError:
    return OrderError(
        "a training process was killed, most likely for want of memory: take a larger instance, or "
        "fewer processes at once (MME_TRAIN_JOBS)"
    )


def _begin(parent: int) -> None:
    """In a worker: a signal to all of us is for the parent, and so is its end for us."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    """Leave no process, whatever it is at."""
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.kill()
    pool.shutdown(wait=True)
