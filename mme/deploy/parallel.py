"""Many small things done at once: errors are kept, Ctrl-C ends it soon, and somebody sees it go."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Self, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from tqdm import tqdm

from mme.aws import CONNECTIONS
from mme.errors import CommandError

_AHEAD = 4  # tasks that wait for each that runs
_QUIET_SECONDS = 10.0  # between two lines where there is no terminal
_One = TypeVar("_One")
GoOn = Callable[[int], None]  # to be called now and then; it raises when all is to end


class _StoppedError(Exception):
    """Somebody has interrupted."""


def each(
    act: Callable[[_One, GoOn], None],
    items: Sequence[_One],
    done: Callable[[], None] = lambda: None,
) -> list[tuple[_One, Exception]]:
    """Do something with each of many, as many at once as there are connections.

    Args:
        act: in a thread. What it raises of AWS, of files, or for the user is kept.
        items: for each call.
        done: called after each that did not fail, in this thread.

    Returns:
        Those that failed, in their order, and why.
    """
    failed: list[tuple[int, Exception]] = []
    stop = threading.Event()

    def go_on(count: int) -> None:
        del count
        if stop.is_set():
            raise _StoppedError

    rest = enumerate(items)
    running: dict[Future[None], int] = {}
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        try:
            while True:
                while len(running) < CONNECTIONS * _AHEAD and (following := next(rest, None)):
                    running[threads.submit(act, following[1], go_on)] = following[0]
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    try:
                        future.result()
                    except (BotoCoreError, ClientError, CommandError, OSError) as error:
                        failed.append((number, error))
                    else:
                        done()
        except BaseException:
            stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [(items[number], error) for number, error in sorted(failed, key=lambda one: one[0])]


class Progress(contextlib.AbstractContextManager["Progress"]):
    """A bar on a terminal, and a line now and then elsewhere.

    Args:
        total: how many there are.
        what: is done with them, such as ``archives uploaded``.
        brief: what is over soon needs no line at all.
    """

    def __init__(self, total: int, what: str, brief: bool = False) -> None:
        self._bar = tqdm(
            total=total, unit=what.partition(" ")[0].removesuffix("s"), disable=None, leave=False
        )
        self._total, self._what, self._brief, self._done = total, what, brief, 0
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        long = time.monotonic() - self._begun > _QUIET_SECONDS
        if self._done and (long or not self._brief):
            self._say()

    def advance(self) -> None:
        """One more."""
        self._done += 1
        self._bar.update()
        if self._bar.disable and time.monotonic() - self._said > _QUIET_SECONDS:
            self._said = time.monotonic()
            self._say()

    def _say(self) -> None:
        seconds = time.monotonic() - self._begun
        sys.stdout.write(f"  {self._done} of {self._total} {self._what}, {seconds:.1f} s\n")
        sys.stdout.flush()
