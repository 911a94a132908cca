"""Documents as UBJ, written as XGBoost writes it, and as JSON."""

import json
from typing import Any

import numpy as np

MARKS = {  # of numbers, the smallest first
    np.dtype(form): mark
    for form, mark in {
        "i1": b"i",
        "u1": b"U",
        ">i2": b"I",
        ">i4": b"l",
        ">i8": b"L",
        ">f4": b"d",
        ">f8": b"D",
    }.items()
}


def ubj(value: Any) -> bytes:
    """The bytes of a document; a numpy array becomes an array of one type."""
    match value:
        case None | bool():
            return {None: b"Z", True: b"T", False: b"F"}[value]
        case int() | float():
            dtype = next(dtype for dtype in MARKS if _holds(dtype, value))
            return MARKS[dtype] + np.array(value, dtype).tobytes()
        case str():
            return b"S" + text(value)
        case np.ndarray():
            return b"[$" + MARKS[value.dtype] + b"#" + length(len(value)) + value.tobytes()
        case list():
            return b"[#" + length(len(value)) + b"".join(map(ubj, value))
        case dict():
            return b"{" + b"".join(text(key) + ubj(item) for key, item in value.items()) + b"}"
    raise TypeError(type(value))


def _holds(dtype: "np.dtype[Any]", value: float) -> bool:
    if isinstance(value, int):
        return dtype.kind != "f" and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    with np.errstate(over="ignore"):
        same = float(np.array(value).astype(dtype)) == value if dtype.kind == "f" else False
    return same or dtype == ">f8"


def length(number: int) -> bytes:
    """A length, as it stands before everything that has one."""
    return b"L" + number.to_bytes(8, "big", signed=True)


def text(value: str) -> bytes:
    """A text without its mark, as a key is written."""
    return length(len(value.encode())) + value.encode()


def as_json(value: Any) -> bytes:
    """The same document as JSON, without blanks."""
    return json.dumps(value, separators=(",", ":"), default=np.ndarray.tolist).encode()
