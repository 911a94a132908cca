"""Answers in CSV: a line a row, no header."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

_NOT_FINITE = re.compile(r"-?(?:nan|inf)")
_MARKED = re.compile(r'[,"\r\n]')
_NOTHING = '""'  # what an empty field is where a line has no other: readers skip empty lines


def write(prediction: NDArray[np.float32]) -> bytes:
    """The numbers of a row separated by commas."""
    rows = prediction.tolist()
    if prediction.ndim == 1:
        text = "".join([f"{value!r}\n" for value in rows])
    else:
        text = "".join(",".join(map(repr, row)) + "\n" for row in rows)
    if "n" in text:  # of a number only nan and inf have it
        alone = prediction.size == len(rows)
        text = _NOT_FINITE.sub(_NOTHING if alone else "", text)
    return text.encode()


def write_selected(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> bytes:
    """The cells of a row in the keys' order; a list is JSON in quotes."""
    lines = (",".join([_field(row[key]) for key in keys]) or _NOTHING for row in rows)
    return "".join(line + "\n" for line in lines).encode()


def _field(cell: Any) -> str:
    if isinstance(cell, float):
        return repr(cell) if math.isfinite(cell) else ""
    if cell is None:
        return ""
    text = cell if isinstance(cell, str) else _json(cell)
    return '"' + text.replace('"', '""') + '"' if _MARKED.search(text) else text


def _json(cell: object) -> str:
    """JSON with blanks after commas, as the managed container writes lists."""
    text = orjson.dumps(cell).decode()
    return json.dumps(cell, ensure_ascii=False) if '"' in text else text.replace(",", ", ")
