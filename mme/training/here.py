"""``mme train DATA --out DIR``: a file's groups, on this machine, with a table at the end."""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from mme.errors import CommandError
from mme.training.files import replace
from mme.training.fit import SUFFIX, Failed, Recipe, Trained
from mme.training.groups import train_groups


def run(args: argparse.Namespace, recipe: Recipe) -> int:
    """Train, write the archives and the metrics table; status 1 when a group failed."""
    begun = time.perf_counter()
    frame = read(args.data, args.by, args.target)
    results = train_groups(
        frame,
        args.by,
        args.target,
        recipe.parameters,
        recipe.rounds,
        recipe.early_stopping,
        args.jobs,
    )
    progress = tqdm(results, total=frame[args.by].nunique(dropna=False), unit="model", disable=None)
    quiet = progress.disable  # no terminal; asked now, since a bar that has ended is disabled, too
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        table, failed = _write(progress, args.out)
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error.strerror}", status=1) from None
    if len(table):
        sys.stdout.write(table.to_string(index=False) + "\n")
    if quiet:
        seconds = time.perf_counter() - begun
        sys.stdout.write(f"{len(table)} models, {len(failed)} failed, {seconds:.1f} s\n")
    for failure in sorted(failed, key=lambda failure: failure.name):
        sys.stderr.write(f"mme train: {failure.name!r} failed: {failure.reason}\n")
    return 1 if failed else 0


def read(data: Path, by: str, target: str) -> pd.DataFrame:
    """A CSV file whose groups keep the text they are.

    Raises:
        CommandError: it cannot be read, or has not the columns.
    """
    try:
        # The group stays the text it is: 007 is not 7, and NA is Namibia. A mark keeps pandas from
        # reading it as a missing value, which it does after converters, too.
        frame = pd.read_csv(data, converters={by: "={}".format}, low_memory=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"{data} cannot be read: {reason}") from None
    missing = [name for name in (by, target) if name not in frame]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise CommandError(f"{data} has no column {' or '.join(missing)}; it has {there}")
    if by == target:
        raise CommandError(f"--by and --target are both {by}")
    if frame.empty:
        raise CommandError(f"{data} has no rows")
    if frame.shape[1] == len((by, target)):
        raise CommandError(f"{data} has no features beside {by} and {target}")
    frame[by] = frame[by].str.removeprefix("=")
    numbers = frame.select_dtypes("number")
    words = [str(name) for name in frame.columns if name != by and name not in numbers]
    if words:
        raise CommandError(f"columns must be numbers, and are not: {', '.join(words)}")
    return frame


def _write(results: Iterable[Trained | Failed], out: Path) -> tuple[pd.DataFrame, list[Failed]]:
    """Write each archive as it comes, and at the end the table of all; that, and who failed."""
    rows, failed = [], []
    for result in results:
        if isinstance(result, Failed):
            failed.append(result)
            continue
        replace(out / f"{result.name}{SUFFIX}", result.archive)
        rows.append(
            {
                "model": result.name,
                "rows": result.rows,
                "rmse": round(result.rmse, 4),
                "seconds": round(result.seconds, 4),
                "bytes": len(result.archive),
            }
        )
    table = pd.DataFrame(rows, columns=["model", "rows", "rmse", "seconds", "bytes"]).sort_values(
        "model"
    )
    replace(out / "metrics.csv", table.to_csv(index=False).encode())
    return table, failed
