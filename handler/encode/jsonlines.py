"""Answers in JSON Lines: what JSON has for a row, one a line."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray


def write(prediction: NDArray[np.float32]) -> bytes:
    """A number a line, or a list of them."""
    return _lines(prediction.tolist())


def write_selected(rows: Sequence[dict[str, Any]], _: Sequence[str]) -> bytes:
    """An object a line."""
    return _lines(rows)


def _lines(values: Iterable[object]) -> bytes:
    return b"".join(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE) for value in values)
