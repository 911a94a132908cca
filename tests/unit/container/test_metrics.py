"""What is counted, as Prometheus and CloudWatch read it."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from container.metrics import BOUNDS, NAMESPACE, OTHER, Metrics

Samples = dict[tuple[str, ...], float]

seconds = st.one_of(st.floats(0, 100), st.sampled_from(BOUNDS))


def read(metrics: Metrics) -> dict[str, Samples]:
    """Samples by name, and then by model, type and bound, as far as they have them."""
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            samples = found.setdefault(sample.name, {})
            labels = sample.labels
            key = tuple(labels[name] for name in ("model", "type", "le") if name in labels)
            assert key not in samples
            samples[key] = sample.value
    return found


def lines(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """The embedded lines, by model."""
    made = list(metrics.embedded_lines())
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in made)
    return {line["Model"]: line for line in map(json.loads, made)}


def test_counts() -> None:
    """Loads, invocations and errors by their type, each model's own; and what is true now."""
    metrics = Metrics(10, {"mme_models": ("Models in the register", lambda: 2)})
    metrics.of("a").loads += 1
    metrics.of("a").observe(0.25)
    metrics.of("b").observe(0.5)
    metrics.of("b").observe(0.75)
    metrics.of("b").faults["BadRequestException"] += 2
    metrics.of("b").faults["InternalServerException"] += 1
    found = read(metrics)
    assert found["mme_models"] == {(): 2}
    assert found["mme_loads_total"] == {("a",): 1, ("b",): 0, (OTHER,): 0}
    assert found["mme_invocations_total"] == {("a",): 1, ("b",): 2, (OTHER,): 0}
    errors = {("b", "BadRequestException"): 2, ("b", "InternalServerException"): 1}
    assert found["mme_errors_total"] == errors
    assert found["mme_invocation_seconds_sum"] == {("a",): 0.25, ("b",): 1.25, (OTHER,): 0}


@settings(deadline=None)
@given(st.lists(seconds, max_size=30))
def test_histogram(durations: list[float]) -> None:
    """A bucket counts all that took no longer than its bound, and the last one counts all."""
    metrics = Metrics(10, {})
    for duration in durations:
        metrics.of("m").observe(duration)
    metrics.of("m").loads += 1
    found = read(metrics)
    buckets = found["mme_invocation_seconds_bucket"]
    for bound in BOUNDS:
        expected = sum(duration <= bound for duration in durations)
        assert buckets["m", str(bound)] == expected
    assert buckets["m", "+Inf"] == found["mme_invocation_seconds_count"]["m",] == len(durations)
    assert found["mme_invocation_seconds_sum"]["m",] == pytest.approx(sum(durations))


def test_bounded() -> None:
    """The first hundred of a thousand models are counted one by one, and the others together."""
    metrics = Metrics(100, {})
    for turn in range(3):
        for number in range(1000):
            counts = metrics.of(f"m{number}")
            counts.loads += 1
            counts.observe(turn)
            counts.faults["BadRequestException"] += 1
    found = read(metrics)
    for name in ("mme_loads_total", "mme_invocations_total", "mme_errors_total"):
        samples = found[name]
        assert {key[0] for key in samples} == {*(f"m{n}" for n in range(100)), OTHER}
        assert sum(samples.values()) == 3000
        assert sum(value for key, value in samples.items() if key[0] == OTHER) == 2700
    assert sum(found["mme_invocation_seconds_count"].values()) == 3000
    assert sum(line["Invocations"] for line in lines(metrics).values()) == 3000


def test_forget() -> None:
    """The place of a model that is unloaded is another's, which begins at zero."""
    metrics = Metrics(1, {})
    metrics.of("a").loads += 5
    assert metrics.of("b") is metrics.of(OTHER)
    metrics.of("b").loads += 3
    metrics.forget("a")
    metrics.forget("a")
    metrics.of("b").loads += 1
    metrics.forget("never")
    assert ("a",) not in read(metrics)["mme_loads_total"]
    assert read(metrics)["mme_loads_total"]["b",] == 1
    metrics.forget(OTHER)
    assert read(metrics)["mme_loads_total"][OTHER,] >= 3


@settings(deadline=None)
@given(name=st.text(st.characters(max_codepoint=255), min_size=1))
def test_any_name(name: str) -> None:
    """Whatever a client calls its model is read back as it was, here and there."""
    metrics = Metrics(10, {})
    metrics.of(name).observe(1.0)
    assert read(metrics)["mme_invocations_total"][name,] == 1
    assert lines(metrics)[name]["Invocations"] == 1


def test_embedded() -> None:
    """A line is what CloudWatch reads: each metric that it names is there, with its dimension."""
    metrics = Metrics(10, {})
    metrics.of("a").loads += 1
    metrics.of("b").faults["BadRequestException"] += 2
    for number in range(250):
        metrics.of("b").observe(number / 1000)
    found, now = lines(metrics), time.time() * 1000
    assert found.keys() == {"a", "b"}
    for line in found.values():
        assert isinstance(line["_aws"]["Timestamp"], int)
        assert now - 60_000 < line["_aws"]["Timestamp"] <= now
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        assert directive["Dimensions"] == [["Model"]]
        named = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
        assert named.keys() | {"_aws", "Model"} == line.keys()
        assert named.pop("Latency", "Milliseconds") == "Milliseconds"
        assert set(named.values()) == {"Count"}
    assert [found["a"][name] for name in ("Loads", "Invocations", "Errors")] == [1, 0, 0]
    assert [found["b"][name] for name in ("Loads", "Invocations", "Errors")] == [0, 250, 2]
    assert "Latency" not in found["a"]
    assert found["b"]["Latency"] == [float(number) for number in range(100)]


def test_embedded_is_what_is_new() -> None:
    """Each line says what came since the last; where nothing came, there is none."""
    metrics = Metrics(10, {})
    assert lines(metrics) == {}
    metrics.of("a").observe(0.001)
    metrics.of("b").loads += 1
    assert lines(metrics).keys() == {"a", "b"}
    assert lines(metrics) == {}
    metrics.of("a").observe(0.002)
    metrics.of("a").observe(0.003)
    (again,) = lines(metrics).values()
    assert (again["Model"], again["Invocations"], again["Latency"]) == ("a", 2, [2.0, 3.0])
    assert read(metrics)["mme_invocations_total"]["a",] == 3  # a total stays one
