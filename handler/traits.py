"""What a model's file says about how to ask it: known at the load, kept for each answer."""

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What is known of a model beside its trees.

    Attributes:
        objective: its name, such as ``binary:logistic``; empty where the file names none.
        features: columns that a row must have.
        classes: of a multi-class model, ``num_class``; 1 for all others.
        targets: numbers that it predicts for a row, where they are not classes.
        names: of the features, in their order; empty where the file has none.
        types: of the features, in XGBoost's words (``float``, ``c`` for categories …); or empty.
        rounds: that a prediction uses, from the first; 0 for all.
        added: trees at the end that are not the file's own (``formats.base_last``).
        missing: the number that stands for a missing value beside NaN, or NaN.
        labels: what the classes are called, in their order; empty where the file does not say.
    """

    objective: str = ""
    features: int
    classes: int = 1
    targets: int = 1
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    rounds: int = 0
    added: int = 0
    missing: float = math.nan
    labels: tuple[str | int | float | bool, ...] = ()

    def to_json(self) -> str:
        """As text, which ``from_json`` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    @lru_cache(maxsize=4096)
    def from_json(text: str) -> "Traits":
        """Read what ``to_json`` wrote. Models that are alike share one object."""
        fields: dict[str, Any] = json.loads(text)
        for name in ("names", "types", "labels"):
            fields[name] = tuple(fields[name])
        return Traits(**fields)
