"""``mme plan`` as it is typed: the story's table, a recommendation, the chart, bad input."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mme import cli
from mme.plan import alternatives, command, measure, options, result
from mme.plan.fleet import Fleet
from tests.unit.mme.plan.conftest import Write

EXAMPLES = Path(__file__).parent.parent.parent.parent.parent / "examples"
PEERS = EXAMPLES.parent / "benchmarks" / "results" / "peers.json"
GOOD = """
[models]
count = 500
memory_mb = 20.0
[traffic]
rate = 50
requests = 4000
[endpoint]
instance_types = ["ml.c5.large", "ml.m5.large", "ml.r5.large"]
"""


def plan(*words: str | Path) -> int:
    return cli.main(["plan", *map(str, words)])


def test_original(capsys: pytest.CaptureFixture[str]) -> None:
    """The story's table comes out to the dollar, and beside it what this container makes of it."""
    assert plan(EXAMPLES / "original.toml") == 0
    printed = capsys.readouterr().out
    table, ours = printed.split("1,000 models of 0.007 MB")[:2]
    rows = [line.split() for line in table.splitlines()]
    assert ["dollars", "a", "month", "$171,360", "$1,017"] in rows
    assert ["instance", "type", "ml.c5.large", "ml.r5.2xlarge"] in rows
    assert ["dollars", "an", "hour", "$0.119", "$0.706"] in rows
    assert ["instances", "an", "endpoint", "2", "2"] in rows
    assert ["endpoints", "1,000", "1"] in rows
    assert ["p90", "latency,", "as", "published", "7", "ms", "7", "ms"] in rows
    assert "saved: $170,343 a month, 99%" in table
    assert "saved: $3,110 a month" in table
    assert "the story says $3,000" in table
    assert "2 x ml.c5.large, $171.36 a month" in ours.replace("\n", " ") + printed


