"""A plan that has been made: the options, the one to take and why; as a table and as JSON."""

import dataclasses
import math
import textwrap
from dataclasses import dataclass
from typing import Any

from mme.figures import milliseconds, short
from mme.instance_types import GIB, shape
from mme.plan import comparison
from mme.plan.alternatives import SERVERLESS_QUOTA, Dedicated
from mme.plan.comparison import Comparison
from mme.plan.fleet import Fleet
from mme.plan.measure import Measured
from mme.plan.options import MIB, Option, archive_mb, download_ms, load_ms
from mme.plan.prices import HOURS_A_MONTH, Prices

_WIDTH = 100
_FEW = 10  # models
_LONG_MS = 10_000
_COLUMNS = (
    *(("", 24), ("instances", 10), ("resident", 10), ("hit", 8), ("cold", 8)),
    *(("p50", 8), ("p90", 8), ("p99", 8), ("dollars", 16)),
)
_UNITS = ("", "", "each", "rate", "/s", "ms", "ms", "ms", "a month")


@dataclass(frozen=True)
class Result:
    """All that was found.

    Attributes:
        fleet: what was planned for, with what was measured.
        models: how many there are.
        rate: requests a second.
        prices: that were taken.
        options: a multi-model endpoint of each type.
        dedicated: an endpoint a model; None where it cannot be.
        serverless: likewise.
        chosen: the recommended one; None where none meets the goals.
        comparisons: the file's.
        measured: of the sample.
        notes: sentences about what was given.
    """

    fleet: Fleet
    models: int
    rate: float
    prices: Prices
    options: list[Option]
    dedicated: Dedicated | None
    serverless: Option | None
    chosen: Option | None
    comparisons: list[Comparison]
    measured: Measured | None
    notes: list[str]

    @property
    def others(self) -> list[Option]:
        """What is no multi-model endpoint."""
        alone = [self.dedicated.option] if self.dedicated else []
        return alone + ([self.serverless] if self.serverless else [])


def why(result: Result) -> str:
    """The recommendation, in a sentence or two."""
    one = result.chosen
    if one is None:
        near = min(result.options, key=lambda option: -option.hit_rate, default=None)
        missing = f" Of {near.instances} x {near.name}: {near.lacks}." if near else ""
        return (
            f"no choice is known to meet all goals.{missing} Allow more (--warm-ms, --cold-ms, "
            "--hit-rate, --most-utilisation), or other types (--instance-type)."
        )
    if one in result.others:
        return (
            f"{one.name}, ${one.monthly:,.2f} a month: the cheapest that meets the goals. mme "
            "deploy does not make it: it makes multi-model endpoints."
        )
    said = (
        f"{one.instances} x {one.name}, ${one.monthly:,.2f} a month: the cheapest that meets the "
        f"goals. {one.hit_rate:.1%} of requests find their model loaded"
    )
    if one.latency is not None:
        said += f", nine of ten are answered within {one.latency.p90:.1f} ms"
    if result.dedicated is not None:
        alone = result.dedicated.option.monthly
        said += f"; an endpoint a model is {alone / one.monthly:,.0f} times as dear"
    return f"{said}."


def _recommendation(result: Result) -> str:
    return (
        f"Recommended: {why(result)}" if result.chosen else f"Nothing is recommended: {why(result)}"
    )


def text(result: Result) -> str:
    """For a reader."""
    fleet = result.fleet
    parts = [comparison.table(one) for one in result.comparisons]
    parts += [table(result), *_share(result), wrap(_recommendation(result))]
    goal = (
        f"Goals at p{fleet.percentile:g}: warm {short(fleet.warm_ms)} ms, cold "
        f"{short(fleet.cold_ms)} ms; "
        f"hit rate {fleet.hit_rate:.0%}; {fleet.least_instances} instances at least."
    )
    notes = [
        *result.notes,
        goal,
        f"Prices: {result.prices.region}, {result.prices.date}; {result.prices.source}. "
        f"{HOURS_A_MONTH} hours a month, without storage and traffic.",
        f"A load takes {milliseconds(load_ms(fleet))}, a download "
        f"{milliseconds(download_ms(fleet))} (of an archive of {short(archive_mb(fleet), 2)} MB"
        f"{'' if fleet.download_ms else '; assumed'}). Latency is the "
        "container's (ModelLatency) and the load's: the network and SageMaker's front come on top.",
    ]
    if result.serverless is not None:
        notes.append(
            "Serverless has no multi-model mode: an endpoint a model, of which an account has "
            f"{SERVERLESS_QUOTA} unless AWS is asked for more; one that is idle for ten minutes is "
            "taken to be cold. How fast it answers is not known, so it is shown beside the others "
            "and never recommended; mme deploy does not make it."
        )
    parts.append("\n".join(map(wrap, notes)))
    return "\n\n".join(parts) + "\n"


