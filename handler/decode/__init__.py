"""Bytes to rows: one float32 array, NaN where a value is missing, or the place of the mistake."""

import contextlib
import functools
import itertools
import json
import math
import re
import struct
from collections.abc import Callable
from types import NoneType
from typing import Any, NoReturn

import numpy as np
import orjson
from numpy.typing import NDArray
from sagemaker_inference import content_types

from handler.errors import Fault, HandlerError

Floats = NDArray[np.float32]

LIBSVM, X_LIBSVM = "text/libsvm", "text/x-libsvm"
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_NUMBER_BYTES = b"0123456789+-.eE \r"  # what is left of plain CSV without them is its separators
_NUMBER = re.compile(
    r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.ASCII | re.IGNORECASE
)
# As many as the largest body of the dense types can hold, a byte each: sparse rows grow when they
# become dense, and a small body of labels alone would otherwise fill the memory.
_MOST_CELLS = 25 * 1024 * 1024
# What is read in one go, while no other thread can run: below a millisecond.
_BLOCK_BYTES = 64 * 1024
_BLOCK_ROWS = 1024
_SHOWN = 20  # characters of a wrong value that an error message shows


def decode(
    body: bytes, content_type: str | None, num_features: int, libsvm_base: int = 0
) -> Floats:
    """Read the rows of a request.

    Args:
        body: as the client sent it.
        content_type: the header's value; upper and lower case are the same.
        num_features: columns that a row must have (for libsvm, may have).
        libsvm_base: the index of the first feature in libsvm rows, 0 or 1.

    Returns:
        float32 [rows, num_features], C-contiguous. A value is ``np.float32(float(text))``, but
        that a ``-0`` without a point may be 0.

    Raises:
        HandlerError: 415 for a type that is not read, 400 with row and column for the rest.
    """
    reader = _reader(content_type)
    if not body:
        _refuse("empty body: send at least one row")
    if reader is _read_libsvm:
        array = _float32(_read_libsvm(_text(body), num_features, libsvm_base))
    else:
        array = reader(body, num_features)
    if np.isinf(array).any():
        row, column = np.argwhere(np.isinf(array))[0]
        _refuse(f"row {row + 1}, column {column + 1} is infinite as a 32-bit float")
    return array


def _float32(rows: Any) -> Floats:
    """Numbers, None for a missing one, as an array."""
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite
        return np.asarray(rows, dtype=np.float64).astype(np.float32)


@functools.lru_cache(maxsize=256)
def _reader(content_type: str | None) -> Callable[..., Any]:
    kind, *parameters = (part.strip() for part in (content_type or "").lower().split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in _CHARSETS:
            raise HandlerError(
                Fault.UNSUPPORTED_MEDIA_TYPE, f"charset {value} is not read; send utf-8"
            )
    reader = _READERS.get(kind)
    if reader is None:
        what = f"content type {kind[:100]} is not read" if kind else "there is no content type"
        accepted = ", ".join(_READERS)
        raise HandlerError(Fault.UNSUPPORTED_MEDIA_TYPE, f"{what}; send one of {accepted}")
    return reader


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(f"byte {error.start + 1} of the body is not UTF-8")


def _lines(text: str) -> list[str]:
    """The lines, without the end of the last one."""
    return text.removesuffix("\n").removesuffix("\r").replace("\r\n", "\n").split("\n")


def _read_csv(body: bytes, num_features: int) -> Floats:
    if not body.isascii():
        body = _text(body).encode()
    body = body.removesuffix(b"\n").removesuffix(b"\r")
    if len(body) <= _BLOCK_BYTES:
        return _read_csv_block(body, 1, num_features)
    arrays, rows, start = [], 0, 0
    while start <= len(body):
        end = body.find(b"\n", start + _BLOCK_BYTES)
        end = len(body) if end < 0 else end
        block = body[start:end].removesuffix(b"\r")
        arrays.append(_read_csv_block(block, rows + 1, num_features))
        rows += len(arrays[-1])
        start = end + 1
    return np.concatenate(arrays)


def _read_csv_block(block: bytes, first_row: int, num_features: int) -> Floats:
    """Rows of CSV, which JSON's reader reads many times faster when they are plain numbers."""
    separators = block.translate(None, _NUMBER_BYTES) + b"\n"
    rows = separators.count(b"\n")
    # Their count first: what is compared is as large as the rows should be.
    plain = len(separators) == num_features * rows
    if plain and separators == (b"," * (num_features - 1) + b"\n") * rows:
        cells = b"[%b]" % block.replace(b"\n", b",")
        for text in (cells, _with_nulls(cells)):
            with contextlib.suppress(ValueError, TypeError, OverflowError):
                packed = _packed(orjson.loads(text))
                return np.frombuffer(packed, np.float32).reshape(rows, num_features)
    # Otherwise written, or a mistake, which will be found where it is.
    plain = not separators.strip(b",\n")
    lines = block.decode().replace("\r\n", "\n").split("\n")
    return _float32(
        [_read_csv_row(row, line, num_features, plain) for row, line in enumerate(lines, first_row)]
    )


def _with_nulls(cells: bytes) -> bytes:
    """The same JSON with a null in each empty field."""
    cells = cells.replace(b",,", b",null,").replace(b",,", b",null,")
    return cells.replace(b"[,", b"[null,").replace(b",]", b",null]")


def _packed(cells: list[Any]) -> bytes:
    """Numbers, and None for a missing one, as the bytes of float32.

    Raises:
        TypeError, OverflowError: one is something else, or too large.
    """
    try:
        return struct.pack(f"{len(cells)}f", *cells)
    except struct.error:
        if not set(map(type, cells)) <= {float, int, NoneType}:
            raise TypeError("not numbers and None") from None
        return _float32(cells).tobytes()


def _read_csv_row(row: int, line: str, num_features: int, plain: bool) -> list[float]:
    fields = line.split(",")
    if plain and len(fields) == num_features:
        with contextlib.suppress(ValueError):
            return [float(field) if field else math.nan for field in fields]
    fields = [_unquoted(field.strip()) for field in fields]
    if row == 1 and all(field[:1].isalpha() and not _readable(field) for field in fields):
        _refuse(f"row 1 looks like a header ({_shown(line)}); send rows of numbers only")
    if len(fields) != num_features:
        _wrong_width(row, len(fields) if line else 0, num_features)
    return [_number(field, row, column) for column, field in enumerate(fields, start=1)]


def _unquoted(field: str) -> str:
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].strip()
    return field


