"""The tables are made from results and say the truth about goals; wrk's words are read."""

import json
from typing import Any

import pytest

from benchmarks import data, goals, report, wrk

RESULTS = json.loads(data.PATH.read_text())


def test_tables() -> None:
    """Every table is made, with a line for each measure and each goal."""
    assert report.comparison(RESULTS).count("\n| ") == 15
    assert goals.table(RESULTS).count("\n| ") == 10
    assert "requests of 20 MB" in report.where_time_goes(RESULTS)


def changed(*path: Any, by: float) -> dict[str, Any]:
    """The results with one figure multiplied."""
    results: dict[str, Any] = json.loads(data.PATH.read_text())
    at = results
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] *= by
    return results


@pytest.mark.parametrize(
    ("path", "goal"),
    [
        (("warm", "8 connections", "stock MMS", "rate"), "throughput"),
        (("warm", "8 connections", "xgboost-mme", "rate"), "one hot model"),
        (("warm", "1,000 rows", "xgboost-mme", "median"), "1,000 rows"),
        (("warm", "1 connection", "xgboost-mme", "median"), "one row"),
        (("path", "stages", "xgboost-mme", "median_us"), "the gate alone"),
    ],
)
def test_a_goal_can_be_missed(path: tuple[str, ...], goal: str) -> None:
    """With a figure a hundred times worse, the line of its goal says so."""
    table = goals.table(changed(*path, by=100))
    line = next(line for line in table.splitlines() if line.startswith(f"| {goal}"))
    assert line.endswith("| **no** |")


def test_a_page_keeps_what_is_around_its_table() -> None:
    """Only what is between the marks is written."""
    begin, end = "<!-- table: benchmarks/results/peers.json -->\n", "<!-- /table -->"
    page = f"before\n{begin}old\n{end}\nafter\n"
    assert report.with_table(page, "new\n") == f"before\n{begin}new\n{end}\nafter\n"


GOOD = {"requests": 100, "seconds": 2.0, "errors": 0, "median": 0.5, "p90": 1.0, "p99": 2.0}


def test_wrk() -> None:
    """What the script writes at the end is what was seen."""
    output = f"Running 2s test\n{wrk.MARK}{json.dumps(GOOD)}\nRequests/sec: 50\n"
    assert wrk.read(output, "it") == wrk.Seen(50.0, 0.5, 1.0, 2.0)


@pytest.mark.parametrize("worse", [{"errors": 1}, {"requests": 0}])
def test_figures_of_failures_are_none(worse: dict[str, int]) -> None:
    """One failed answer, or none at all, and there is no figure."""
    with pytest.raises(RuntimeError, match="it: "):
        wrk.read(f"{wrk.MARK}{json.dumps(GOOD | worse)}\n", "it")
    with pytest.raises(RuntimeError, match="did not finish"):
        wrk.read("unable to connect", "it")
