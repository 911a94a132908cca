"""Answers as an array in NumPy's own file format."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.encode.columns import column, refuse


def write(prediction: NDArray[np.float32]) -> bytes:
    """The array, bit by bit."""
    return _saved(prediction)


def write_selected(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> bytes:
    """The cells of the one key.

    Raises:
        HandlerError: 406, there are several keys, or labels that are words.
    """
    if len(keys) != 1:
        refuse(f"one array cannot hold {', '.join(keys)}: select one of them")
    return _saved(column(rows, keys[0]))


def _saved(array: NDArray[Any]) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    return data.getvalue()
