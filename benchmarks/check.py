"""What it costs to try a model in a disposable process before it comes in.

Run as a program it is a worker without MMS, which tries one model again and again.
"""

import functools
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.measures import Figures
from handler import directory, service, trial
from handler.disposable import Disposables
from handler.envelope import OPERATION
from handler.ledger import Ledger
from handler.parent import Lanes, Parent
from handler.trial import described
from handler.warm import warm_up

_TIMES, _WARM, _SECONDS = 400, 50, 60


def milliseconds(model: bytes, home: Path) -> Figures:
    """Median and 90th percentile of a check, as the worker that asks for it sees it.

    Args:
        model: as UBJ.
        home: a directory for the model and sockets.
    """
    (home / "model.ubj").write_bytes(model)
    environ = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(home)],
        env=os.environ | environ,  # a worker's
        stdin=subprocess.PIPE,  # whose end would be the worker's
        stdout=subprocess.PIPE,
    ) as worker:
        late = threading.Timer(_SECONDS, worker.kill)
        late.start()
        try:
            assert worker.stdout is not None
            figures: Figures = json.loads(worker.stdout.readline())
        finally:
            late.cancel()
            worker.kill()
    return figures


def main() -> None:
    """Be the worker."""
    home = Path(sys.argv[1])
    (found,) = directory.find(home).models
    job = {OPERATION: "check"} | described([found])

    def measure(control: socket.socket, ledger: Ledger, _lanes: Lanes) -> None:
        disposables, taken = Disposables(control), []
        for _ in range(_TIMES):
            ledger.beat(time.monotonic())  # or the parent thinks that it hangs
            begun = time.perf_counter()
            reply = disposables.run(job, [found.data], time.monotonic() + 10, apart=False)
            taken.append(1000 * (time.perf_counter() - begun))
            if reply[0] != 200:
                raise RuntimeError(reply)
        median, p90 = np.percentile(taken[_WARM:], (50, 90))
        print(json.dumps({"median_ms": median, "p90_ms": p90}), flush=True)  # noqa: T201  # for who started us

    work = functools.partial(trial.work, service.SERVICE.settings)
    warm_up()
    gc.collect()
    gc.freeze()  # as a worker does before it forks
    Parent(_listener(home, "lanes"), _listener(home, "life"), measure, work).run()


def _listener(home: Path, name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(home / name))
    listener.listen()
    return listener


if __name__ == "__main__":
    main()
