"""One key's cells as an array, for the content types that hold nothing but numbers."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from handler.errors import Fault, HandlerError


def column(rows: Sequence[dict[str, Any]], key: str) -> NDArray[Any]:
    """The cells of a key.

    Returns:
        Booleans or integers where all cells are; else float32, or float64 where float32 does not
        hold them all, as it can be with labels. NaN stands for None.

    Raises:
        HandlerError: 406, some are words.
    """
    array = np.array([row[key] for row in rows])
    if array.dtype == object and all(cell is None or _is_number(cell) for cell in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        refuse(f"{key} has labels that are not numbers")
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


def refuse(why: str) -> NoReturn:
    """Say that the content type cannot be given, and what can."""
    raise HandlerError(Fault.NOT_ACCEPTABLE, f"{why}; accept application/json")


def _is_number(cell: object) -> bool:
    return isinstance(cell, int | float)
