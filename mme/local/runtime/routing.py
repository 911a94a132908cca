"""Which instance answers: one that has the model, until its requests pile up there."""

import random
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

SPREAD_AT = 8  # requests for one model in flight on an instance, before another loads it too


class Candidate(Protocol):
    """What is to be known of an instance."""

    def holds(self, target: str) -> bool:
        """Whether it has the model, or is loading it."""

    def pins(self, target: str) -> int:
        """Requests for the model that are in flight on it."""

    def fullness(self) -> tuple[float, int, int]:
        """How little it wants another model.

        When it last evicted one, so that full instances take turns, and those with room come
        first; models that it has; and requests in flight.
        """


C = TypeVar("C", bound=Candidate)


def choose(candidates: Sequence[C], target: str) -> C:
    """The instance for a request; one of many whose model is hot goes to an instance without it.

    Args:
        candidates: one at least.
        target: the target model.
    """
    if len(candidates) == 1:
        return candidates[0]
    holders = [one for one in candidates if one.holds(target)]
    if holders:
        best = min(holders, key=lambda one: one.pins(target))
        if len(holders) == len(candidates) or best.pins(target) < SPREAD_AT:
            return best
    return min((one for one in candidates if one not in holders), key=lambda one: one.fullness())


def choose_variant(weights: Mapping[str, float]) -> str:
    """A variant, by its share of all weights."""
    if len(weights) == 1:
        return next(iter(weights))
    return random.choices(list(weights), list(weights.values()))[0]  # noqa: S311  # not a secret
