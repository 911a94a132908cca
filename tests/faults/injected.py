"""The worker with faults in it: run by MMS in place of ``mme-worker``, it fails when told to.

Everything is the real worker but for two functions of the booster, and those of the forest in the
same places. A load fails as the model's attribute ``inject`` says, and such a model is not for the
forest; a prediction fails as the first number of its first row says. The faults are real: signals,
endless sleeps, a lock on the interpreter that is never given back.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import handler.booster
import handler.forest
import handler.resident
import handler.service
import handler.worker

# What the first number of a row stands for.
SEGV, SLEEP, STOP, MEMORY, EXIT, KILL, GIL, SLOW, EXIT_0 = range(666001, 666010)
_HANG_SECONDS, _SLOW_SECONDS = 600, 1.0


def _memory() -> None:
    raise MemoryError


_FAULTS: dict[str, Callable[[], object]] = {
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "sleep": lambda: time.sleep(_HANG_SECONDS),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "memory": _memory,
    "exit": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "gil": lambda: ctypes.PyDLL(None).sleep(_HANG_SECONDS),  # which keeps the interpreter's lock
    "slow": lambda: time.sleep(_SLOW_SECONDS),
    "exit_0": lambda: os._exit(0),
}
_OF_ROWS = dict(zip(range(666001, 666010), _FAULTS.values(), strict=True))


def _strike(first: int) -> None:
    """Do what the first number of a row stands for."""
    if fault := _OF_ROWS.get(first):
        fault()


def _spoil_the_forest() -> None:
    forest, predict = handler.forest, handler.forest.Trees.predict
    for name in ("read", "grow"):
        setattr(forest, name, _but_for_marked(getattr(forest, name)))

    def faulty_predict(
        self: handler.forest.Trees, rows: handler.forest.Floats, *more: Any
    ) -> handler.forest.Floats:
        _strike(int(rows[0, 0]) if rows[0, 0] == rows[0, 0] else 0)
        return predict(self, rows, *more)

    quick = handler.resident.quick

    def faulty_quick(*asked: Any) -> bytes | None:
        first = asked[-1].partition(b",")[0]
        _strike(int(first) if first.isdigit() else 0)
        return quick(*asked)

    # Methods and functions are put in the places of others, which is what mypy warns of.
    forest.Trees.predict = faulty_predict  # type: ignore[method-assign]
    handler.resident.quick = handler.service.quick = faulty_quick  # type: ignore[assignment]


def _but_for_marked(read: Callable[..., Any]) -> Callable[..., Any]:
    return lambda data, *more: None if b"inject-" in data else read(data, *more)


def main() -> int:
    """Be the worker."""
    booster = handler.booster.Booster
    load, predict = booster.__init__, booster.predict

    def faulty_load(self: handler.booster.Booster, data: bytes, *more: Any) -> None:
        for name, fault in _FAULTS.items():
            if b"inject-" + name.encode() + b"!" in data:
                fault()
        load(self, data, *more)

    def faulty_predict(
        self: handler.booster.Booster, rows: handler.booster.Floats, *more: Any
    ) -> handler.booster.Floats:
        _strike(int(rows[0, 0]) if rows[0, 0] == rows[0, 0] else 0)
        return predict(self, rows, *more)

    _spoil_the_forest()
    # As above.
    booster.__init__ = faulty_load  # type: ignore[method-assign]
    booster.predict = faulty_predict  # type: ignore[method-assign]
    return handler.worker.main()


if __name__ == "__main__":
    sys.exit(main())
