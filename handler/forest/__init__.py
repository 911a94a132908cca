"""The forest: a model's trees as one flat array, read and walked in C, with the bits of XGBoost.

A tenth of the memory that XGBoost takes and a thirtieth of its time for a row. What the reader does
not take, be it damaged or of a kind that XGBoost alone has, is None here: XGBoost is asked then, in
a disposable process first. The parts in C:

- ``source.c`` goes through a document of JSON or UBJ, by ``number.c``; ``model.c`` finds what it
  must have;
- ``tree.c`` checks every index of a tree and puts it behind others; ``objective.c`` knows base
  scores; ``grow.c`` makes of all that a forest, as ``forest.h`` has it;
- ``walk.c`` predicts; ``text.c`` reads plain rows; ``module.c`` is what Python sees.

Without a compiler at the installation there is no such module, and XGBoost serves alone.
"""

import math

import numpy as np
from numpy.typing import NDArray

from handler.booster import runtime_version
from handler.kinds import Kind
from handler.shared import Shared
from handler.traits import Traits, text_bytes

try:
    from handler.forest._forest import Forest
    from handler.forest._forest import read as _read
except ImportError:  # it was not built
    AVAILABLE = False

    class Forest:  # type: ignore[no-redef]  # of which there is none
        """What would be a forest."""

    def _read(*_: object) -> None:  # type: ignore[misc]  # where it is not built
        return None

else:
    AVAILABLE = True


__all__ = ["AVAILABLE", "CSV", "KINDS", "Forest", "Trees", "XgboostAloneError", "grow", "read"]

Floats = NDArray[np.float32]
Version = tuple[int, int, int]

RUNTIME = runtime_version()
# What was written before, XGBoost reads otherwise than it was meant; ``prepare`` puts it right.
_AS_WRITTEN_SINCE = (1, 3, 1)
KINDS = (Kind.VALUE, Kind.MARGIN)
CSV = -1  # marks text for ``Forest.answer``; libsvm is marked by the index of its first feature


class XgboostAloneError(Exception):
    """What was asked of a forest is nothing that it has; XGBoost must have the model for it."""


def read(data: bytes, runtime: Version = RUNTIME) -> tuple[Forest, Traits] | None:
    """Read a file as it is.

    Args:
        data: UBJ or JSON, or whatever else: then there is no forest.
        runtime: the XGBoost whose bits are wanted.

    Returns:
        The trees, and what the file says of itself; None if it is not for the forest.

    Raises:
        MemoryError: there is too little.
    """
    found = _read(data, runtime[0], runtime[1], 0, math.nan)
    if found is None:
        return None
    forest, version, objective, features, classes, targets, names, types = found
    if version < _AS_WRITTEN_SINCE or version[:2] > runtime[:2]:
        return None
    traits = _TRAITS.of(text_bytes(names, types))
    return forest, traits(objective, features, max(1, classes), max(1, targets), names, types)


def grow(data: bytes, traits: Traits, runtime: Version = RUNTIME) -> Forest | None:
    """Read what ``prepare`` has made of a file.

    Args:
        data: UBJ or JSON.
        traits: of the model, with the rounds that count and the number for a missing value.
        runtime: the XGBoost whose bits are wanted.
    """
    found = _read(data, runtime[0], runtime[1], traits.rounds, traits.missing)
    return found and found[0]


def _traits(
    objective: str,
    features: int,
    classes: int,
    targets: int,
    names: tuple[str, ...],
    types: tuple[str, ...],
) -> Traits:
    return Traits(
        objective=objective,
        features=features,
        classes=classes,
        targets=targets,
        names=names,
        types=types,
    )


_TRAITS = Shared(_traits)


class Trees:
    """A forest as a model is asked: arrays in, arrays out.

    Attributes:
        forest: the trees.
    """

    __slots__ = ("forest",)

    def __init__(self, forest: Forest) -> None:
        self.forest = forest

    @property
    def num_features(self) -> int:
        """Columns that a row must have."""
        return self.forest.num_features

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return self.forest.size

    def predict(self, rows: Floats, kind: Kind = Kind.VALUE) -> Floats:
        """Predict, as ``Booster.predict`` does.

        Raises:
            XgboostAloneError: only XGBoost has this kind of prediction.
        """
        if kind not in KINDS:
            raise XgboostAloneError
        forest = self.forest
        margin = kind is Kind.MARGIN
        values = np.frombuffer(forest.predict(rows.data, margin), np.float32)
        outputs = forest.groups if margin else forest.outputs
        return values.reshape(len(rows), outputs) if outputs > 1 else values
