"""Answers in SageMaker's RecordIO of protobuf: a record a row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler import recordio
from handler.encode.columns import column, refuse

_SCORE = "score"  # the name that the managed container has for a prediction


def write(prediction: NDArray[np.float32]) -> bytes:
    """The numbers of a row as one label."""
    rows = prediction.reshape(len(prediction), -1).tolist()
    return recordio.write([{_SCORE: row} for row in rows])


def write_selected(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> bytes:
    """A label a key. A tensor has no shape here: lists of lists are written one after another.

    Raises:
        HandlerError: 406, a label is a word or not a float32.
    """
    columns = [_floats(rows, key) for key in keys]
    return recordio.write(
        dict(zip(keys, cells, strict=True)) for cells in zip(*columns, strict=True)
    )


def _floats(rows: Sequence[dict[str, Any]], key: str) -> list[list[float]]:
    array = column(rows, key)
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32)
        if not np.array_equal(narrow, array):
            refuse(f"{key} has numbers that a 32-bit float does not hold")
        array = narrow
    cells: list[list[float]] = array.reshape(len(rows), -1).tolist()
    return cells
