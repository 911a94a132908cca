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
from mme.training.groups import train_each
from mme.training.metrics import Row, as_csv, say_failed
from mme.training.table import Table


def run(args: argparse.Namespace, recipe: Recipe) -> int:
    """Train, write the archives and the metrics table; status 1 when a group failed."""
    begun = time.perf_counter()
    table = Table(args.by, args.target)
    table.read(args.data, str(args.data))
    if not table.seen:
        raise CommandError(f"{args.data} has no rows")
    bad = table.failed()
    if len(bad) == len(table):
        raise CommandError(bad[0].reason)
    results = train_each(table.groups(), recipe, args.jobs)
    progress = tqdm(results, total=len(table) - len(bad), unit="model", disable=None)
    quiet = progress.disable  # no terminal; asked now, since a bar that has ended is disabled, too
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        rows = _write(progress, bad, args.out)
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error.strerror}", status=1) from None
    trained = sorted(row for row in rows if row.bytes is not None)
    failed = {row.model: row.failed for row in rows if row.bytes is None}
    if trained:
        shown = pd.DataFrame(trained).drop(columns="failed")
        sys.stdout.write(shown.to_string(index=False) + "\n")
    if quiet:
        seconds = time.perf_counter() - begun
        sys.stdout.write(f"{len(trained)} models, {len(failed)} failed, {seconds:.1f} s\n")
    say_failed(failed, str(args.out / "metrics.csv"))
    return 1 if failed else 0


def _write(results: Iterable[Trained | Failed], bad: list[Failed], out: Path) -> list[Row]:
    """Write each archive as it comes, and at the end the table of all."""
    rows = list(map(Row.of, bad))
    for result in results:
        if isinstance(result, Trained):
            replace(out / f"{result.name}{SUFFIX}", result.archive)
        rows.append(Row.of(result))
    replace(out / "metrics.csv", as_csv(rows))
    return rows
