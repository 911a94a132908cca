"""The program that MMS starts (its ``--python`` option): imports once, then is the parent.

When MMS dies the parent sees its standard input close and goes, and all that it has forked with it:
nothing is left behind.
"""

import os
import socket
import sys
from pathlib import Path

_BACKLOG = 128
_FIRST = "shard-0"  # says what is worth saying once
_NO_FOREST = (
    "the forest was not built, for want of a C compiler: XGBoost serves all models, with the same "
    "answers and ten times the memory; MME_FOREST=false says that this is meant\n"
)


def main() -> int:
    """Serve as MMS's worker, or run what else MMS runs with its Python: its metric collector."""
    program, *options = sys.argv[1:]
    if Path(program).name != "model_service_worker.py":
        os.execv(sys.executable, [sys.executable, program, *options])  # noqa: S606  # as asked
    # What a model prints must not be read as a message to MMS: only these lines go to it.
    to_mms = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    given = dict(zip(options[::2], options[1::2], strict=False))
    listener = _listen(given["--sock-name"])
    # The gate knows this name, and so when we end.
    life = _listen(str(Path(given["--tmp-dir"]) / f"{given['--model-name']}.life"))
    # Said before it is quite true: when a worker ends before it has said this, MMS waits a minute
    # for it, and does nothing else. Who connects meanwhile waits for us.
    to_mms.write(f"[PID] {os.getpid()}\nMMS worker started.\n")
    to_mms.flush()  # and kept open: MMS takes its end for ours

    import functools
    import gc

    from handler import (
        forest,
        lanes,
        service,
        trial,
    )  # numpy and XGBoost come with them: once, before any fork
    from handler.parent import Parent
    from handler.warm import warm_up

    if not forest.AVAILABLE and service.SERVICE.settings.forest and given["--model-name"] == _FIRST:
        sys.stderr.write(_NO_FOREST)
        sys.stderr.flush()
    warm_up()
    gc.collect()
    gc.freeze()  # who is forked never writes to these pages, so they stay shared
    work = functools.partial(trial.work, service.SERVICE.settings)
    Parent(listener, life, lanes.serve, work).run()
    return 0


def _listen(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(_BACKLOG)
    return listener
