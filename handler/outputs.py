"""Selectable output: which figures of a row the client gets, and what they are for each objective.

The keys, and what they mean for the objectives that AWS's managed container knows, are its own.
Source: ``sagemaker_xgboost_container/algorithm_mode/serve_utils.py``. Where that says nothing, or
what cannot be (one minus a margin is no probability), docs/20-answers.md has what is given here.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handler.errors import Fault, HandlerError
from handler.kinds import Kind
from handler.settings import KEYS
from handler.traits import Traits

Floats = NDArray[np.float32]
Cells = list[Any]  # an element a row

_SHOWN = 40  # characters of a key that is not known


def parse(text: str) -> tuple[str, ...]:
    """Read a selection.

    Args:
        text: keys separated by commas, in upper or lower case.

    Returns:
        The keys in their order, each once; none if the text has none.

    Raises:
        HandlerError: 400, a key is not known.
    """
    keys = tuple(dict.fromkeys(key for part in text.split(",") if (key := part.strip().lower())))
    for key in keys:
        if key not in KEYS:
            sentence = f"output {key[:_SHOWN]!r} is not known; select of {', '.join(KEYS)}"
            raise HandlerError(Fault.BAD_REQUEST, sentence)
    return keys


def kinds(keys: Collection[str], traits: Traits) -> set[Kind]:
    """What the model must be asked for a selection: at least one kind of prediction."""
    cells = _cells(traits)
    return {cells[key].kind for key in keys if key in cells} or {Kind.VALUE}


def select(
    keys: Sequence[str], predictions: Mapping[Kind, Floats], traits: Traits
) -> list[dict[str, Any]]:
    """The figures that were selected.

    Args:
        keys: as ``parse`` read them.
        predictions: of each of ``kinds`` at least, float32 as ``Booster.predict`` returns them.
        traits: of the model.

    Returns:
        For each row its figures by key, in the keys' order: a number, a label, a list of those or
        of lists; None where the key has no meaning for the objective. What is not finite stays so;
        a label that such numbers decide is None.
    """
    cells = _cells(traits)
    count = len(next(iter(predictions.values())))
    columns = [
        cells[key].figure(predictions[cells[key].kind], traits) if key in cells else [None] * count
        for key in keys
    ]
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]


class _Cell(NamedTuple):
    """How a key's figures are made: of which prediction, and by what."""

    kind: Kind
    figure: Callable[[Floats, Traits], Cells]


def _cells(traits: Traits) -> dict[str, _Cell]:
    return _BY_OBJECTIVE.get(traits.objective, _OTHERS)


def _number(values: Floats, _: Traits) -> Cells:
    """What XGBoost says: a number a row, or a list."""
    return _listed(values)


def _complements(values: Floats, _: Traits) -> Cells:
    return _pairs(1 - values, values)


def _opposites(values: Floats, _: Traits) -> Cells:
    return _pairs(-values, values)


def _sigmoid(values: Floats, _: Traits) -> Cells:
    return _listed(_logistic(values))


def _sigmoids(values: Floats, _: Traits) -> Cells:
    chances = _logistic(values)
    return _pairs(1 - chances, chances)


def _largest(values: Floats, _: Traits) -> Cells:
    return _listed(_classes(values).max(axis=1))


def _each(values: Floats, _: Traits) -> Cells:
    return _listed(_classes(values))


def _softmax_largest(values: Floats, _: Traits) -> Cells:
    return _listed(_softmax(values).max(axis=1))


def _softmax_each(values: Floats, _: Traits) -> Cells:
    return _listed(_softmax(values))


def _label_over(threshold: float) -> Callable[[Floats, Traits], Cells]:
    def label(values: Floats, traits: Traits) -> Cells:
        return _called(values > threshold, np.isnan(values), _names(traits, 2))

    return label


def _label_given(values: Floats, traits: Traits) -> Cells:
    """The label of the class whose number XGBoost gives."""
    known = (values >= 0) & (values < traits.classes)
    return _called(np.where(known, values, 0), ~known, _names(traits, traits.classes))


def _label_of_largest(values: Floats, traits: Traits) -> Cells:
    classes = _classes(values)
    names = _names(traits, classes.shape[1])
    return _called(classes.argmax(axis=1), np.isnan(classes).any(axis=1), names)


def _two_names(values: Floats, traits: Traits) -> Cells:
    return [list(_names(traits, 2))] * len(values)