def _number(field: str, row: int, column: int) -> float:
    if _missing(field):
        return math.nan
    if not _NUMBER.fullmatch(field):
        _not_a_number(field, row, column)
    return float(field)


def _readable(field: str) -> bool:
    return _missing(field) or bool(_NUMBER.fullmatch(field))


def _missing(field: str) -> bool:
    return not field or field.lower() == "nan"


def _read_libsvm(text: str, num_features: int, base: int) -> NDArray[np.float64]:
    lines = _lines(text)
    most = max(1, _MOST_CELLS // num_features)
    if len(lines) > most:
        _refuse(f"{len(lines)} rows of {num_features} features; send at most {most} at once")
    rows = np.full((len(lines), num_features), np.nan)
    for row, line in enumerate(lines, start=1):
        tokens = line.split()
        if not tokens:
            _refuse(f"row {row} is empty; a row without features has at least a label")
        if ":" not in tokens[0]:
            _number(tokens.pop(0), row, 1)  # the label, which a prediction does not need
        seen = set()
        for token in tokens:
            index, _, value = token.partition(":")
            if index == "qid":
                continue
            if not (value and index.isascii() and index.isdigit() and len(index) < 10):
                _refuse(f"row {row}: {_shown(token)} is not index:value")
            feature = int(index) - base
            if not 0 <= feature < num_features:
                _refuse(
                    f"row {row}: index {index} is out of range: features are {base} to "
                    f"{num_features - 1 + base} (MME_LIBSVM_BASE is {base})"
                )
            if feature in seen:
                _refuse(f"row {row}: index {index} comes twice")
            seen.add(feature)
            rows[row - 1, feature] = _number(value, row, feature + 1)
    return rows


def _read_json(body: bytes, num_features: int) -> Floats:
    try:
        value = orjson.loads(body)
    except ValueError:  # it does not take NaN, and does not say where what is not UTF-8 is
        value = _read_odd_json(body)
    if isinstance(value, dict):
        value = value.get("instances")
    if not isinstance(value, list) or not value:
        _refuse(
            'the JSON must be a list of numbers, a list of lists, or {"instances": such a list}'
        )
    rows = value if isinstance(value[0], list) else [value]
    # A boolean would pass for a number, were it not for these words.
    if set(map(type, rows)) == {list} and b"true" not in body and b"false" not in body:
        with contextlib.suppress(TypeError, OverflowError, ValueError):
            return _table(rows, num_features)
    return _float32([_read_json_row(row, cells, num_features) for row, cells in enumerate(rows, 1)])


def _table(rows: list[list[Any]], num_features: int) -> Floats:
    """Rows as one array, a block at a time.

    Raises:
        TypeError, OverflowError, ValueError: they are not rows of so many numbers and None.
    """
    parts = []
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        if set(map(len, block)) != {num_features}:
            raise ValueError("not of one width")
        parts.append(_packed(list(itertools.chain.from_iterable(block))))
    return np.frombuffer(b"".join(parts), np.float32).reshape(len(rows), num_features)


def _read_odd_json(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        _refuse("the body is not JSON: it is not UTF-8")
    except (ValueError, RecursionError) as error:
        _refuse(f"the body is not JSON that can be read: {_shown(str(error), 80)}")


def _read_json_row(row: int, cells: Any, num_features: int) -> list[float]:
    if not isinstance(cells, list):
        _refuse(f"row {row} is not a list of numbers")
    if len(cells) != num_features:
        _wrong_width(row, len(cells), num_features)
    return [_json_number(cell, row, column) for column, cell in enumerate(cells, start=1)]


def _json_number(cell: Any, row: int, column: int) -> float:
    if cell is None:
        return math.nan
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        # A list is not written out: it can be deeper than what is written may be.
        text = json.dumps(cell) if isinstance(cell, str | bool) else type(cell).__name__
        _not_a_number(text, row, column)
    try:
        return float(cell)
    except OverflowError:
        return math.inf


def _wrong_width(row: int, columns: int, num_features: int) -> NoReturn:
    _refuse(f"row {row} has {columns} columns, the model has {num_features}")


def _not_a_number(text: str, row: int, column: int) -> NoReturn:
    _refuse(f"row {row}, column {column}: {_shown(text)} is not a number")


def _shown(text: str, characters: int = _SHOWN) -> str:
    return repr(text if len(text) <= characters else text[:characters] + "…")


def _refuse(sentence: str) -> NoReturn:
    raise HandlerError(Fault.BAD_REQUEST, sentence)


_READERS: dict[str, Callable[..., Any]] = {
    content_types.CSV: _read_csv,
    LIBSVM: _read_libsvm,
    X_LIBSVM: _read_libsvm,
    content_types.JSON: _read_json,
}
