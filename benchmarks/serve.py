"""Measures this container beside a stock Multi Model Server, in one run, on the same models.

Writes ``results/serve.json``, and from it the table in the README.
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xgboost
from tqdm import tqdm

from benchmarks.peers import StockMms, memory_bytes
from mme.client import Client, Reply
from mme.process import ServeProcess

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "serve.json"
README = HERE.parent / "README.md"
FEATURES = 6
WARM_ROUNDS, WARM_REQUESTS = 10, 500
ROW = b"1994,3188,5,1.5,1.62,3"
Figures = dict[str, float]


def make_model() -> bytes:
    """The model that all figures are of: 25 trees of depth 5 on 6 features, as UBJ."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(5000, FEATURES)).astype(np.float32)
    labels = rows @ random.normal(size=FEATURES) + random.normal(size=5000)
    matrix = xgboost.DMatrix(rows, label=labels, nthread=1)
    booster = xgboost.train({"max_depth": 5, "nthread": 1}, matrix, num_boost_round=25)
    return bytes(booster.save_raw("ubj"))


class System(NamedTuple):
    """A system that serves, and where its models are."""

    name: str
    client: Client
    pid: int
    directories: list[str]


def load_all(system: System) -> Figures:
    """Load the models one after another, each with its first answer."""
    before = memory_bytes(system.pid)
    cold = []
    for number, directory in enumerate(tqdm(system.directories, desc=system.name, disable=None)):
        begun = time.perf_counter()
        _expect(system.client.load(f"m{number}", directory))
        _expect(system.client.invoke(f"m{number}", ROW))
        cold.append(1000 * (time.perf_counter() - begun))
    models = len(system.directories)
    return {
        "models": models,
        "cold_ms": statistics.median(cold),
        "memory_mb": (memory_bytes(system.pid) - before) / models / 1e6,
    }


def ask_all(system: System) -> list[float]:
    """One round of warm one-row requests over all models, each one's milliseconds."""
    warm = []
    for request in range(WARM_REQUESTS):
        begun = time.perf_counter()
        _expect(system.client.invoke(f"m{request % len(system.directories)}", ROW))
        warm.append(1000 * (time.perf_counter() - begun))
    return warm


def _expect(reply: Reply) -> None:
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {reply.body!r}")


def lay(root: Path, count: int, model: bytes) -> list[str]:
    """Write the model into directories of its own."""
    directories = []
    for number in range(count):
        directory = root / f"m{number}" / "model"
        directory.mkdir(parents=True)
        (directory / "model.ubj").write_bytes(model)
        directories.append(str(directory))
    return directories


def run(ours_count: int, stock_count: int) -> dict[str, Figures]:
    """Load each system in turn; then ask them warm in turns, so that both meet the same noise."""
    model = make_model()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        home = Path(directory)
        ours = ServeProcess(home / "root", capture=True)
        stack.callback(ours.stop)
        ours_models = lay(home / "root", ours_count, model)
        ours.wait_healthy()
        (home / "stock").mkdir()
        stock = StockMms(home / "stock", "least_handler:handle", HERE)
        stack.callback(stock.stop)
        lay(stock.store, stock_count, model)
        stock_models = [f"m{number}/model" for number in range(stock_count)]
        stock.wait_healthy()
        systems = [
            System("xgboost-mme", ours.client, ours.process.pid, ours_models),
            System("stock", stock.client, stock.process.pid, stock_models),
        ]
        results = {system.name: load_all(system) for system in systems}
        warm: dict[str, list[float]] = {system.name: [] for system in systems}
        for _ in tqdm(range(WARM_ROUNDS), desc="warm", disable=None):
            for system in systems:
                warm[system.name] += ask_all(system)
    for name, times in warm.items():
        results[name]["warm_ms"] = statistics.median(times)
        results[name]["warm_p90_ms"] = statistics.quantiles(times, n=10)[-1]
    return results


def table(results: dict[str, Figures]) -> str:
    """The README's table: ratios first."""
    ours, stock = results["xgboost-mme"], results["stock"]
    rows = [
        ("load a model and get its first answer", "cold_ms", "ms", 1),
        ("memory for each model more", "memory_mb", "MB", 2),
        ("one-row request, warm, median", "warm_ms", "ms", 2),
        ("one-row request, warm, 90th percentile", "warm_p90_ms", "ms", 2),
    ]
    lines = [
        "| 25 trees of depth 5, 6 features | ratio | this container | stock Multi Model Server |",
        "|---|---|---|---|",
    ]
    for what, key, unit, digits in rows:
        lines.append(
            f"| {what} | **{stock[key] / ours[key]:.3g} x** | {ours[key]:.{digits}f} {unit} "
            f"| {stock[key]:.{digits}f} {unit} |"
        )
    lines += [
        "",
        f"Measured by `make bench` in one run on two cores: {ours['models']:,.0f} models here, "
        f"{stock['models']:,.0f} there, with the least handler that can be written.",
    ]
    return "\n".join(lines) + "\n"


def with_table(readme: str, results: dict[str, Figures]) -> str:
    """The README with the table of these results between its marks."""
    begin = f"<!-- table: benchmarks/results/{RESULTS.name} -->\n"
    head, _, rest = readme.partition(begin)
    _, end, tail = rest.partition("<!-- /table -->")
    return head + begin + table(results) + end + tail


def main() -> None:
    """Run, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer models, nothing written")
    args = parser.parse_args()
    results = run(*((100, 5) if args.quick else (1000, 20)))
    sys.stdout.write(table(results))
    if not args.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        README.write_text(with_table(README.read_text(), results))


if __name__ == "__main__":
    main()
