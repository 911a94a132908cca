"""Measures this container beside a stock Multi Model Server, in one run, on the same models.

Writes ``results/serve.json``, and from it the table in the README.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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
WARM_REQUESTS = 2000
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


def measure(
    name: str,
    client: Client,
    load: Callable[[str, str], Reply],
    directories: list[str],
    pid: int,
) -> Figures:
    """Load the models one after another, each with its first answer, and then ask them warm."""
    before = memory_bytes(pid)
    cold = []
    for number, directory in enumerate(tqdm(directories, desc=name, disable=None)):
        begun = time.perf_counter()
        _expect(load(f"m{number}", directory))
        _expect(client.invoke(f"m{number}", ROW))
        cold.append(1000 * (time.perf_counter() - begun))
    grown = memory_bytes(pid) - before
    warm = []
    for request in range(WARM_REQUESTS):
        begun = time.perf_counter()
        _expect(client.invoke(f"m{request % len(directories)}", ROW))
        warm.append(1000 * (time.perf_counter() - begun))
    return {
        "models": len(directories),
        "cold_ms": statistics.median(cold),
        "memory_mb": grown / len(directories) / 1e6,
        "warm_ms": statistics.median(warm),
        "warm_p90_ms": statistics.quantiles(warm, n=10)[-1],
    }


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
    """Measure both, one after the other."""
    model = make_model()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        ours = ServeProcess(home / "root", capture=True)
        try:
            directories = lay(home / "root", ours_count, model)
            ours.wait_healthy()
            figures = measure(
                "xgboost-mme", ours.client, ours.client.load, directories, ours.process.pid
            )
        finally:
            ours.stop()
        (home / "stock").mkdir()
        stock = StockMms(home / "stock", "least_handler:handle", HERE)
        try:
            lay(stock.store, stock_count, model)
            names = [f"m{number}/model" for number in range(stock_count)]
            stock.wait_healthy()
            stock_figures = measure(
                "stock MMS", stock.client, stock.client.load, names, stock.process.pid
            )
        finally:
            stock.stop()
    return {"xgboost-mme": figures, "stock": stock_figures}


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
