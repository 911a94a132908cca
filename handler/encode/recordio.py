"""Answers in SageMaker's RecordIO of protobuf: a record a row."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler import recordio
from handler.encode.columns import column, refuse

Floats = NDArray[np.float32]

_HEAD = struct.Struct("<II")  # a frame's: the magic number, and the record's length
_SCORE = "score"  # the name that the managed container has for a prediction


def write(prediction: NDArray[np.float32]) -> bytes:
    """The numbers of a row as one label."""
    return _frames({_SCORE: prediction})


def write_selected(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> bytes:
    """A label a key. A tensor has no shape here: lists of lists are written one after another.

    Raises:
        HandlerError: 406, a label is a word or not a float32.
    """
    return _frames({key: _floats(rows, key) for key in keys})


def _frames(columns: dict[str, Floats]) -> bytes:
    """A frame for each row.

    All are alike but for their numbers, so the first is written, and of the others only those:
    they stand at the end of what each label adds to a record.
    """
    flat = {name: column.reshape(len(column), -1) for name, column in columns.items()}
    row: dict[str, list[float]] = {}
    places: list[slice] = []
    for name, numbers in flat.items():
        row[name] = numbers[0].tolist()
        first = recordio.write([row])
        end = _HEAD.size + _HEAD.unpack_from(first)[1]
        places.append(slice(end - 4 * numbers.shape[1], end))
    (count,) = {len(numbers) for numbers in flat.values()}
    if count == 1:
        return first
    frames = np.tile(np.frombuffer(first, np.uint8), (count, 1))
    for place, numbers in zip(places, flat.values(), strict=True):
        frames[:, place] = np.ascontiguousarray(numbers, "<f4").view(np.uint8)
    return frames.tobytes()


def _floats(rows: Sequence[dict[str, Any]], key: str) -> Floats:
    array = column(rows, key)
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32)
        if not np.array_equal(narrow, array):
            refuse(f"{key} has labels that 32-bit floats do not hold")
        array = narrow
    return array
