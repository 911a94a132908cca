"""Residency: what is held, and what goes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mme.residency import Outcome, Residency


def ask(residency: Residency, name: str, size: int, now: float) -> Outcome:
    """One request of somebody who loads what is not there."""
    outcome = residency.request(name, now)
    if outcome is Outcome.MISS:
        residency.begin(name)
        residency.make_room(size, now)
        residency.loaded(name, size, now)
    return outcome


def test_least_recently_used_goes_first() -> None:
    """Room is made by the model that nobody has asked for longest."""
    residency = Residency(capacity=3)
    for now, name in enumerate("abcad"):
        ask(residency, name, 1, now)
    assert [name for name, _ in residency.held()] == ["c", "a", "d"]
    assert residency.counts.evictions == 1


def test_counts() -> None:
    """A request finds its model held, being loaded, or neither, and each is counted."""
    residency = Residency()
    assert residency.request("a", 0) is Outcome.MISS
    residency.begin("a")
    assert residency.request("a", 1) is Outcome.WAIT
    residency.loaded("a", 5, 2)
    assert residency.request("a", 3) is Outcome.HIT
    counts = residency.counts
    assert (counts.misses, counts.waits, counts.hits, counts.loads) == (1, 1, 1, 1)
    assert counts.hit_rate == 1 / 3
    assert residency.used == 5


def test_failed_load_holds_nothing() -> None:
    """After a load that failed the next request misses."""
    residency = Residency()
    residency.begin("a")
    residency.failed("a")
    assert residency.request("a", 1) is Outcome.MISS
    assert residency.counts.failures == 1
    assert residency.loading == 0


def test_pinned_stays() -> None:
    """A model that is in use is no victim, however long ago it was asked for."""
    residency = Residency(capacity=2)
    ask(residency, "a", 1, 0)
    ask(residency, "b", 1, 1)
    held = residency.get("a")
    assert held is not None
    held.pins = 1
    assert residency.make_room(1, 2) == ["b"]
    assert residency.make_room(2, 2) == []


def test_floor() -> None:
    """A model under the floor is no victim until its time is over."""
    residency = Residency(capacity=1, floor_seconds=10)
    ask(residency, "a", 1, 0)
    assert residency.victim(9.9) is None
    assert residency.victim_from() == 10
    assert residency.victim(10) == "a"


def test_floor_spares_young_not_old() -> None:
    """With a floor the victim may be one that was used later, but loaded earlier."""
    residency = Residency(floor_seconds=10)
    ask(residency, "old", 1, 0)
    ask(residency, "young", 1, 8)
    residency.request("old", 9)
    assert residency.victim(11) == "old"


@given(
    capacity=st.integers(1, 6),
    trace=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 3)), max_size=60),
)
def test_against_a_list(capacity: int, trace: list[tuple[str, int]]) -> None:
    """It holds what a plain list of least recently used models would."""
    residency = Residency(capacity)
    sizes: dict[str, int] = {}
    order: list[str] = []
    for now, (name, size) in enumerate(trace):
        ask(residency, name, size, now)
        if name in order:
            order.remove(name)
        else:
            while order and sum(sizes[one] for one in order) + size > capacity:
                order.pop(0)
            sizes[name] = size
        order.append(name)
        assert [held for held, _ in residency.held()] == order
        assert residency.used == sum(sizes[one] for one in order)
    assert residency.counts.requests == len(trace)


def test_zipf_hit_rate_grows_with_capacity() -> None:
    """More room never means fewer hits, since LRU keeps of more models the same ones and more."""
    shares = 1 / np.arange(1, 501)
    trace = np.random.default_rng(1).choice(500, 5000, p=shares / shares.sum())
    rates = []
    for capacity in (10, 50, 100, 250, 500):
        residency = Residency(capacity)
        for now, number in enumerate(trace):
            ask(residency, str(number), 1, now)
        rates.append(residency.counts.hit_rate)
    assert rates == sorted(rates)
    assert rates[0] < 0.5 < 0.9 < rates[-1]
