"""From results to what is read: the README's table, where the time goes, the chart."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import data, goals
from benchmarks.data import (
    FLOOR,
    MLSERVER,
    OURS,
    PEERS,
    STOCK,
    THROUGHPUTS,
    WITHOUT_GATE,
    Results,
)
from mme.figures import short

HERE = Path(__file__).parent
CHART = HERE / "results" / "peers.svg"
README, GOALS = HERE.parent / "README.md", HERE / "README.md"
PERFORMANCE = HERE.parent / "docs" / "07-performance.md"
LOCAL = HERE.parent / "docs" / "10-local.md"


def write() -> None:
    """Write the tables and the chart from the data."""
    results = data.load()
    for page, make in TABLES.items():
        table = make(results)
        page.write_text(with_table(page.read_text(), table))
    _draw(results)


def with_table(page: str, table: str) -> str:
    """The page with this table between its marks."""
    begin, end = f"<!-- table: benchmarks/results/{data.PATH.name} -->\n", "<!-- /table -->"
    head, begin, rest = page.partition(begin)
    _, end, tail = rest.partition(end)
    return head + begin + table + end + tail


def as_text(results: Results) -> str:
    """All tables, for a run that writes nothing."""
    if not {"cold", "warm", "path", "beside"} <= set(results):
        return json.dumps(data.rounded(results), indent=1) + "\n"
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
        return float(data.at(results, name, most[name])[field])

    def each(get: Callable[[str], float]) -> tuple[float | None, ...]:
        return tuple(map(get, PEERS))

    def seen(what: str, field: str) -> tuple[float | None, ...]:
        return each(lambda name: float(warm[what][name][field]))

    counts = ", ".join(f"{most[name]:,}" for name in PEERS)
    rows = [
        Row("container start", each(lambda name: cold[name]["start_s"]), "{:.2f} s"),
        Row("load + first answer, at its best", each(lambda n: best(n, "median_ms")), "{} ms"),
        Row(
            f"load + first answer, {counts} loaded",
            each(lambda n: last(n, "median_ms")),
            "{} ms",
        ),
        Row(f"memory a model, {counts} loaded", each(lambda n: last(n, "model_mb")), "{:.3f} MB"),
        Row("unload", each(lambda n: cold[n]["unload"]["median_ms"]), "{} ms"),
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
            "" if their is None else f"**{short(_ratio(mine, their, row.more_is_better))} x**"
            for their in theirs
        ]
        values = ["" if value is None else _written(value, row.form) for value in row.values]
        lines.append(f"| {' | '.join([row.what, *ratios, *values])} |")
    facts, judged = results["machine"], goals.judge(results)
    lines += [
        "",
        f"`make bench`, one run: {facts['cores']} cores, {facts['memory_gib']} GiB, Python "
        f"{facts['python']}, XGBoost {facts['xgboost']}; client and server share the cores. "
        "More is better in the bold columns. [How, and the goals](benchmarks/README.md), of which "
        f"{sum(goal.reached for goal in judged)} of {len(judged)} are reached.",
    ]
    if "resident" in results:
        at = results["resident"]["at"][-1]
        lines.append(
            f"One container held **{results['resident']['loaded']:,} models**, all answering, in "
            f"{at['total_mb'] / 1000:.1f} GB; the last loads took {short(at['median_ms'])} ms."
        )
    return "\n".join(lines) + "\n"


def _written(value: float, form: str) -> str:
    """By its form, or with three digits where that leaves it open."""
    return form.format(short(value) if form.startswith("{}") else value)


def _ratio(mine: float, theirs: float, more_is_better: bool) -> float:
    return mine / theirs if more_is_better else theirs / mine


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
        f"| the worker's work | {worker:+.0f} us | {cpu(ours, 'worker')} us |",
        f"| the gate | {gate:+.0f} us | {cpu(ours, 'gate')} us |",
        f"| **together** | **{ours['median_us']:.0f} us** "
        f"| **{sum(ours['cpu_us'].values()):.0f} us** |",
        "",
        "| in the worker, in a loop of its own; a plain row goes through the forest alone | |",
        "|---|---|",
        *(f"| {step} | {taken:.1f} us |" for step, taken in steps.items()),
        "",
        "| in a loop, with no server | XGBoost, array to array | forest, array to array | forest, "
        "text to text |",
        "|---|---|---|---|",
        *_loops(results["warm"]),
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


def _loops(warm: dict[str, Any]) -> list[str]:
    """The two floors: what a prediction takes where nobody serves it."""
    names = {"1": "1 row", "1000": "1,000 rows"}
    names |= {f"large {count}": f"500 trees of depth 8, {name}" for count, name in names.items()}
    return [
        f"| {name} | {1000 * warm['XGBoost alone'][key]['inplace_ms']:,.1f} us "
        f"| {1000 * warm['forest alone'][key]['array_ms']:,.1f} us "
        f"| {1000 * warm['forest alone'][key]['text_ms']:,.1f} us |"
        for key, name in names.items()
    ]


def of_local(results: Results) -> str:
    """``mme local``: its front, and a catalogue that does not fit in memory."""
    if "local" not in results:
        return ""
    local = results["local"]
    front, zipf = local["front"], local["zipf"]
    waits = zipf["cold_wait_ms"]
    lines = [
        f"| {local['models']:,} models in the catalogue, requests by Zipf's law, 8 connections | |",
        "|---|---|",
        f"| models resident | {zipf['resident']:,} |",
        f"| requests, and how many found their model loaded | {zipf['requests']:,}, "
        f"{zipf['hit_rate']:.1%} |",
        f"| evictions | {zipf['evictions']:,} |",
        f"| requests/s | {zipf['rate']:,.0f} |",
        f"| latency, all: p50, p90, p99 | {zipf['p50_ms']:.1f}, {zipf['p90_ms']:.1f}, "
        f"{zipf['p99_ms']:.1f} ms |",
        f"| wait for a cold model: p50, p90, p99 | {waits['p50']:.1f}, {waits['p90']:.1f}, "
        f"{waits['p99']:.1f} ms |",
        f"| memory of all processes, and its growth over these requests | "
        f"{zipf['memory_mb']:.0f} MB, {zipf['grown_mb']:+.0f} MB |",
        "",
        "| one warm row, one connection, no HTTP library | median |",
        "|---|---|",
        f"| straight to the container | {front['container_us']:.0f} us |",
        f"| through `mme local` | {front['front_us']:.0f} us |",
        f"| **what the front adds** | **{front['added_us']:.0f} us** |",
    ]
    return "\n".join(lines) + "\n"


TABLES: dict[Path, Callable[[Results], str]] = {
    README: comparison,
    GOALS: goals.table,
    PERFORMANCE: where_time_goes,
    LOCAL: of_local,
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
    sys.stdout.write(as_text(data.load()))
