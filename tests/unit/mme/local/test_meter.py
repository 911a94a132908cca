"""The meter: what is counted, and what is handed over of it."""

import pytest

from mme.local.runtime.meter import INSTANCES, PLATFORM, Datum, Meter, rounded

HOUR = 3600  # a period that no test crosses the end of, but once an hour


def taken(meter: Meter) -> dict[str, Datum]:
    return {datum.metric: datum for datum in meter.take()}


def test_counts_are_handed_over_once() -> None:
    """Samples of one metric are one histogram, and are gone when they have been taken."""
    meter = Meter(HOUR)
    for value in (1.0, 0.0, 1.0):
        meter.count("v", "ModelCacheHit", value)
    datum = taken(meter)["ModelCacheHit"]
    assert (datum.namespace, datum.unit) == (PLATFORM, "None")
    assert datum.values == {1.0: 2, 0.0: 1}
    assert taken(meter) == {}


def test_gauge_is_taken_back() -> None:
    """A gauge that changes within a period takes its old value back, so it has one value."""
    meter = Meter(HOUR)
    meter.gauge("v", "LoadedModelCount", "i-1", 3.0)
    assert taken(meter)["LoadedModelCount"].values == {3.0: 1}
    assert taken(meter) == {}
    meter.gauge("v", "LoadedModelCount", "i-1", 5.0)
    datum = taken(meter)["LoadedModelCount"]
    assert (datum.namespace, datum.values) == (INSTANCES, {5.0: 1, 3.0: -1})


def test_gauges_of_instances_add_up() -> None:
    """Each instance has a sample of its own, until it is gone."""
    meter = Meter(HOUR)
    for number in range(3):
        meter.gauge("v", "LoadedModelCount", f"i-{number}", 7.0)
    meter.forget("i-0")
    values = [datum.values for datum in meter.take()]
    assert values == [{7.0: 1}, {7.0: 1}]


@pytest.mark.parametrize("microseconds", [1.0, 17.0, 480.0, 1375e3, 6e7])
def test_rounding(microseconds: float) -> None:
    """A duration is kept within half a percent and a tenth of a microsecond."""
    assert abs(rounded(microseconds) - microseconds) <= 0.0051 * microseconds + 0.05


def test_rounding_makes_few_values() -> None:
    """From a microsecond to a minute there are fewer than two thousand values."""
    assert len({rounded(1.001**step) for step in range(18_000)}) < 2000
