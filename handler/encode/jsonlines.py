"""Answers in JSON Lines: what JSON has for a row, one a line."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray


def write(prediction: NDArray[np.float32]) -> bytes:
    """A number a line, or a list of them."""
    return _lines(prediction.tolist(), b"," if prediction.ndim == 1 else b"],[")


def write_selected(rows: Sequence[dict[str, Any]], _: Sequence[str]) -> bytes:
    """An object a line."""
    return _lines(rows, b"},{")


def _lines(rows: Sequence[object], between: bytes) -> bytes:
    """The rows as one JSON list, cut at what is between them.

    That takes a twentieth of the time of writing each by itself, which must be where words among
    the labels look like it.
    """
    text = orjson.dumps(rows)[1:-1]
    if text.count(between) == len(rows) - 1:
        return text.replace(between, between.replace(b",", b"\n")) + b"\n"
    return b"".join([orjson.dumps(row) + b"\n" for row in rows])
