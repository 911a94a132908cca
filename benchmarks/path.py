"""Where the time of one warm row goes, from the client to XGBoost and back."""

import collections
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import wrk
from benchmarks.measures import Figures
from benchmarks.models import ROW
from benchmarks.processes import cpu_seconds
from benchmarks.systems import DirectWorker, MmsFloor, Ours, System, sealed
from benchmarks.wrk import Load
from handler import decode, encode, envelope, forest, frames
from handler.booster import Booster
from handler.decode.columns import Columns
from handler.service import Service
from handler.settings import Settings

REQUEST_ID = b"0" * 36
ASKED = {envelope.OPERATION: "invoke", envelope.MODEL: "m0", envelope.CONTENT_TYPE: "text/csv"}

CONNECTIONS = (8, 32)


def stages(
    ours: Ours, direct: DirectWorker, floor: MmsFloor, rounds: int, seconds: int
) -> dict[str, Figures]:
    """Latency at one connection, rates at more, and processor time, of ever more of the path.

    Args:
        ours: all of the path; as the others it is started, and has its model.
        direct: the path without the gate.
        floor: the path without the gate, and without work in the worker.
        rounds: in turns, of which the median counts.
        seconds: of each.
    """
    systems: Sequence[System] = (floor, direct, ours)
    seen: dict[str, list[float]] = {system.name: [] for system in systems}
    rates: dict[tuple[str, int], list[float]] = collections.defaultdict(list)
    for system in systems:
        wrk.run(system, Load(8, 1), 2 * seconds)
    for _ in range(rounds):
        for system in systems:
            seen[system.name].append(wrk.run(system, Load(1, 1), seconds).median)
            for connections in CONNECTIONS:
                rate = wrk.run(system, Load(connections, 1), seconds).rate
                rates[system.name, connections].append(rate)
    figures: dict[str, Figures] = {}
    for system in systems:
        before = cpu_seconds(system.pid)
        rate = wrk.run(system, Load(8, 1), seconds).rate
        after = cpu_seconds(system.pid)
        figures[system.name] = {
            "median_us": 1000 * float(np.median(seen[system.name])),
            "rates": {
                str(connections): float(np.median(rates[system.name, connections]))
                for connections in CONNECTIONS
            },
            "cpu_us": {
                kind: 1e6 * (after[kind] - before.get(kind, 0)) / (rate * seconds)
                for kind in ("gate", "java", "worker")
                if kind in after
            },
        }
    return figures


def worker(model: bytes, home: Path) -> dict[str, float]:
    """Microseconds of each step inside the worker, one after another in a loop."""
    (home / "model.ubj").write_bytes(model)
    service = Service(Settings())
    service.load("m0", home, time.monotonic() + 60)
    booster = Booster(model, 1)
    columns = Columns(booster.num_features)
    rows = decode.decode(ROW, "text/csv", columns)
    prediction = booster.predict(rows)
    read = forest.read(model)
    assert read is not None, "the forest was not built, or does not take the model"
    trees, frame = read[0], _frame()
    answer = service.answer(ASKED, ROW).for_gate()
    steps: dict[str, Callable[[], object]] = {
        "read the frame": lambda: frames.read(frame),
        "decode": lambda: decode.decode(ROW, "text/csv", columns),
        "predict": lambda: booster.predict(rows),
        "encode": lambda: encode.encode(prediction, "application/json"),
        "forest, from text to numbers": lambda: trees.answer(ROW, forest.CSV),
        "write the frame": lambda: frames.answered(REQUEST_ID, "application/json", answer),
        "all, from headers to answer": lambda: service.answer(ASKED, ROW),
    }
    return {name: _best_us(step) for name, step in steps.items()}


def _frame() -> bytes:
    def string(text: bytes) -> bytes:
        return len(text).to_bytes(4, "big") + text

    end, body = b"\xff" * 4, sealed("m0", ROW)
    headers = {"content-type": envelope.MEDIA_TYPE, "content-length": str(len(body))}
    listed = b"".join(string(k.encode()) + string(v.encode()) for k, v in headers.items())
    sent = string(b"body") + string(envelope.MEDIA_TYPE.encode()) + string(body)
    return b"I" + string(REQUEST_ID) + listed + end + sent + end + end


def _best_us(step: Callable[[], object], times: int = 2000, tries: int = 5) -> float:
    """The least of a few averages: what the step takes when nothing disturbs it."""
    best = float("inf")
    for _ in range(tries):
        begun = time.perf_counter()
        for _ in range(times):
            step()
        best = min(best, (time.perf_counter() - begun) / times)
    return 1e6 * best
