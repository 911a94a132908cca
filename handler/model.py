"""A model in memory: an array in, an array out, whether it is one file or several."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from handler import forest
from handler.booster import Booster
from handler.errors import Fault, HandlerError
from handler.forest import Forest, Trees
from handler.kinds import Kind
from handler.traits import Traits

Floats = NDArray[np.float32]

_PLACE = re.compile(r"\[[\d:]+\] \S+:\d+: ")  # the time and source line before XGBoost's messages
_SHOWN = 200  # characters of such a message: it can quote the file
_VOTED = (
    "multi:softmax",
    "binary:hinge",
)  # their predictions are classes, of which none is between
MEAN, VOTE, FIRST = "mean", "vote", "first"


class Part(NamedTuple):
    """A file of a model that was read and checked.

    Attributes:
        name: of the file.
        data: the file, or what was made of it.
        traits: what it says of itself.
        forest: its trees, where nothing else has checked it.
    """

    name: str
    data: bytes
    traits: Traits
    forest: Forest | None = None


class Model(Protocol):
    """What predicts. Several threads may ask it at once."""

    @property
    def num_features(self) -> int:
        """Columns that a row must have."""

    @property
    def size(self) -> int:
        """Bytes of the artifact."""

    def predict(self, rows: Floats, kind: Kind = Kind.VALUE) -> Floats:
        """Predict.

        Args:
            rows: float32 [n, num_features], C-contiguous, NaN where a value is missing.
            kind: what of each row.

        Returns:
            As ``Booster.predict``.
        """


class Ensemble:
    """Several models that are asked as one, as the managed XGBoost container has it.

    Args:
        models: at least one, all alike.
        vote: the answer is the class that most of them predict, of several the lowest; else the
            mean, in float32 as numpy has it.
    """

    __slots__ = ("_models", "_vote")

    def __init__(self, models: Sequence[Model], *, vote: bool) -> None:
        self._models, self._vote = tuple(models), vote

    @property
    def num_features(self) -> int:
        """Columns that a row must have."""
        return self._models[0].num_features

    @property
    def size(self) -> int:
        """Bytes of the artifacts."""
        return sum(model.size for model in self._models)

    def predict(self, rows: Floats, kind: Kind = Kind.VALUE) -> Floats:
        """Predict with each, and put their answers together.

        Raises:
            HandlerError: 400, leaves are asked for, which are each model's own.
        """
        if kind is Kind.LEAF:
            sentence = "an ensemble has no leaf indices: each of its models has its own"
            raise HandlerError(Fault.BAD_REQUEST, sentence)
        each = np.stack([model.predict(rows, kind) for model in self._models])
        if self._vote and kind is Kind.VALUE:
            return np.array([_winner(votes) for votes in each.T], dtype=np.float32)
        mean: Floats = np.mean(each, axis=0)
        return mean


def _winner(votes: NDArray[np.float32]) -> float:
    counted: Counter[float] = Counter(votes.tolist())
    most = max(counted.values())
    return min(value for value, count in counted.items() if count == most)


def load_model(
    parts: Sequence[Part], threads: int, rule: str | None = None, with_forest: bool = False
) -> Model:
    """Make files that were prepared a model that has predicted once.

    Args:
        parts: the files.
        threads: that one prediction uses; one is best where many models are asked at once.
        rule: of several: their mean, the vote of most, or the first alone; None is a vote where
            predictions are classes, and else the mean.
        with_forest: XGBoost gets only what the forest does not take.

    Raises:
        HandlerError: 500, XGBoost does not take a file or cannot predict with it, or several do
            not go together, or have nothing to vote on.
        MemoryError: it does not fit.
    """
    if rule == FIRST:
        parts = parts[:1]
    models = [_one_of(part, threads, with_forest) for part in parts]
    if len(models) == 1:
        return models[0]
    _check_alike(parts)
    objective = parts[0].traits.objective
    classes = objective in _VOTED
    if rule == VOTE and not classes:
        raise HandlerError(
            Fault.BAD_MODEL,
            f"models of {objective or 'no objective'} cannot vote, for they do not predict "
            f"classes as {' and '.join(_VOTED)} do; set ensemble to mean or first",
        )
    return Ensemble(models, vote=classes and rule != MEAN)


def _one_of(part: Part, threads: int, with_forest: bool) -> Model:
    name, data, traits, trees = part
    if trees is None and with_forest:
        trees = forest.grow(data, traits)
    if trees is not None:  # XGBoost must not have what only the forest's reader has checked
        return Trees(trees)
    return _booster(name, data, traits, threads)


def _booster(name: str, data: bytes, traits: Traits, threads: int) -> Booster:
    try:
        model = Booster(data, threads, traits.rounds, traits.missing)
        model.predict(np.full((1, model.num_features), np.nan, dtype=np.float32))
    except MemoryError:
        raise
    except Exception as error:
        sentence = f"{name} cannot be loaded: {_first_line(error)}"
        raise HandlerError(Fault.BAD_MODEL, sentence) from None
    return model


def _check_alike(parts: Sequence[Part]) -> None:
    def shape(traits: Traits) -> tuple[object, ...]:
        return (traits.objective, traits.features, traits.classes, traits.targets, traits.names)

    first, _, expected, _ = parts[0]
    for name, _, traits, _ in parts[1:]:
        if shape(traits) != shape(expected):
            raise HandlerError(
                Fault.BAD_MODEL,
                f"several model files, and {name} does not go with {first}: an ensemble is of one "
                "objective, and of the same features and classes; leave one",
            )


def _first_line(error: Exception) -> str:
    """What XGBoost said, without the time and the source line that it puts in front."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _PLACE.sub("", line, count=1)[:_SHOWN]
