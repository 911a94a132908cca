"""Cells to float32, whatever they were written in."""

import itertools
import math
import re
import struct
from collections.abc import Sequence
from types import NoneType
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from handler.decode.mistakes import not_a_number, refuse, shown, too_many, wrong_width

Floats = NDArray[np.float32]

# As many as the largest body of the dense types can hold, a byte each: sparse rows grow when they
# become dense, and a small body of labels alone would otherwise fill the memory.
MOST_CELLS = 25 * 1024 * 1024
_BLOCK_ROWS = 1024  # that are read in one go, while no other thread can run: below a millisecond
_DIMENSIONS = 8  # of a row's shape: enough for any, too few to be multiplied for long
_NUMBER = re.compile(
    r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.ASCII | re.IGNORECASE
)


class Sparse(NamedTuple):
    """A row of which some columns are given; the others are missing."""

    keys: list[int]
    values: Any


def quiet() -> np.errstate:
    """In which a cast to float32 may meet what is too large, or a NaN that is not quiet."""
    return np.errstate(over="ignore", invalid="ignore")


def float32(cells: Any) -> Floats:
    """Numbers, None for a missing one, as an array; what is too large becomes infinite."""
    with quiet():
        return np.asarray(cells, dtype=np.float64).astype(np.float32)


def packed(cells: list[Any]) -> bytes:
    """Numbers, and None for a missing one, as the bytes of float32.

    Raises:
        TypeError, OverflowError: one is something else, or too large.
    """
    try:
        return struct.pack(f"{len(cells)}f", *cells)
    except struct.error:
        if not set(map(type, cells)) <= {float, int, NoneType}:
            raise TypeError("not numbers and None") from None
        return float32(cells).tobytes()


def table(rows: Sequence[Sequence[Any]], count: int) -> Floats:
    """Rows as one array, a block at a time.

    Raises:
        TypeError, OverflowError, ValueError: they are not rows of so many numbers and None.
    """
    if len(rows) <= _BLOCK_ROWS:
        return _block(rows, count)
    starts = range(0, len(rows), _BLOCK_ROWS)
    return np.concatenate([_block(rows[at : at + _BLOCK_ROWS], count) for at in starts])


def _block(rows: Sequence[Sequence[Any]], count: int) -> Floats:
    if set(map(len, rows)) != {count}:
        raise ValueError("not of one width")
    data = packed(list(itertools.chain.from_iterable(rows)))
    return np.frombuffer(data, np.float32).reshape(len(rows), count)


def sparse(row: int, keys: list[int], values: Any, shape: Sequence[int], count: int) -> Sparse:
    """A row of some columns, once it is known to be one of the model's.

    Args:
        row: its number, for messages.
        keys: columns, counted from 0; none is negative.
        values: their numbers.
        shape: of the whole row; or empty, where the client does not say.
        count: columns of the model.

    Raises:
        HandlerError: 400, a key is out of range or comes twice, or the lengths do not agree.
    """
    if len(keys) != len(values):
        refuse(f"row {row} has {len(keys)} keys and {len(values)} values")
    if shape:
        check_shape(row, shape, count)
    if keys and (largest := max(keys)) >= count:
        refuse(f"row {row}: key {largest} is out of range: columns are 0 to {count - 1}")
    if len(keys) > count or len(set(keys)) != len(keys):
        refuse(f"row {row}: a key comes twice")
    return Sparse(keys, values)


def check_shape(row: int, shape: Sequence[int], count: int) -> None:
    """Check that a row of the shape has the model's columns.

    Raises:
        HandlerError: 400, it has not.
    """
    if len(shape) > _DIMENSIONS:
        refuse(f"row {row} has a shape of {len(shape)} dimensions; a row has one")
    if math.prod(shape) != count:
        wrong_width(row, math.prod(shape), count)


def filled(rows: Sequence[Any], count: int) -> Floats:
    """Rows that are checked, each of ``count`` numbers or sparse, as one array.

    Raises:
        HandlerError: 400, they are small as sparse rows but too many as dense ones.
    """
    most = max(1, MOST_CELLS // count)
    if len(rows) > most and Sparse in set(map(type, rows)):
        too_many(len(rows), count, most)
    array = np.full((len(rows), count), np.nan, np.float32)
    with quiet():
        for place, row in enumerate(rows):
            if isinstance(row, Sparse):
                array[place, row.keys] = row.values
            else:
                array[place] = row
    return array


def has_infinite(array: Floats) -> bool:
    """Whether a number is infinite, or was too large for 32 bits."""
    return b"\1" in np.isinf(array).tobytes()  # of a few numbers it is known sooner than by any()


def refuse_infinite(array: Floats, names: Sequence[str]) -> NoReturn:
    """Refuse the first infinite number of [rows, columns], which may have names.

    Raises:
        HandlerError: 400, always.
    """
    row, column = np.argwhere(np.isinf(array))[0]
    name = f" ({shown(names[column])})" if column < len(names) else ""
    refuse(f"row {row + 1}, column {column + 1}{name} is infinite as a 32-bit float")


def number(field: str, row: int, column: int) -> float:
    """The number that a text is, or NaN where it is empty or says so.

    Raises:
        HandlerError: 400, it is none.
    """
    if missing(field):
        return math.nan
    if not _NUMBER.fullmatch(field):
        not_a_number(field, row, column)
    return float(field)


def readable(field: str) -> bool:
    """Whether ``number`` takes the text."""
    return missing(field) or bool(_NUMBER.fullmatch(field))


def missing(field: str) -> bool:
    """Whether a text stands for a missing value."""
    return not field or field.lower() == "nan"


def text(body: bytes) -> str:
    """The body as text, without a byte order mark.

    Raises:
        HandlerError: 400, it is not UTF-8.
    """
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        refuse(f"byte {error.start + 1} of the body is not UTF-8")
