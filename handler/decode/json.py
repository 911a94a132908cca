"""Rows from JSON: lists, SageMaker's objects around them, and objects with the columns' names."""

import contextlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from handler.decode import cells
from handler.decode.cells import Floats, Sparse
from handler.decode.columns import Columns, places
from handler.decode.mistakes import not_a_number, refuse, shown, wrong_width


def read(body: bytes, columns: Columns) -> Floats:
    """The rows of one JSON value.

    Raises:
        HandlerError: 400, it is not JSON, or a row is not right.
    """
    value = parsed(body)
    around = len(value) if isinstance(value, dict) and "instances" in value else 0
    return table(_rows(value), body, columns, around)


def _rows(value: Any) -> list[Any]:
    if isinstance(value, dict):
        instances = value.get("instances")
        value = instances if isinstance(instances, list) else [value]
    if not isinstance(value, list) or not value:
        refuse('the JSON must be a list of numbers, a list of lists, or {"instances": such a list}')
    return value if type(value[0]) in (list, dict, _Doubled) else [value]


def parsed(body: bytes) -> Any:
    """What is written, NaN and infinite numbers too.

    Raises:
        HandlerError: 400, it is not JSON.
    """
    try:
        return orjson.loads(body)
    except ValueError:  # it does not take NaN, and does not say where what is not UTF-8 is
        return _parsed_slowly(body)


def _parsed_slowly(body: bytes, **how: Any) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), **how)
    except UnicodeDecodeError:
        refuse("the body is not JSON: it is not UTF-8")
    except (ValueError, RecursionError) as error:
        refuse(f"the body is not JSON that can be read: {shown(str(error), 80)}")


def table(
    rows: list[Any], body: bytes, columns: Columns, around: int = 0, lines: bool = False
) -> Floats:
    """Rows, each a list or an object, as one array.

    Args:
        rows: at least one.
        body: in which they were written.
        columns: of the model.
        around: names that the body has beside those in the rows.
        lines: whether each line is a JSON value of its own.

    Raises:
        HandlerError: 400, a row is not right.
    """
    listed: Sequence[Sequence[Any]] | None = None
    if (kinds := set(map(type, rows))) == {list}:
        listed = rows
    elif kinds == {dict}:
        listed = _listed(rows, columns)
    # A boolean would pass for a number, were it not for these words.
    if listed is not None and b"true" not in body and b"false" not in body:
        with contextlib.suppress(TypeError, OverflowError, ValueError):
            array = cells.table(listed, columns.count)
            if listed is not rows:
                _check_doubled(rows, body, around, lines)
            return array
    checked = [_read_row(row, value, columns) for row, value in enumerate(rows, 1)]
    _check_doubled(rows, body, around, lines)
    return cells.filled(checked, columns.count)


def _listed(rows: list[dict[str, Any]], columns: Columns) -> Sequence[Sequence[Any]] | None:
    """The cells of each row, if all are objects of one simple shape; else None."""
    with contextlib.suppress(KeyError):
        if isinstance(rows[0].get("features"), list):
            lists = [row["features"] for row in rows]
            return lists if set(map(type, lists)) == {list} else None
        if set(map(len, rows)) == {len(set(columns.names))}:
            return [[row[name] for name in columns.names] for row in rows]
    return None


def _read_row(row: int, value: Any, columns: Columns) -> list[float] | Sparse:
    if isinstance(value, dict):
        data = value.get("data")
        features = (data if isinstance(data, dict) else value).get("features")
        if isinstance(features, dict) and "values" in features:
            return _read_tensor(row, features, columns.count)
        if not isinstance(features, list):
            return _read_named(row, value, columns)
        value = features
    if not isinstance(value, list):
        refuse(f"row {row} is not a list of numbers")
    if len(value) != columns.count:
        wrong_width(row, len(value), columns.count)
    return [_number(cell, row, column) for column, cell in enumerate(value, start=1)]


def _read_named(row: int, value: dict[str, Any], columns: Columns) -> list[float]:
    if not columns.names:
        refuse(
            f"row {row} is an object, and the model has no names for its columns; "
            'send lists of numbers, or {"instances": such lists}'
        )
    sent = list(value)
    order = places(sent, columns, f"row {row}")
    return [_number(value[sent[place]], row, sent[place]) for place in order]


def _read_tensor(row: int, features: dict[str, Any], count: int) -> list[float] | Sparse:
    """A row as SageMaker's algorithms have it: ``values``, of ``keys`` in a ``shape`` if sparse."""
    values, shape = features["values"], _whole(features.get("shape", []), row, "shape")
    if not isinstance(values, list):
        refuse(f"row {row}: values is not a list of numbers")
    if "keys" in features:
        keys = _whole(features["keys"], row, "keys")
        numbers = [_number(cell, row, place) for place, cell in enumerate(values, start=1)]
        return cells.sparse(row, keys, cells.float32(numbers), shape, count)
    if shape:
        cells.check_shape(row, shape, count)
    if len(values) != count:
        wrong_width(row, len(values), count)
    return [_number(cell, row, column) for column, cell in enumerate(values, start=1)]


def _whole(numbers: Any, row: int, what: str) -> list[int]:
    if not isinstance(numbers, list) or not all(
        type(number) is int and 0 <= number < 2**63 for number in numbers
    ):
        refuse(f"row {row}: {what} is not a list of whole numbers from 0")
    return numbers


def _number(cell: Any, row: int, column: int | str) -> float:
    if cell is None:
        return math.nan
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        # A list is not written out: it can be deeper than what is written may be.
        text = json.dumps(cell) if isinstance(cell, str | bool) else type(cell).__name__
        not_a_number(text, row, column)
    try:
        return float(cell)
    except OverflowError:
        return math.inf


class _Doubled(dict[str, Any]):
    """An object in which a name comes twice."""

    name = ""


def _check_doubled(rows: Sequence[Any], body: bytes, around: int, lines: bool) -> None:
    """Refuse a name that comes twice in a row, of which a reader keeps the last alone.

    A body is read again if it has more colons than names: the others are sure.
    """
    if not any(isinstance(row, dict) for row in rows):
        return
    names = around + sum(len(row) for row in rows if isinstance(row, dict))
    if body.count(b":") <= names:
        return
    texts = body.split(b"\n") if lines else [body]
    again = [
        row for text in texts for row in _rows(_parsed_slowly(text, object_pairs_hook=_marked))
    ]
    for number, row in enumerate(again, start=1):
        if isinstance(row, _Doubled):
            refuse(f"row {number}: {shown(row.name)} comes twice")


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = _Doubled(found)
    doubled.name = Counter(name for name, _ in pairs).most_common(1)[0][0]
    return doubled