def table(result: Result) -> str:
    """A row for each option."""
    fleet = result.fleet
    source = "measured" if result.measured else "given"
    head = (
        f"{result.models:,} models of {short(fleet.memory_mb)} MB in memory ({source}), "
        f"{short(result.rate)} requests/s"
        + (f", from {fleet.trace}" if fleet.trace else f", Zipf {short(fleet.zipf)}")
    )
    lines = [head, "", _row([name for name, _ in _COLUMNS]), _row(_UNITS)]
    for one in [*result.options, *result.others]:
        if one is (result.others[0] if result.others else None):
            lines.append("")
        lines.append(_row(_cells(one)) + ("  <- recommended" if one is result.chosen else ""))
        if one.lacks:
            lines[-1] += f"  {one.lacks}"
        if result.dedicated and one is result.dedicated.option:
            lines[-1] += f"  ({result.dedicated.instance_type})"
    return "\n".join(lines)


def _cells(one: Option) -> list[str]:
    taken = one.latency
    latencies = (taken.p50, taken.p90, taken.p99) if taken else ()
    return [
        one.name,
        f"{one.instances:,}" if one.instances else "-",
        "-" if math.isnan(one.resident) else _models(one.resident),
        f"{one.hit_rate:.1%}",
        f"{one.cold_rate:,.2f}",
        *([_ms(value) for value in latencies] or ["-"] * 3),
        f"${one.monthly:,.2f}",
    ]


def _models(mean: float) -> str:
    """Of an instance: a half of one is said where there are few."""
    return short(mean, 2) if mean < _FEW else f"{mean:,.0f}"


def _ms(value: float) -> str:
    if math.isinf(value):
        return "-"
    return f"{value:,.1f}" if value < _LONG_MS else milliseconds(value).removesuffix(" ms")


def _row(cells: "list[str] | tuple[str, ...]") -> str:
    first, *rest = zip(cells, _COLUMNS, strict=True)
    text = f"{first[0]:<{first[1][1]}}"
    return (text + "".join(f"{cell:>{width}}" for cell, (_, width) in rest)).rstrip()


def _share(result: Result) -> list[str]:
    """What all models take of one of the smallest instances, where they fit there."""
    fleet = result.fleet
    needed = result.models * fleet.memory_mb + fleet.base_mb
    if not result.options:
        return []
    smallest = result.options[0].name
    memory = shape(smallest)[1]
    share = needed * MIB / memory
    if share > 1:
        return []
    return [
        wrap(
            f"With this container, {result.models:,} models of {short(fleet.memory_mb)} MB and its "
            f"base of {fleet.base_mb:.0f} MB take {needed:,.0f} MB: {share:.0%} of one {smallest} "
            f"({memory / GIB:g} GiB)."
        )
    ]


def wrap(words: str) -> str:
    """In lines that a terminal shows."""
    return textwrap.fill(words, _WIDTH, break_on_hyphens=False)


def as_json(result: Result) -> dict[str, Any]:
    """For a program: plain data; what cannot be said is null."""
    options = [
        dataclasses.asdict(one) | {"recommended": one is result.chosen}
        for one in [*result.options, *result.others]
    ]
    found = {
        "models": result.models,
        "rate": result.rate,
        "fleet": dataclasses.asdict(result.fleet),
        "measured": dataclasses.asdict(result.measured) if result.measured else None,
        "prices": {
            key: getattr(result.prices, key) for key in ("date", "source", "region", "file")
        },
        "options": options,
        "recommended": result.chosen.name if result.chosen else None,
        "why": why(result),
        "notes": result.notes,
        "comparisons": [
            dataclasses.asdict(one) | {"saved": one.saved} for one in result.comparisons
        ],
    }
    plain = _plain(found)
    assert isinstance(plain, dict)  # noqa: S101  # for mypy
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
