"""Answers in JSON; orjson writes null for what is not finite."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray


def write(prediction: NDArray[np.float32]) -> bytes:
    """A list with an element a row."""
    return orjson.dumps(prediction.tolist())


def write_selected(rows: Sequence[dict[str, Any]], _: Sequence[str]) -> bytes:
    """An object a row, as the managed container puts them."""
    return orjson.dumps({"predictions": rows})
