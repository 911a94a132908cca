"""What the page shows of the last minutes."""

from hypothesis import given
from hypothesis import strategies as st

from mme.local.runtime.history import Events, History, quantile


def test_series_have_one_length() -> None:
    """Every list has a figure a step, and the newest step has what just happened."""
    history = History(lambda: 7)
    history.invocation(hit=True, failed=False, seconds=0.001)
    history.invocation(hit=False, failed=True, seconds=0.1)
    shown = history.to_json()
    lists = [value for value in shown.values() if isinstance(value, list)]
    assert len({len(one) for one in lists}) == 1
    assert sum(shown["invocations"]) == 2
    assert sum(shown["hits"]) == sum(shown["errors"]) == 1
    assert shown["loaded"][-1] == 7
    assert max(p for p in shown["cold_p90_ms"] if p is not None) > 99


@given(st.lists(st.integers(1, 1000), min_size=1), st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_quantile(values: list[int], share: float) -> None:
    """That share of the values is not above it, and it is one of them."""
    times: dict[float, int] = {}
    for value in values:
        times[float(value)] = times.get(float(value), 0) + 1
    found = quantile(times, share)
    assert found is not None
    below = sum(value / 1000 <= found + 1e-9 for value in values)
    assert below >= share * len(values) - 1e-6
    assert found in {round(value / 1000, 3) for value in values}


def test_quantile_of_nothing() -> None:
    """Where nothing was measured there is no figure."""
    assert quantile({}, 0.5) is None


def test_events_are_bounded() -> None:
    """The newest come first, and very old ones are forgotten."""
    events = Events()
    for number in range(1000):
        events.failed(message=str(number))
        events.evicted(model=str(number))
    assert events.errors[0]["message"] == events.evictions[0]["model"] == "999"
    assert len(events.errors) == len(events.evictions) == 100
