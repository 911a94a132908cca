"""From results to what is read: the README's table, the goals, the chart."""

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "peers.json"
CHART = HERE / "results" / "peers.svg"
README, GOALS = HERE.parent / "README.md", HERE / "README.md"
PERFORMANCE = HERE.parent / "docs" / "07-performance.md"
OURS, STOCK, MLSERVER = "xgboost-mme", "stock MMS", "MLServer"
FLOOR, UNTUNED, WITHOUT_GATE = "MMS floor", "MMS floor, untuned", "without the gate"
PEERS = (OURS, STOCK, MLSERVER)
THROUGHPUTS = ("8 connections", "32 connections")

Results = dict[str, Any]


def machine() -> dict[str, object]:
    """What it ran on."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(gib, 1),
        "python": platform.python_version(),
        "xgboost": version("xgboost-cpu"),
    }


def save(results: Results) -> None:
    """Keep results as data; those of a part replace that part."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(_load() | _rounded(results), indent=1) + "\n")


def _load() -> Results:
    results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return results


def _rounded(value: Any) -> Any:
    """Four digits: no more was measured."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def write() -> None:
    """Write the tables and the chart from the data."""
    results = _load()
    for page, make in TABLES.items():
        table = make(results)
        page.write_text(with_table(page.read_text(), table))
    _draw(results)


def with_table(page: str, table: str) -> str:
    """The page with this table between its marks."""
    begin, end = f"<!-- table: benchmarks/results/{RESULTS.name} -->\n", "<!-- /table -->"
    head, begin, rest = page.partition(begin)
    _, end, tail = rest.partition(end)
    return head + begin + table + end + tail


def as_text(results: Results) -> str:
    """All tables, for a run that writes nothing."""
    if not {"cold", "warm", "path", "beside"} <= set(results):
        return json.dumps(_rounded(results), indent=1) + "\n"
    return "\n".join(make(results) for make in TABLES.values())


class Row(NamedTuple):
    """One line of the comparison; of more is better where a rate is compared."""

    what: str
    values: tuple[float | None, ...]  # of ``PEERS``
    form: str
    more_is_better: bool = False


def comparison(results: Results) -> str:
    """What is measured of all three, ratios first."""
    cold, warm = results["cold"], results["warm"]

    def best(name: str, field: str) -> float:
        return min(float(at[field]) for at in cold[name]["at"] if field in at)

    most = {name: max(at["loaded"] for at in cold[name]["at"]) for name in PEERS}

    def last(name: str, field: str) -> float:
        return float(_at(results, name, most[name])[field])

    def each(get: Callable[[str], float]) -> tuple[float | None, ...]:
        return tuple(map(get, PEERS))

    def seen(what: str, field: str) -> tuple[float | None, ...]:
        return each(lambda name: float(warm[what][name][field]))

    counts = ", ".join(f"{most[name]:,}" for name in PEERS)
    rows = [
        Row("container start", each(lambda name: cold[name]["start_s"]), "{:.2f} s"),
        Row("load + first answer, at its best", each(lambda n: best(n, "median_ms")), "{:.3g} ms"),
        Row(
            f"load + first answer, {counts} loaded",
            each(lambda n: last(n, "median_ms")),
            "{:.3g} ms",
        ),
        Row(f"memory a model, {counts} loaded", each(lambda n: last(n, "model_mb")), "{:.3f} MB"),
        Row("unload", each(lambda n: cold[n]["unload"]["median_ms"]), "{:.3g} ms"),
        Row("one row, warm, median", seen("1 connection", "median"), "{:.2f} ms"),
        Row("one row, warm, 90th percentile", seen("1 connection", "p90"), "{:.2f} ms"),
        Row("one row, warm, 99th percentile", seen("1 connection", "p99"), "{:.2f} ms"),
        *(Row(f"requests/s, {what}", seen(what, "rate"), "{:,.0f}", True) for what in THROUGHPUTS),
        Row("requests/s, Zipf, 8 connections", seen("zipf", "rate"), "{:,.0f}", True),
        Row(
            "requests/s, one hot model, 8 connections",
            seen("one hot model", "rate"),
            "{:,.0f}",
            True,
        ),
        Row("1,000 rows, median", seen("1,000 rows", "median"), "{:.2f} ms"),
        Row("500 trees of depth 8, one row, median", seen("large model", "median"), "{:.2f} ms"),
        Row(
            "500 trees of depth 8, 1,000 rows, median",
            seen("large model, 1,000 rows", "median"),
            "{:.1f} ms",
        ),
    ]
    head = f"| 25 trees of depth 5, 6 features | to {STOCK} | to {MLSERVER} | "
    lines = [
        head + f"this container | {STOCK} 1.1.11 | {MLSERVER} 1.7.1 |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        mine, *theirs = row.values
        assert mine is not None
        ratios = [
            "" if their is None else f"**{_ratio(mine, their, row.more_is_better):.3g} x**"
            for their in theirs
        ]
        values = ["" if value is None else row.form.format(value) for value in row.values]
        lines.append(f"| {' | '.join([row.what, *ratios, *values])} |")
    facts = results["machine"]
    lines += [
        "",
        f"`make bench`, one run: {facts['cores']} cores, {facts['memory_gib']} GiB, Python "
        f"{facts['python']}, XGBoost {facts['xgboost']}; client and server share the cores. "
        f"More is better in the bold columns. [How, and the goals](benchmarks/README.md).",
    ]
    if "resident" in results:
        at = results["resident"]["at"][-1]
        lines.append(
            f"One container held **{results['resident']['loaded']:,} models**, all answering, in "
            f"{at['total_mb'] / 1000:.1f} GB; the last loads took {at['median_ms']:.3g} ms."
        )
    verdicts = {
        "The goals that hold": [goal for goal in _goals(results) if goal.reached],
        "Those of which only the least holds": [
            goal for goal in _goals(results) if goal.enough and not goal.reached
        ],
        "Those that are missed": [goal for goal in _goals(results) if not goal.enough],
    }
    for what, found in verdicts.items():
        if found:
            named = "; ".join(f"{goal.measure} ({goal.measured})" for goal in found)
            lines += ["", f"{what}: {named}."]
    return "\n".join(lines) + "\n"


def _ratio(mine: float, theirs: float, more_is_better: bool) -> float:
    return mine / theirs if more_is_better else theirs / mine


def _at(results: Results, name: str, loaded: int) -> dict[str, float]:
    """The measurement of a system at a count, or at its largest below that."""
    at: list[dict[str, float]] = results["cold"][name]["at"]
    return max((one for one in at if one["loaded"] <= loaded), key=lambda one: one["loaded"])


class Goal(NamedTuple):
    """One goal: what was measured, and whether it reaches the goal, or what is the least."""

    measure: str
    measured: str
    goal: str
    least: str
    reached: bool
    enough: bool


def goals(results: Results) -> str:
    """The goals, each with what was measured."""
    lines = ["| measure | measured | goal | at least | holds |", "|---|---|---|---|---|"]
    for goal in _goals(results):
        holds = "goal" if goal.reached else "at least" if goal.enough else "**no**"
        lines.append(f"| {goal.measure} | {goal.measured} | {goal.goal} | {goal.least} | {holds} |")
    return "\n".join(lines) + "\n"


def _goals(results: Results) -> list[Goal]:
    warm = results["warm"]
    ours = _at(results, OURS, 10_000)
    stock_best = min(at["median_ms"] for at in results["cold"][STOCK]["at"])
    stock_memory = _at(results, STOCK, 10_000)["model_mb"]
    their_memory = _at(results, MLSERVER, 10_000)["model_mb"]
    faster, smaller = stock_best / ours["median_ms"], stock_memory / ours["model_mb"]
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
    hot = warm["one hot model"][OURS]["rate"] / warm["8 connections"][OURS]["rate"]
    batch = warm["1,000 rows"][OURS]["median"] - warm["XGBoost alone"]["1000"]["inplace_ms"]
    resident = results.get("resident", results["cold"][OURS])["loaded"]
    rates = " and ".join(f"{rate:.1f} x" for rate in stock_rates)
    their = " and ".join(f"{rate:.1f} x" for rate in their_rates)
    return [
        Goal(
            f"load + first answer, {ours['loaded']:,} loaded, median",
            f"{ours['median_ms']:.2f} ms, {faster:.0f} x faster than stock MMS at its best",
            "2 ms and 200 x",
            "100 x",
            ours["median_ms"] <= 2 and faster >= 200,
            faster >= 100,
        ),
        Goal(
            f"memory a model, all in, at {ours['loaded']:,}",
            f"{ours['model_mb']:.4f} MB, {smaller:.0f} x less than stock MMS; MLServer "
            f"{their_memory:.4f} MB",
            "0.085 MB, 500 x, MLServer's or less",
            "0.1 MB",
            ours["model_mb"] <= 0.085 and smaller >= 500 and ours["model_mb"] <= their_memory,
            ours["model_mb"] <= 0.1,
        ),
        Goal(
            "one row, warm, through the gate: median, p90",
            f"{to_floor:.2f} x the floor ({untuned:.2f} x that of MMS untuned), {to_stock:.1f} x "
            f"faster than stock MMS; p90 {one['p90']:.2f} ms",
            "1.4 x the floor, p90 0.9 ms",
            "1.7 x the floor, 2.2 x faster than stock MMS",
            to_floor <= 1.4 and one["p90"] <= 0.9,
            to_floor <= 1.7 and to_stock >= 2.2,
        ),
        Goal(
            "throughput, 8 and 32 connections",
            f"{rates} stock MMS, {their} MLServer",
            "4.5 x and 6.5 x",
            "3.5 x and 5 x",
            min(stock_rates) >= 4.5 and min(their_rates) >= 6.5,
            min(stock_rates) >= 3.5 and min(their_rates) >= 5,
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
            f"XGBoost alone + {batch:.2f} ms",
            "+ 1 ms",
            "+ 2 ms",
            batch <= 1,
            batch <= 2,
        ),
        Goal(
            "models in one container, all answering",
            f"{resident:,}",
            "200,000",
            "100,000",
            resident >= 200_000,
            resident >= 100_000,
        ),
    ]


def where_time_goes(results: Results) -> str:
    """One warm row, stage by stage, and long work beside it."""
    stages, steps = results["path"]["stages"], results["path"]["worker_us"]
    floor, direct, ours = (stages[name] for name in (FLOOR, WITHOUT_GATE, OURS))

    def cpu(stage: dict[str, Any], kind: str) -> str:
        return f"{stage['cpu_us'][kind]:.0f}"

    worker = direct["median_us"] - floor["median_us"]
    gate = ours["median_us"] - direct["median_us"]
    lines = [
        "| one row, warm | latency, one connection | processor time, eight connections |",
        "|---|---|---|",
        f"| client, MMS and a lane, with a constant answer | {floor['median_us']:.0f} us "
        f"| {cpu(ours, 'java')} us in Java |",
        f"| the worker's work | + {worker:.0f} us | {cpu(ours, 'worker')} us |",
        f"| the gate | + {gate:.0f} us | {cpu(ours, 'gate')} us |",
        f"| **together** | **{ours['median_us']:.0f} us** "
        f"| **{sum(ours['cpu_us'].values()):.0f} us** |",
        "",
        "| in the worker, in a loop of its own | |",
        "|---|---|",
        *(f"| {step} | {taken:.1f} us |" for step, taken in steps.items()),
        "",
        "| one row of one model, while the same shard has | median | p90 | long ones done |",
        "|---|---|---|---|",
        *(
            f"| {what} | {seen['median_ms']:.2f} ms | {seen['p90_ms']:.2f} ms "
            f"| {seen['long_done']} |"
            for what, seen in results["beside"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


TABLES: dict[Path, Callable[[Results], str]] = {
    README: comparison,
    GOALS: goals,
    PERFORMANCE: where_time_goes,
}


def _draw(results: Results) -> None:
    """The chart: what a model costs as their number grows, and what is answered."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"  # the same results give the same file
    from matplotlib import pyplot

    colours = dict(zip((*PEERS, FLOOR), ("#d1495b", "#30638e", "#edae49", "#8d99ae"), strict=True))
    figure, (load, memory, rate) = pyplot.subplots(1, 3, figsize=(12, 3.6))
    for name in PEERS:
        at = results["cold"][name]["at"]
        load.plot(
            [max(one["loaded"], 1) for one in at],
            [one["median_ms"] for one in at],
            marker="o",
            label=name,
            color=colours[name],
        )
        memory.plot(
            [one["loaded"] for one in at if one["loaded"]],
            [one["model_mb"] for one in at if one["loaded"]],
            marker="o",
            color=colours[name],
        )
    load.set_title("load + first answer, ms")
    memory.set_title("memory a model, MB")
    for axes in (load, memory):
        axes.set(xscale="log", yscale="log", xlabel="models loaded")
        axes.grid(alpha=0.3)
    whats = ("1 connection", *THROUGHPUTS)
    for place, name in enumerate((*PEERS, FLOOR)):
        rates = [results["warm"][what][name]["rate"] for what in whats]
        rate.bar(
            [at + 0.2 * place for at in range(len(whats))],
            rates,
            width=0.2,
            color=colours[name],
            label=name,
        )
    rate.set_xticks([at + 0.3 for at in range(len(whats))], [what.split()[0] for what in whats])
    rate.set(title="requests/s", xlabel="connections")
    rate.legend(frameon=False, fontsize=8)
    for axes in (load, memory, rate):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(CHART, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.stdout.write(as_text(_load()))