def _all_names(values: Floats, traits: Traits) -> Cells:
    return [list(_names(traits, traits.classes))] * len(values)


def _leaves(values: Floats, traits: Traits) -> Cells:
    """A number a tree of the file, also of one tree, for which XGBoost returns no list."""
    leaves = values.reshape(len(values), -1)
    return _listed(leaves[:, : leaves.shape[1] - traits.added].astype(np.int32))


def _listed(array: NDArray[Any]) -> Cells:
    cells: Cells = array.tolist()
    return cells


def _pairs(first: Floats, second: Floats) -> Cells:
    return _listed(np.stack([first, second], axis=-1))


def _classes(values: Floats) -> Floats:
    """Rows of classes, also of one class, for which XGBoost may return no list."""
    return values.reshape(len(values), -1)


def _logistic(margins: Floats) -> Floats:
    # In this form nothing overflows, however far from zero the margin is.
    chances: Floats = np.exp(-np.logaddexp(0, -margins.astype(np.float64))).astype(np.float32)
    return chances


def _softmax(margins: Floats) -> Floats:
    classes = _classes(margins).astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity: such a row is NaN
        powers = np.exp(classes - classes.max(axis=1, keepdims=True))
        chances: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return chances


def _names(traits: Traits, count: int) -> tuple[str | int | float | bool, ...]:
    """What the classes are called: by their numbers, if the model's file names not all of them."""
    return traits.labels if len(traits.labels) == count else tuple(range(count))


def _called(
    chosen: NDArray[Any], unknown: NDArray[np.bool_], names: Sequence[str | int | float | bool]
) -> Cells:
    """The names of the classes that were chosen; None for those of which none was."""
    table = np.array([*names, None], dtype=object)
    return _listed(table[np.where(unknown, len(names), chosen).astype(np.intp)])


_EVERY = {
    "contributions": _Cell(Kind.CONTRIBUTIONS, _number),
    "leaf_indices": _Cell(Kind.LEAF, _leaves),
}
_OTHERS = _EVERY | {"predicted_score": _Cell(Kind.VALUE, _number)}
_BY_OBJECTIVE = {
    "binary:logistic": _EVERY
    | {
        "predicted_label": _Cell(Kind.VALUE, _label_over(0.5)),
        "labels": _Cell(Kind.VALUE, _two_names),
        "probability": _Cell(Kind.VALUE, _number),
        "probabilities": _Cell(Kind.VALUE, _complements),
        "raw_score": _Cell(Kind.VALUE, _number),
        "raw_scores": _Cell(Kind.VALUE, _complements),
    },
    "binary:logitraw": _EVERY
    | {
        "predicted_label": _Cell(Kind.VALUE, _label_over(0)),
        "labels": _Cell(Kind.VALUE, _two_names),
        "probability": _Cell(Kind.VALUE, _sigmoid),
        "probabilities": _Cell(Kind.VALUE, _sigmoids),
        "raw_score": _Cell(Kind.VALUE, _number),
        "raw_scores": _Cell(Kind.VALUE, _opposites),
    },
    "binary:hinge": _EVERY
    | {
        "predicted_label": _Cell(Kind.VALUE, _label_over(0.5)),
        "labels": _Cell(Kind.VALUE, _two_names),
        "raw_score": _Cell(Kind.VALUE, _number),
        "raw_scores": _Cell(Kind.VALUE, _complements),
    },
    "multi:softmax": _EVERY
    | {
        "predicted_label": _Cell(Kind.VALUE, _label_given),
        "labels": _Cell(Kind.VALUE, _all_names),
        "probability": _Cell(Kind.MARGIN, _softmax_largest),
        "probabilities": _Cell(Kind.MARGIN, _softmax_each),
        "raw_score": _Cell(Kind.MARGIN, _largest),
        "raw_scores": _Cell(Kind.MARGIN, _each),
    },
    "multi:softprob": _EVERY
    | {
        "predicted_label": _Cell(Kind.VALUE, _label_of_largest),
        "labels": _Cell(Kind.VALUE, _all_names),
        "probability": _Cell(Kind.VALUE, _largest),
        "probabilities": _Cell(Kind.VALUE, _each),
        "raw_score": _Cell(Kind.VALUE, _largest),
        "raw_scores": _Cell(Kind.VALUE, _each),
    },
}
