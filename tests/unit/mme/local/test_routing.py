"""Which instance answers."""

from collections import Counter
from dataclasses import dataclass, field

from mme.local.runtime.routing import SPREAD_AT, choose, choose_variant


@dataclass
class Candidate:
    """What is known of an instance."""

    models: dict[str, int] = field(default_factory=dict)  # requests in flight by model
    evicted_at: float = 0.0

    def holds(self, target: str) -> bool:
        """Whether it has the model."""
        return target in self.models

    def pins(self, target: str) -> int:
        """Requests for the model in flight."""
        return self.models.get(target, 0)

    def fullness(self) -> tuple[float, int, int]:
        """When it was last full, models, and requests in flight."""
        return self.evicted_at, len(self.models), sum(self.models.values())


def test_affinity() -> None:
    """Who has the model answers, however many models it has."""
    has, empty = Candidate({"a": 3, "b": 0, "c": 0}), Candidate()
    assert choose([empty, has], "a") is has


def test_cold_model_goes_where_least_is() -> None:
    """A model that nobody has goes to the instance with the fewest."""
    full, less = Candidate({"a": 0, "b": 0}), Candidate({"c": 5})
    assert choose([full, less], "x") is less


def test_full_instances_take_turns() -> None:
    """Who evicted last waits until the others have; who never did comes first."""
    now, before = Candidate({"a": 0}, 20.0), Candidate({"b": 0, "c": 0}, 10.0)
    roomy = Candidate({"d": 0, "e": 0, "f": 0})
    assert choose([now, before], "x") is before
    assert choose([now, before, roomy], "x") is roomy


def test_hot_model_spreads() -> None:
    """When requests for a model pile up on all who have it, one goes to who does not."""
    busy, empty = Candidate({"a": SPREAD_AT}), Candidate()
    assert choose([busy, empty], "a") is empty
    busy.models["a"] -= 1
    assert choose([busy, empty], "a") is busy


def test_hot_model_on_all() -> None:
    """A model that all have goes to the least busy with it."""
    one, other = Candidate({"a": SPREAD_AT + 3}), Candidate({"a": SPREAD_AT + 1})
    assert choose([one, other], "a") is other


def test_variants_by_weight() -> None:
    """Variants are chosen in proportion to their weights."""
    seen = Counter(choose_variant({"a": 9.0, "b": 1.0}) for _ in range(5000))
    assert 4300 < seen["a"] < 4700
    assert choose_variant({"only": 0.5}) == "only"