def test_original_is_computed(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Another price in the file is another sum."""
    text = (EXAMPLES / "original.toml").read_text()
    assert plan(write(text.replace("= 0.119", "= 0.238"))) == 0
    assert "$342,720" in capsys.readouterr().out


def test_recommendation() -> None:
    """Ten thousand models of 2 MB: the cheapest that meets the goals is recommended."""
    found = command.make(EXAMPLES / "ten-thousand.toml", {"requests": 20_000})
    assert found.chosen is not None
    good = [one for one in [*found.options, *found.others] if not one.lacks]
    assert found.chosen.monthly == min(one.monthly for one in good)
    assert found.chosen.hit_rate >= found.fleet.hit_rate
    assert all(one.instances >= 2 for one in found.options)
    assert found.dedicated is not None
    assert found.dedicated.option.instances == 20_000
    assert found.serverless is not None
    assert "an account has 50" in found.serverless.lacks


def test_chart(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The chart is SVG, the same bytes each time, and says what is chosen; JSON says the same."""
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    file = write(GOOD)
    assert plan(file, "--chart", first, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert plan(file, "--chart", second) == 0
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(b"<?xml")
    (chosen,) = [one for one in found["options"] if one["recommended"]]
    assert chosen["name"] == found["recommended"]
    assert found["models"] == 500
    printed = capsys.readouterr().out
    assert f"${chosen['monthly']:,.2f}  <- recommended" in printed
    assert plan(file, "--chart", tmp_path / "chart.png") == 2
    assert "must end with .svg" in capsys.readouterr().err


def test_trace_file(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A trace beside the file gives the models, the rate and who is asked."""
    rows = [f"{number / 10},m{number % 7}" for number in range(500)]
    (tmp_path / "trace.csv").write_text("time,model\n" + "\n".join(rows) + "\n")
    text = '[models]\nmemory_mb = 1\n[traffic]\ntrace = "trace.csv"\n'
    assert plan(write(text), "--json", "--instance-type", "ml.c5.large") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["models"] == 7
    assert found["rate"] == pytest.approx(10)
    assert found["options"][0]["name"] == "ml.c5.large"


def test_flags_win(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A flag goes before the file's field, and a plan needs no file."""
    assert plan(write(GOOD), "--models", "100", "--json", "--instance-type", "ml.m5.large") == 0
    assert json.loads(capsys.readouterr().out)["models"] == 100
    words = ("--models", "10", "--memory-mb", "1", "--rate", "5", "--requests", "100")
    assert plan(*words) == 0
    # Ten models are few enough for serverless endpoints.
    assert "10 models of 1 MB" in capsys.readouterr().out


def test_nothing_meets(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Goals that nothing meets: the table, what lacks, and status 1."""
    assert plan(write(GOOD), "--warm-ms", "0.1") == 1
    printed = capsys.readouterr().out
    assert "Nothing is recommended: no choice is known to meet all goals." in printed
    assert "warm p90" in printed
    assert "<- recommended" not in printed
    assert plan(write(GOOD), "--memory-mb", "100000") == 1
    assert "no model fits into its memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("count = 500", "cuont = 500", "models.cuont is unknown: did you mean count?"),
        ("count = 500", "count = -1", "models.count is -1: it must be 0 or more"),
        ("count = 500", "count = 1.5", "models.count is 1.5: it must be a whole number"),
        ("count = 500", "", "how many models?"),
        ("memory_mb = 20.0", "", "what does a model take?"),
        ("memory_mb = 20.0", 'memory_mb = "20"', "models.memory_mb is '20': it must be a number"),
        ("rate = 50", "rate = inf", "traffic.rate is inf"),
        ("rate = 50", "", "how many requests/s?"),
        ("rate = 50", "rate = 50\nzipf = 6", "traffic.zipf is 6: it must be 0 or more, and 5"),
        ("[traffic]", "[trafic]", "trafic is unknown: did you mean [traffic]?"),
        ("[models]", "[models]\nmodels = 5", "models.models is unknown: did you mean count?"),
        ("[models]", "[models]\nxyz = 5", "models.xyz is unknown: [models] has count, memory_mb"),
        ("[models]", "xyz = 5\n[models]", "xyz is unknown: outside of sections there is region"),
        ("[models]", "goal = 5\n[models]", "goal is unknown: write [goal], and its fields below"),
        ("[models]", "[models]\nrate = 5", "models.rate is unknown: it belongs in [traffic]"),
        ("[models]", "[models]\nregion = 5", "it belongs outside of the sections"),
        ("instance_types", "instance_type", "endpoint.instance_type is unknown: did you mean inst"),
        ("count = 500", "count = 20_000_000", "it must be 0 or more, and 10,000,000 at most"),
        (
            "ml.c5.large",
            "ml.c5.lage",
            "is no instance type of SageMaker: did you mean ml.c5.large?",
        ),
        ("ml.c5.large", "c5.large", "is no instance type of SageMaker: did you mean ml.c5.large?"),
        ("ml.c5.large", "huge", "is no instance type of SageMaker: types are such as ml.m5.large"),
        ("ml.c5.large", "ml.z9.large", 'add "ml.z9.large" = DOLLARS_AN_HOUR'),
        ("[traffic]", "[goal]\nhit_rate = 2\n[traffic]", "goal.hit_rate is 2"),
        ("[traffic]", "[goal]\nwarm_ms = 0\n[traffic]", "goal.warm_ms is 0: it must be above 0"),
        ("[traffic]", "[[comparison]]\n[traffic]", "comparison.models is None"),
        ("[models]", 'region = "mars-1"\n[models]', "no prices of mars-1"),
        ("[models]", "[models", "cannot be read"),
        ("rate = 50", 'rate = 50\ntrace = "none.csv"', "No such file"),
        ("[models]", "prices = 1\n[models]", "prices must be a table"),
    ],
)
def test_bad_input(
    write: Write, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    """Each mistake is one line that names the field and the cure, with status 2."""
    assert old in GOOD
    assert plan(write(GOOD.replace(old, new, 1))) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"models": 0}, "comparison.models is 0"),
        ({"nam": ""}, "comparison.nam is unknown"),
        ({"name": 3}, "comparison.name is 3"),
        ({"single": None}, "comparison.single is missing"),
        ({"multi": {"instance_type": "big", "instances": 1}}, "is no instance type"),
        ({"multi": {"instance_type": "ml.m5.large", "instances": 0}}, "multi.instances is 0"),
        (
            {"multi": {"instance_type": "ml.m5.large", "instances": 1, "hourly": -1}},
            "multi.hourly is -1",
        ),
        ({"p90_ms": -7}, "comparison.p90_ms is -7"),
    ],
)
def test_bad_comparison(change: dict[str, Any], says: str) -> None:
    """A comparison's fields are checked, too."""
    from mme.errors import CommandError
    from mme.plan import comparison, prices

    side = {"instance_type": "ml.m5.large", "instances": 2}
    good = {"models": 10, "single": side, "multi": side}
    own = prices.read(None, "us-east-1")
    assert comparison.parse([good], own, "file")[0].saved_share == pytest.approx(0.9)
    with pytest.raises(CommandError, match=says):
        comparison.parse([good | change], own, "file")
    with pytest.raises(CommandError, match=r"write \[\[comparison\]\]"):
        comparison.parse(3, own, "file")


def test_sample(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is measured of a sample beside the file is taken, unless the file or a flag says it."""
    seen: list[tuple[Path, bytes | None]] = []

    def measured(sample: Path, row: bytes | None = None) -> measure.Measured:
        seen.append((sample, row))
        return measure.Measured(0.5, 3.0, 150.0, 9.0, 0.7)

    monkeypatch.setattr(measure, "measure", measured)
    file = write(GOOD.replace("memory_mb = 20.0", 'sample = "one.tar.gz"\nrow = "1,2"'))
    assert plan(file, "--base-mb", "200", "--json") == 0
    found = json.loads(capsys.readouterr().out)["fleet"]
    assert seen == [(file.parent / "one.tar.gz", b"1,2")]
    assert (found["memory_mb"], found["load_ms"], found["base_mb"]) == (3.0, 9.0, 200.0)
    # Soon after its start a container takes less than in the end: no less is planned with.
    assert plan(file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["fleet"]["base_mb"] == Fleet.base_mb


def test_busy_fleet() -> None:
    """Much traffic takes more instances, hot models are on several, none is over the limit."""
    flags = {"count": 50, "memory_mb": 1.0, "rate": 60_000.0, "zipf": 1.5, "requests": 20_000}
    found = command.make(None, flags | {"instance_types": ["ml.m5.large"]})
    (one,) = found.options
    assert one.instances >= 5
    assert one.utilisation <= found.fleet.most_utilisation
    assert not one.lacks


@pytest.mark.parametrize("rate", [50_000, 80_000, 90_000, 100_000, 200_000])
def test_hot_models(rate: int) -> None:
    """However much is asked for, instances are added until none is too busy."""
    flags = {"count": 1000, "memory_mb": 1.0, "rate": rate, "requests": 20_000}
    found = command.make(None, flags | {"instance_types": ["ml.m5.large"]})
    (one,) = found.options
    assert found.chosen is one
    assert one.utilisation <= found.fleet.most_utilisation
    able = 2 * found.fleet.rate_a_cpu * found.fleet.most_utilisation
    assert rate / able <= one.instances < 2 * rate / able


def test_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no more instances are tried, it is said."""
    monkeypatch.setattr(options, "_DOUBLINGS", 1)
    flags = {"count": 1000, "memory_mb": 1.0, "rate": 200_000.0, "requests": 20_000}
    (one,) = command.make(None, flags | {"instance_types": ["ml.m5.large"]}).options
    assert re.fullmatch(r"an instance is \d+% busy; more were not tried", one.lacks)


def test_serverless_is_beside(capsys: pytest.CaptureFixture[str]) -> None:
    """Serverless is cheapest for a few idle models, and only shown: its latency is not known."""
    words = ("--models", "5", "--memory-mb", "1", "--rate", "0.5", "--requests", "1000")
    assert plan(*words, "--zipf", "0", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    by_name = {one["name"]: one for one in found["options"]}
    beside, chosen = by_name[alternatives.SERVERLESS], by_name[found["recommended"]]
    assert beside["monthly"] < chosen["monthly"]
    assert beside["lacks"] == "latency not known"
    assert chosen["latency"] is not None


def test_endpoint_a_model_is_recommended() -> None:
    """Where it is the cheapest that meets the goals, it is said that deploying it is not ours."""
    flags = {"count": 3, "memory_mb": 2500.0, "rate": 1.0, "requests": 500, "cold_ms": 1.0}
    found = command.make(None, flags | {"instance_types": ["ml.c5.large"]})
    alone = dataclasses.replace(found, chosen=found.others[0])
    assert "mme deploy does not make it" in result.why(alone)


def test_resident(capsys: pytest.CaptureFixture[str]) -> None:
    """Five models on two instances are two and a half each."""
    words = ("--models", "5", "--memory-mb", "1", "--rate", "1", "--requests", "500")
    assert plan(*words, "--instance-type", "ml.c5.large") == 0
    assert re.search(r"^ml.c5.large +2 +2\.5 ", capsys.readouterr().out, re.MULTILINE)


def test_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """Large figures are written out, not with an exponent."""
    words = ("--models", "3", "--memory-mb", "50000", "--rate", "100000", "--requests", "500")
    plan(*words, "--instance-type", "ml.r5.12xlarge")
    printed = capsys.readouterr().out
    assert "3 models of 50,000 MB in memory (given), 100,000 requests/s" in printed
    assert "A load takes 175 s" in printed
    assert not re.search(r"\de[+-]\d", printed)


def test_unused(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a trace it is said what is given in vain, and that rows were sorted."""
    (tmp_path / "trace.csv").write_text("time,model\n0,a\n5,b\n1,a\n")
    file = write('[models]\nmemory_mb = 1\n[traffic]\ntrace = "trace.csv"\n')
    words = ("--models", "7", "--zipf", "2", "--instance-type", "ml.c5.large")
    plan(file, *words)
    printed = capsys.readouterr().out
    assert "2 models of 1 MB" in printed
    assert "--models is not used: a trace says it itself." in printed
    assert "--zipf is not used" in printed
    assert "--requests is not used" not in printed
    assert "In trace.csv a row was earlier than the one before" in printed
    plan(file, *words, "--json")
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 3


def test_page_of_sizes() -> None:
    """What the pages say that fits is what the plan computes, with one figure for the container."""
    page = (EXAMPLES.parent / "docs" / "15-tuning.md").read_text()
    said = re.findall(r"^\| `(ml\.\S+)` \|.*\| ([\d,]+)\b[^|]*\|$", page, re.MULTILINE)
    assert len(said) == 3
    each = int(0.007 * options.MIB)
    for kind, models in said:
        assert f"{options.capacity_bytes(kind, Fleet.base_mb) // each:,}" == models
    assert f"the container itself: {Fleet.base_mb:.0f} MB" in page
    planning = (EXAMPLES.parent / "docs" / "12-planning.md").read_text()
    assert f"{Fleet.base_mb:.0f} MB of an ml.c5.large's 4,096" in planning


def test_measured_defaults() -> None:
    """The figures that plans begin with are those of the benchmark, or near them."""
    peers = json.loads(PEERS.read_text())
    warm, resident = peers["warm"], peers["resident"]
    fleet = Fleet(count=1, rate=1.0, memory_mb=0.007)
    near = pytest.approx
    assert fleet.base_mb == near(resident["base_mb"], rel=0.25)
    assert fleet.warm_median_ms == near(warm["1 connection"]["xgboost-mme"]["median"], rel=0.5)
    assert 2 * fleet.rate_a_cpu == near(warm["32 connections"]["xgboost-mme"]["rate"], rel=0.5)
    cold = peers["cold"]["xgboost-mme"]["at"]
    assert options.load_ms(fleet) == near(cold[3]["median_ms"], rel=0.6)
    original = tomllib.loads((EXAMPLES / "original.toml").read_text())
    assert original["models"]["memory_mb"] == near(cold[-1]["model_mb"], rel=0.1)
