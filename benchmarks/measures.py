"""What is measured of a system: cold loads and memory one system at a time, the rest in turns."""

import concurrent.futures
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
import xgboost
from tqdm import tqdm

from benchmarks import wrk
from benchmarks.models import NUMBERS, ROW
from benchmarks.systems import System
from handler import forest

Figures = dict[str, Any]
MIB = 1e6


def cold(system: System, counts: Sequence[int], samples: int, expected: list[float]) -> Figures:
    """Load models one after another; at each count, load and first answer, and memory.

    Args:
        system: started, with none of its models loaded.
        counts: how many are loaded when a measurement begins, rising.
        samples: loads, each with its first answer, that are timed at each count.
        expected: the one right answer.
    """
    loaded, base = 0, system.memory_bytes()
    figures: Figures = {"base_mb": base / MIB, "at": []}
    progress = tqdm(total=counts[-1] + samples, desc=f"{system.name}: load", disable=None)
    for count in counts:
        while loaded < count:
            system.load(f"m{loaded}")
            loaded += 1
            progress.update()
        memory = system.memory_bytes()
        times = []
        for _ in range(samples):
            begun = time.perf_counter()
            system.load(f"m{loaded}")
            answer = system.ask(f"m{loaded}")
            times.append(1000 * (time.perf_counter() - begun))
            same(system, answer, expected)
            loaded += 1
            progress.update()
        at = {"loaded": count, "total_mb": memory / MIB, **spread(times)}
        if count:
            at["model_mb"] = (memory - base) / count / MIB
        figures["at"].append(at)
    progress.close()
    figures["loaded"] = loaded
    return figures


def all_answer(system: System, models: int, expected: list[float]) -> None:
    """Ask each model once: every one must be there and right."""
    for number in tqdm(range(models), desc=f"{system.name}: all answer", disable=None):
        same(system, system.ask(f"m{number}"), expected)


def unload(system: System, first: int, count: int) -> Figures:
    """Unload so many models, one after another."""
    times = []
    for number in range(first, first + count):
        begun = time.perf_counter()
        system.unload(f"m{number}")
        times.append(1000 * (time.perf_counter() - begun))
    return spread(times)


def same(system: System, answer: list[float], expected: list[float]) -> None:
    """Raise a RuntimeError if an answer is wrong: to the last bit, as float32."""
    if not np.array_equal(np.array(answer, np.float32), np.array(expected, np.float32)):
        raise RuntimeError(f"{system.name} answered {answer}, not {expected}")


def in_turns(
    asked: Sequence[tuple[str, System, wrk.Load]], rounds: int, seconds: int
) -> dict[str, Figures]:
    """Put each load on its system in turns, so that the machine's moods meet all alike.

    Returns:
        By the given key: medians over the rounds.
    """
    seen: dict[str, list[wrk.Seen]] = {key: [] for key, _, _ in asked}
    for _ in tqdm(range(rounds), desc="in turns", disable=None):
        for key, system, load in asked:
            seen[key].append(wrk.run(system, load, seconds))
    return {
        key: {
            field: statistics.median(getattr(one, field) for one in results)
            for field in wrk.Seen._fields
        }
        for key, results in seen.items()
    }


def beside(system: System, long_work: Callable[[], None] | None, requests: int) -> Figures:
    """One-row requests for one model, while another client has long work done, if any.

    Args:
        system: started, with ``m0`` loaded.
        long_work: done again and again, through a client of its own.
        requests: that are timed.
    """
    over = threading.Event()
    done = 0

    def go_on() -> None:
        nonlocal done
        while long_work is not None and not over.is_set():
            long_work()
            done += 1

    times: list[float] = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        work = pool.submit(go_on)
        try:
            while len(times) < requests or (long_work is not None and not done):
                begun = time.perf_counter()
                system.ask("m0")
                times.append(1000 * (time.perf_counter() - begun))
        finally:
            over.set()
        work.result()
    return {"long_done": done, **spread(times)}


def xgboost_alone(data: bytes, rows: int) -> Figures:
    """XGBoost in a loop, with no server: an array in and out; and from text to text."""
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(data))
    table = np.array([NUMBERS] * rows, dtype=np.float32)
    text = b"\n".join([ROW] * rows).decode()

    def from_text() -> str:
        fields = [line.split(",") for line in text.split("\n")]
        answer = booster.inplace_predict(np.array(fields, dtype=np.float32))
        return str(answer.tolist())

    return {
        "inplace_ms": _median_ms(lambda: booster.inplace_predict(table)),
        "matrix_ms": _median_ms(lambda: booster.predict(xgboost.DMatrix(table, nthread=1))),
        "text_ms": _median_ms(from_text),
    }


def forest_alone(data: bytes, rows: int) -> Figures:
    """The forest in a loop, with no server: from an array to an array, and from text to text.

    Raises:
        RuntimeError: it was not built, or does not take the model.
    """
    read = forest.read(data)
    if read is None:
        raise RuntimeError("the forest was not built, or does not take the model")
    trees, model = read[0], forest.Trees(read[0])
    table = np.array([NUMBERS] * rows, dtype=np.float32)
    text = b"\n".join([ROW] * rows)
    return {
        "array_ms": _median_ms(lambda: model.predict(table)),
        "text_ms": _median_ms(lambda: orjson.dumps(trees.answer(text, forest.CSV))),
    }


def _median_ms(call: Callable[[], object], times: int = 300) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)


def spread(times: list[float]) -> Figures:
    """Median and 90th percentile."""
    ninth = statistics.quantiles(times, n=10)[-1]
    return {"median_ms": statistics.median(times), "p90_ms": ninth}
