"""The plan as a picture: what each choice costs, what it hits, and how long requests take."""

import math
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mme.errors import CommandError
from mme.figures import short
from mme.plan.options import Option
from mme.plan.result import Result

_GOOD, _BAD, _CHOSEN = "#5b7f9e", "#c9c9c9", "#1b5e20"
_INCHES_A_ROW, _MARGIN_INCHES, _WIDTH_INCHES = 0.34, 1.7, 11.5


def draw(result: Result, file: Path) -> None:
    """Write the chart as SVG, to the same bytes for the same plan.

    Raises:
        CommandError: the file cannot be written, or is to be something else.
    """
    if file.suffix != ".svg":
        raise CommandError(f"--chart {file}: the chart is SVG, so its name must end with .svg")
    with mpl.rc_context({"svg.hashsalt": "mme plan", "font.size": 9.5}):
        drawn = figure(result)
        try:
            drawn.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}", status=1) from None


def figure(result: Result) -> Figure:
    """A row for each option, three pictures beside each other."""
    rows = [*result.options, *result.others]
    height = _MARGIN_INCHES + _INCHES_A_ROW * len(rows)
    drawn = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    money, hits, times = drawn.subplots(1, 3, sharey=True, width_ratios=(3, 2, 2.4))
    _bars(money, rows, result)
    _hits(hits, rows, result)
    _times(times, rows, result)
    money.set_yticks(range(len(rows)), [_label(one) for one in rows])
    money.set_ylim(len(rows) - 0.5, -0.5)
    drawn.suptitle(
        f"{result.models:,} models of {short(result.fleet.memory_mb)} MB, "
        f"{short(result.rate)} requests/s: green is recommended, grey misses a goal",
        x=0.02,
        ha="left",
    )
    return drawn


def _label(one: Option) -> str:
    return f"{one.instances:,} x {one.name}" if one.resident > 1 else one.name


def _colour(one: Option, result: Result) -> str:
    if one is result.chosen:
        return _CHOSEN
    return _BAD if one.lacks else _GOOD


def _bars(axes: Axes, rows: list[Option], result: Result) -> None:
    for place, one in enumerate(rows):
        axes.barh(place, one.monthly, color=_colour(one, result), height=0.7)
        axes.annotate(
            f"${one.monthly:,.0f}",
            (one.monthly, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    costs = [one.monthly for one in rows]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 2, max(costs) * 6)
    axes.set_title("dollars a month", loc="left", fontsize="medium")
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    _plain(axes)


def _hits(axes: Axes, rows: list[Option], result: Result) -> None:
    goal = 100 * result.fleet.hit_rate
    for place, one in enumerate(rows):
        axes.plot(100 * one.hit_rate, place, "o", ms=7, color=_colour(one, result), clip_on=False)
    axes.axvline(goal, color="0.4", ls=":", lw=1)
    axes.annotate(
        "goal",
        (goal, len(rows) - 0.5),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        color="0.4",
    )
    low = min([100 * one.hit_rate for one in rows] + [goal])
    axes.set_xlim(max(-1, low - 5), 101)
    axes.set_title("hit rate, %", loc="left", fontsize="medium")
    _plain(axes)


def _times(axes: Axes, rows: list[Option], result: Result) -> None:
    shown = False
    for place, one in enumerate(rows):
        taken = one.latency
        if taken is None or math.isinf(taken.p99):
            axes.annotate("not known", (0.02, place), xycoords=("axes fraction", "data"),
                          va="center", color="0.4")  # fmt: skip
            continue
        colour = _colour(one, result)
        axes.plot([taken.p50, taken.p99], [place] * 2, "-", color=colour, lw=1.5)
        for value, mark in ((taken.p50, "|"), (taken.p90, "o"), (taken.p99, ">")):
            axes.plot(value, place, mark, color=colour, ms=7, mew=2)
        shown = True
    if shown:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_title("latency, ms:  | p50   ● p90   ▶ p99", loc="left", fontsize="medium")
    _plain(axes)


def _short(value: float, _: float) -> str:
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"${value / unit:g}{letter}"
    return f"${value:g}"


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
