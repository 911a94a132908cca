"""Rows from CSV: plain numbers fast, everything else with the place of the mistake."""

import contextlib
import csv
import math
from collections.abc import Iterator

import numpy as np
import orjson

from handler.decode import cells
from handler.decode.cells import Floats
from handler.decode.columns import Columns, places
from handler.decode.mistakes import refuse, shown, wrong_width

_NUMBER_BYTES = b"0123456789+-.eE \r"  # what is left of plain CSV without them is its separators
_DIGIT_BYTES = b"0123456789+-. \r"  # a row of nothing else is no header
_BLOCK_BYTES = 64 * 1024  # read in one go, while no other thread can run: below a millisecond


def read(body: bytes, columns: Columns) -> Floats:
    """The rows; columns in the model's order, if a header names them.

    Raises:
        HandlerError: 400, a row or the header is not right; rows count from 1, below the header.
    """
    if not body.isascii():
        body = cells.text(body).encode()
    body = body.removesuffix(b"\n").removesuffix(b"\r")
    if len(body) <= _BLOCK_BYTES:
        rows = _read_plain(body, columns.count)
        if rows is not None:
            return rows
    names, end = _header(body, columns)
    if not names:
        return _read_blocks(body, columns.count)
    order = places(names, columns, "the header")
    if body[end - 1 : end] != b"\n":
        refuse("there is a header and no row below it; send at least one row")
    rows = _read_blocks(body[end:], columns.count)
    if cells.has_infinite(rows):  # here, where the columns are as the client sent them
        cells.refuse_infinite(rows, names)
    return np.ascontiguousarray(rows[:, order])


def _header(body: bytes, columns: Columns) -> tuple[list[str], int]:
    """The names in the first row, and where it ends; none if it is a row of numbers."""
    stop = body.find(b"\n")
    line = body[:stop] if stop >= 0 else body
    if not line.translate(None, _DIGIT_BYTES).strip(b","):
        return [], 0
    record, end = _first_record(body)
    known = set(columns.names)
    names = [name if name in known else name.strip() for name in record]
    words = [name for name in names if not cells.readable(name)]
    if all(word[:1].isalpha() for word in words) and len(words) == len(names) > 0:
        if not known:
            refuse(f"row 1 looks like a header ({shown(_start(line))}); send rows of numbers only")
        return names, end
    return (names, end) if known.intersection(words) else ([], 0)


def _start(line: bytes) -> str:
    return line[:200].decode(errors="replace").rstrip("\r")


def _first_record(body: bytes) -> tuple[list[str], int]:
    """The fields of the first row, where quotes may hold commas and line ends; and where it ends.

    If its quotes make no sense so, it is a line like any other.
    """
    end = 0

    def lines() -> Iterator[str]:
        nonlocal end
        while end < len(body):
            start, end = end, body.find(b"\n", end) + 1 or len(body)
            yield body[start:end].decode()

    try:
        record = next(csv.reader(lines(), skipinitialspace=True, strict=True), [])
    except csv.Error:
        end = 0
        record = [_unquoted(field.strip()) for field in next(lines()).split(",")]
    return record, end


def _read_blocks(body: bytes, count: int) -> Floats:
    if len(body) <= _BLOCK_BYTES:
        return _read_block(body, 1, count)
    arrays, rows, start = [], 0, 0
    while start <= len(body):
        end = body.find(b"\n", start + _BLOCK_BYTES)
        end = len(body) if end < 0 else end
        block = body[start:end].removesuffix(b"\r")
        arrays.append(_read_block(block, rows + 1, count))
        rows += len(arrays[-1])
        start = end + 1
    return np.concatenate(arrays)


def _read_block(block: bytes, first_row: int, count: int) -> Floats:
    rows = _read_plain(block, count)
    if rows is not None:
        return rows
    # Otherwise written, or a mistake, which will be found where it is.
    plain = not block.translate(None, _NUMBER_BYTES).strip(b",\n")
    lines = block.decode().replace("\r\n", "\n").split("\n")
    return cells.float32(
        [_read_row(row, line, count, plain) for row, line in enumerate(lines, first_row)]
    )


def _read_plain(block: bytes, count: int) -> Floats | None:
    """Rows of CSV, which JSON's reader reads many times faster when they are plain numbers."""
    separators = block.translate(None, _NUMBER_BYTES) + b"\n"
    rows = separators.count(b"\n")
    # Their count first: what is compared is as large as the rows should be.
    if len(separators) == count * rows and separators == (b"," * (count - 1) + b"\n") * rows:
        listed = b"[%b]" % block.replace(b"\n", b",")
        for text in (listed, _with_nulls(listed)):
            with contextlib.suppress(ValueError, TypeError, OverflowError):
                packed = cells.packed(orjson.loads(text))
                return np.frombuffer(packed, np.float32).reshape(rows, count)
    return None


def _with_nulls(listed: bytes) -> bytes:
    """The same JSON with a null in each empty field."""
    listed = listed.replace(b",,", b",null,").replace(b",,", b",null,")
    return listed.replace(b"[,", b"[null,").replace(b",]", b",null]")


def _read_row(row: int, line: str, count: int, plain: bool) -> list[float]:
    fields = line.split(",")
    if plain and len(fields) == count:
        with contextlib.suppress(ValueError):
            return [float(field) if field else math.nan for field in fields]
    fields = [_unquoted(field.strip()) for field in fields]
    if len(fields) != count:
        wrong_width(row, len(fields) if line else 0, count)
    return [cells.number(field, row, column) for column, field in enumerate(fields, start=1)]


def _unquoted(field: str) -> str:
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].strip()
    return field
