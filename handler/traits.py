"""What a model's file says about how to ask it: known at the load, kept for each answer."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from handler.shared import SMALL_BYTES, Shared

_TEXT_BYTES = 64  # of Python's for each text, beside its letters


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

    @property
    def groups(self) -> int:
        """Numbers that the margins of a row are."""
        return self.classes * self.targets

    @property
    def text_bytes(self) -> int:
        """Memory of its names and types; 0 for few, which models that are alike share."""
        return text_bytes(self.names, self.types)

    def to_json(self) -> str:
        """As text, which ``from_json`` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Traits":
        """Read what ``to_json`` wrote."""
        return _READ.of(len(text))(text)


def text_bytes(names: tuple[str, ...], types: tuple[str, ...]) -> int:
    """Memory of names and types of features; 0 for few."""
    size = sum(map(len, names + types)) + _TEXT_BYTES * (len(names) + len(types))
    return size if size > SMALL_BYTES else 0


def _read(text: str) -> Traits:
    fields: dict[str, Any] = json.loads(text)
    for name in ("names", "types", "labels"):
        fields[name] = tuple(fields[name])
    return Traits(**fields)


_READ = Shared(_read)
