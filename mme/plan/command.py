"""``mme plan``: what an endpoint for these models takes and costs, before it is paid for."""

import argparse
import dataclasses
import json
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mme.errors import CommandError
from mme.plan import alternatives, comparison, fleet, options, prices, result, trace
from mme.plan.fleet import Fleet

_LEAST_REQUESTS, _MOST_REQUESTS, _A_MODEL = 100_000, 1_000_000, 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, a flag for each of its fields, and where results go."""
    parser.add_argument("file", type=Path, nargs="?", help="a plan; flags go before its fields")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw cost and hit rate")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--prices", type=Path, metavar="FILE", help="take these prices")
    parser.add_argument(
        "--refresh-prices", type=Path, metavar="FILE", help="write AWS's prices there, and end"
    )
    parser.add_argument("--profile", help="of the AWS CLI, for --refresh-prices")
    fleet.add_flags(parser)


def run(args: argparse.Namespace) -> int:
    """Plan and print; status 1 where nothing meets the goals."""
    if args.refresh_prices is not None:
        return _refresh(args)
    progress = _progress()
    try:
        found = make(args.file, vars(args), args.prices, progress)
    finally:
        progress("")
    if args.chart is not None:
        from mme.plan import chart  # matplotlib takes longer than a plan

        chart.draw(found, args.chart)
    if args.json:
        sys.stdout.write(json.dumps(result.as_json(found), indent=2, allow_nan=False) + "\n")
    else:
        sys.stdout.write(result.text(found))
    return 0 if found.chosen is not None else 1


def make(
    file: Path | None,
    flags: dict[str, Any],
    price_file: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> result.Result:
    """Plan.

    Args:
        file: the plan's; its sample and trace are found from its folder.
        flags: by field; None is one that was not given.
        price_file: instead of ours, and of those that the file has.
        progress: is told what takes a while.

    Raises:
        CommandError: the input is not one, or the sample cannot be measured.
    """
    table = _read(file) if file is not None else {}
    name = str(file) if file is not None else ""
    own_prices, compared = table.pop("prices", None), table.pop("comparison", [])
    wanted = Fleet.read(table, flags, name)
    if own_prices is not None and price_file is None:
        if not isinstance(own_prices, dict):
            raise CommandError(f"{name}: prices must be a table, as a file of prices is")
        taken = prices.parse(own_prices, wanted.region, f"{name}: prices")
    else:
        taken = prices.read(price_file, wanted.region)
    folder = file.parent if file is not None else Path()
    measured = None
    if wanted.sample:
        from mme.plan import measure  # it needs the container

        given = flags.get("sample") is not None
        sample = Path(wanted.sample) if given else folder / wanted.sample
        progress(f"measuring {sample}")
        measured = measure.measure(sample, wanted.row.encode() or None)
        wanted = _with(wanted, measured, table, flags)
    traffic = _traffic(wanted, folder if flags.get("trace") is None else Path())
    planner = options.Planner(wanted, taken, traffic, progress)
    made = planner.all()
    alone = alternatives.dedicated(wanted, taken, traffic, list(planner.types()))
    less = alternatives.serverless(wanted, taken.serverless, traffic) if taken.serverless else None
    every = [*made, *([alone.option] if alone else []), *([less] if less else [])]
    return result.Result(
        fleet=wanted,
        models=len(traffic.shares),
        rate=traffic.rate,
        prices=taken,
        options=made,
        dedicated=alone,
        serverless=less,
        chosen=options.recommend(every),
        notes=[*_unused(wanted), *traffic.notes],
        comparisons=comparison.parse(compared, taken, name),
        measured=measured,
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"{file} cannot be read: {reason}") from None


def _with(wanted: Fleet, measured: Any, table: dict[str, Any], flags: dict[str, Any]) -> Fleet:
    """What was measured, where nothing is given."""
    found = {
        "memory_mb": measured.memory_mb,
        "archive_mb": measured.archive_mb,
        "base_mb": max(measured.base_mb, Fleet.base_mb),  # a container grows with use
        "load_ms": measured.load_ms,
        "warm_median_ms": measured.warm_ms,
    }
    said = {name for section in table.values() if isinstance(section, dict) for name in section}
    said |= {name for name in found if flags.get(name) is not None}
    return dataclasses.replace(
        wanted, **{name: value for name, value in found.items() if name not in said}
    )


def _unused(wanted: Fleet) -> list[str]:
    """What is given, and a trace makes of no use."""
    names = ("count", "zipf", "requests") if wanted.trace else ()
    given = [name for name in names if getattr(wanted, name) != getattr(Fleet, name)]
    return [f"{fleet.flag(name)} is not used: a trace says it itself." for name in given]


def _traffic(wanted: Fleet, folder: Path) -> trace.Trace:
    if wanted.trace:
        return trace.read(folder / wanted.trace, wanted.rate)
    requests = wanted.requests or min(_MOST_REQUESTS, max(_LEAST_REQUESTS, _A_MODEL * wanted.count))
    return trace.draw(wanted.count, requests, wanted.rate, wanted.zipf, wanted.seed)


def _refresh(args: argparse.Namespace) -> int:
    from mme.aws import Aws  # boto3 is another extra's
    from mme.plan import price_list

    aws = Aws(args.profile, price_list.ENDPOINT_REGION)
    region = args.region or Fleet.region
    sys.stdout.write(price_list.refresh(aws, region, args.refresh_prices) + "\n")
    return 0


def _progress() -> Callable[[str], None]:
    """A line on a terminal, which the next one takes the place of; elsewhere nothing.

    Told nothing, it takes its last line away.
    """
    if not sys.stderr.isatty():
        return lambda _: None
    begun = time.monotonic()

    def say(words: str) -> None:
        line = f"{time.monotonic() - begun:5.1f} s  {words}" if words else ""
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()

    return say
