"""The replay: what must hold of it whatever the traffic, and the queue behind the latencies."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme.plan import latency, simulate, trace
from mme.plan.options import Curve
from mme.plan.simulate import Sizes

SIZES = Sizes(memory=10, disk=1, load_seconds=0.01, download_seconds=0.05)
QUICK = settings(max_examples=25, deadline=None)
TRACES = st.builds(
    trace.draw,
    count=st.integers(1, 60),
    requests=st.integers(8, 400),
    rate=st.floats(0.1, 1000),
    zipf=st.floats(0, 2),
    seed=st.integers(0, 99),
)


@QUICK
@given(TRACES, st.integers(1, 4))
def test_all_fit(asked: trace.Trace, instances: int) -> None:
    """Where every model fits, every request finds its model, from after the warm-up on."""
    room = math.ceil(len(asked.shares) / instances)
    found = simulate.replay(asked, instances, room * SIZES.memory, SIZES)
    assert found.hit_rate == 1.0
    assert found.resident == len(asked.shares) / instances
    assert found.shares.sum() == pytest.approx(1)


@QUICK
@given(TRACES, st.integers(1, 4))
def test_none_fits(asked: trace.Trace, instances: int) -> None:
    """Where not one fits, every request is cold."""
    found = simulate.replay(asked, instances, SIZES.memory - 1, SIZES)
    assert found.hit_rate == 0.0
    assert found.resident == 0
    assert found.cold.sum() == pytest.approx(1)


@QUICK
@given(TRACES, st.integers(1, 59))
def test_more_memory(asked: trace.Trace, slots: int) -> None:
    """More memory on one instance never means fewer hits, where loads are over before the next."""
    at_once = Sizes(memory=10, disk=1, load_seconds=0.0, download_seconds=0.0)
    less, more = (
        simulate.replay(asked, 1, number * at_once.memory, at_once) for number in (slots, slots + 1)
    )
    assert less.hit_rate <= more.hit_rate


@QUICK
@given(TRACES, st.integers(1, 5), st.integers(1, 30))
def test_bounds(asked: trace.Trace, instances: int, slots: int) -> None:
    """No instance holds more than fits, and the parts add up."""
    found = simulate.replay(asked, instances, slots * SIZES.memory, SIZES, disk_capacity=5)
    assert found.resident <= slots
    assert 0 <= found.hit_rate <= 1
    assert found.cold.sum() == pytest.approx(1 - found.hit_rate)
    assert len(found.shares) == instances


def test_a_request_during_a_load_is_no_hit() -> None:
    """Requests that wait for a load count as the platform counts them: not as hits."""
    times = np.array([0.0, 1.0, 1.001, 2.0])
    asked = trace.Trace(times, np.array([1, 0, 0, 0]), np.array([0.5, 0.5]), 1.0)
    found = simulate.replay(asked, 1, SIZES.memory, Sizes(10, 1, 0.01, 0.0))
    # Model 0 is there at first; model 1 takes its place during the warm-up.
    assert found.hit_rate == pytest.approx(1 / 3)


def test_hot_model_on_all() -> None:
    """A model that is too hot for one instance is held by as many as it is given."""
    asked = trace.draw(10, 1000, 100.0, 2.0, 1)
    found = simulate.replay(asked, 3, 10 * SIZES.memory, SIZES, copies={0: 3})
    alone = simulate.replay(asked, 3, 10 * SIZES.memory, SIZES)
    assert found.hit_rate == alone.hit_rate == 1.0
    assert found.shares.max() < alone.shares.max()


def test_full_disk_downloads() -> None:
    """Where the disk is too small, too, some models come from S3 again; else none does."""
    asked = trace.draw(50, 2000, 10.0, 0.5, 1)
    small = simulate.replay(asked, 1, 10 * SIZES.memory, SIZES, disk_capacity=20)
    large = simulate.replay(asked, 1, 10 * SIZES.memory, SIZES, disk_capacity=50)
    assert small.download_rate > 0
    assert large.download_rate == 0
    assert small.hit_rate == pytest.approx(large.hit_rate, abs=0.02)


@pytest.mark.parametrize("slots", [20, 100, 400])
def test_curve(slots: int) -> None:
    """The approximation that a search begins with is near what the replay finds."""
    asked = trace.draw(1000, 40_000, 1.0, 1.0, 3)
    found = simulate.replay(asked, 1, slots * 10, SIZES)
    assert Curve(asked.shares).hit_rate(slots) == pytest.approx(found.hit_rate, abs=0.02)
    assert Curve(asked.shares).hit_rate(1000) == 1.0


@pytest.mark.parametrize(
    ("servers", "utilisation", "waits"),
    [(1, 0.5, 0.5), (2, 0.5, 1 / 3), (2, 0.0, 0.0), (4, 0.75, 0.50943), (8, 1.0, 1.0)],
)
def test_erlang_c(servers: int, utilisation: float, waits: float) -> None:
    """The share that waits is what the tables of queueing theory say."""
    assert latency.erlang_c(servers, utilisation) == pytest.approx(waits, abs=1e-4)


def loaded(rate: float, cold: float = 0.0) -> latency.Load:
    return latency.Load(
        rates=np.array([float(rate)]),
        colds=np.array([float(cold)]),
        cpus=2,
        rate_a_cpu=1000,
        warm_median_ms=1.0,
        load_ms=50,
        download_ms=30,
        download_rate=0.0,
    )


def test_latency() -> None:
    """Idle, a request takes what it takes alone; more to do makes it longer; too much, for ever."""
    idle, busy, cold = (
        latency.estimate(load, 90, 1) for load in (loaded(1), loaded(1800), loaded(10, 5))
    )
    assert idle.p50 == pytest.approx(1.0, rel=0.03)
    assert idle.p90 == idle.warm == pytest.approx(1.5, rel=0.03)
    assert busy.p90 > 2 * idle.p90
    assert cold.p90 > 50 > cold.warm
    assert cold.cold > 50
    assert latency.estimate(loaded(2001), 90, 1).p50 == math.inf
