"""The goals, and whether they are reached."""

from typing import NamedTuple

from benchmarks.data import (
    FLOOR,
    MLSERVER,
    OURS,
    STOCK,
    THROUGHPUTS,
    UNTUNED,
    WITHOUT_GATE,
    Results,
    at,
)


class Goal(NamedTuple):
    """One goal: what was measured, and whether it reaches the goal, or what is the least."""

    measure: str
    measured: str
    goal: str
    least: str
    reached: bool
    enough: bool


def table(results: Results) -> str:
    """The goals, each with what was measured."""
    lines = ["| measure | measured | goal | at least | holds |", "|---|---|---|---|---|"]
    for goal in judge(results):
        holds = "goal" if goal.reached else "at least" if goal.enough else "**no**"
        lines.append(f"| {goal.measure} | {goal.measured} | {goal.goal} | {goal.least} | {holds} |")
    return "\n".join(lines) + "\n"


def judge(results: Results) -> list[Goal]:
    """Each goal, with what was measured."""
    warm = results["warm"]
    ours = at(results, OURS, 100_000)
    stock_best = min(at["median_ms"] for at in results["cold"][STOCK]["at"])
    stock_memory = at(results, STOCK, 10_000)["model_mb"]
    their_memory = at(results, MLSERVER, 10_000)["model_mb"]
    faster, smaller = stock_best / ours["median_ms"], stock_memory / ours["model_mb"]
    below = their_memory / ours["model_mb"]
    one, floor = warm["1 connection"][OURS], warm["1 connection"][FLOOR]["median"]
    untuned = one["median"] / warm["1 connection"][UNTUNED]["median"]
    to_floor, to_stock = (
        one["median"] / floor,
        warm["1 connection"][STOCK]["median"] / one["median"],
    )
    stock_rates, their_rates = (
        [warm[what][OURS]["rate"] / warm[what][name]["rate"] for what in THROUGHPUTS]
        for name in (STOCK, MLSERVER)
    )
    stages = results["path"]["stages"]
    gate_us = stages[OURS]["median_us"] - stages[WITHOUT_GATE]["median_us"]
    bare = stages[WITHOUT_GATE]["rates"]
    kept = [rate / bare[connections] for connections, rate in stages[OURS]["rates"].items()]
    hot = warm["one hot model"][OURS]["rate"] / warm["8 connections"][OURS]["rate"]
    batch = warm["1,000 rows"][OURS]["median"] - warm["XGBoost alone"]["1000"]["inplace_ms"]
    resident = results.get("resident", results["cold"][OURS])["loaded"]
    rates = " and ".join(f"{rate:.1f} x" for rate in stock_rates)
    their = " and ".join(f"{rate:.1f} x" for rate in their_rates)
    return [
        Goal(
            f"load + first answer, {ours['loaded']:,} loaded, median",
            f"{ours['median_ms']:.2f} ms, {faster:.0f} x faster than stock MMS at its best",
            "1 ms and 400 x",
            "200 x",
            ours["median_ms"] <= 1 and faster >= 400,
            faster >= 200,
        ),
        Goal(
            f"memory a model, all in, at {ours['loaded']:,}",
            f"{ours['model_mb']:.4f} MB, {smaller:,.0f} x less than stock MMS, {below:.1f} x less "
            f"than MLServer",
            "0.018 MB, 2,400 x, 4 x",
            "0.03 MB",
            ours["model_mb"] <= 0.018 and smaller >= 2400 and below >= 4,
            ours["model_mb"] <= 0.03,
        ),
        Goal(
            "one row, warm, through the gate: median, p90",
            f"{to_floor:.2f} x the floor ({untuned:.2f} x that of MMS untuned), {to_stock:.1f} x "
            f"faster than stock MMS; p90 {one['p90']:.2f} ms",
            "1.25 x the floor, p90 0.7 ms",
            "1.5 x the floor, 2.5 x faster than stock MMS",
            to_floor <= 1.25 and one["p90"] <= 0.7,
            to_floor <= 1.5 and to_stock >= 2.5,
        ),
        Goal(
            "the gate alone: median, throughput at 8 and 32 connections",
            f"+ {gate_us:.0f} us; {kept[0]:.0%} and {kept[1]:.0%} of what MMS answers without it",
            "150 us, 75 %",
            "150 us, 75 %",
            gate_us <= 150 and min(kept) >= 0.75,
            gate_us <= 150 and min(kept) >= 0.75,
        ),
        Goal(
            "throughput, 8 and 32 connections",
            f"{rates} stock MMS, {their} MLServer",
            "8 x and 12 x",
            "5 x and 7 x",
            min(stock_rates) >= 8 and min(their_rates) >= 12,
            min(stock_rates) >= 5 and min(their_rates) >= 7,
        ),
        Goal(
            "one hot model alone, 8 connections",
            f"{hot:.0%} of the spread-out figure",
            "90 %",
            "75 %",
            hot >= 0.9,
            hot >= 0.75,
        ),
        Goal(
            "1,000 rows in a request",
            f"XGBoost alone {batch:+.2f} ms",
            "+ 0 ms",
            "+ 0.5 ms",
            batch <= 0,
            batch <= 0.5,
        ),
        Goal(
            "models in one container, all answering",
            f"{resident:,}",
            "1,000,000",
            "500,000",
            resident >= 1_000_000,
            resident >= 500_000,
        ),
        *_of_local(results),
    ]


def _of_local(results: Results) -> list[Goal]:
    """Those of ``mme local``."""
    if "local" not in results:
        return []
    front, zipf = results["local"]["front"], results["local"]["zipf"]
    return [
        Goal(
            "`mme local`: what its front adds to one row, median",
            f"+ {front['added_us'] / 1000:.2f} ms",
            "0.4 ms",
            "0.4 ms",
            front["added_us"] <= 400,
            front["added_us"] <= 400,
        ),
        Goal(
            f"`mme local`: {results['local']['models']:,} models in the catalogue, by Zipf's law",
            f"{zipf['resident']:,} resident, memory + {zipf['grown_mb']:.0f} MB over "
            f"{zipf['requests']:,} requests",
            "2,000 resident, + 20 MB",
            "2,000 resident, + 50 MB",
            zipf["resident"] >= 2000 and zipf["grown_mb"] <= 20,
            zipf["resident"] >= 2000 and zipf["grown_mb"] <= 50,
        ),
    ]
