"""Answers as a client reads them: by the libraries of the formats, and never by the handler."""

import csv
import io
import json
import math
import struct
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from tests.unit.handler.records import MAGIC, Record

JSON, CSV, JSONLINES = "application/json", "text/csv", "application/jsonlines"
RECORDIO, NPY = "application/x-recordio-protobuf", "application/x-npy"
ANSWERS = (JSON, CSV, JSONLINES, RECORDIO, NPY)


def strict(text: str | bytes) -> Any:
    """A JSON value, without the NaN and Infinity that Python would take."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(word: str) -> NoReturn:
    raise AssertionError(f"{word} is not JSON")


def lines(body: bytes) -> list[str]:
    """Lines of which each has its end."""
    text = body.decode()
    assert text.endswith("\n")
    return text[:-1].split("\n")


def fields(body: bytes) -> list[list[str]]:
    """The fields of each row of CSV, in which no line is passed over."""
    rows = list(csv.reader(io.StringIO(body.decode(), newline=""), strict=True))
    assert body.endswith(b"\n")
    assert all(rows)
    return rows


def labels(body: bytes) -> list[dict[str, list[float]]]:
    """The labels of each record, by Google's own protobuf."""
    at, rows = 0, []
    while at < len(body):
        magic, length = struct.unpack_from("<II", body, at)
        assert magic == MAGIC
        record = Record()
        record.ParseFromString(body[at + 8 : at + 8 + length])
        assert not record.features
        rows.append({key: list(record.label[key].float32_tensor.values) for key in record.label})
        at += 8 + length + -length % 4
    assert at == len(body)
    return rows


def numbers(body: bytes, content_type: str) -> NDArray[np.float32]:
    """Predictions: float32 [n] or [n, k], NaN for what is not finite."""
    match content_type:
        case "application/x-npy":
            array: NDArray[np.float32] = np.load(io.BytesIO(body), allow_pickle=False)
            assert array.dtype == np.float32
            return array
        case "application/json":
            rows = strict(body)
        case "application/jsonlines":
            rows = [strict(line) for line in lines(body)]
        case "text/csv":
            rows = [[float(field) if field else None for field in row] for row in fields(body)]
        case "application/x-recordio-protobuf":
            records = labels(body)
            assert all(set(record) == {"score"} for record in records)
            rows = [record["score"] for record in records]
        case _:
            raise AssertionError(content_type)
    if content_type in (CSV, RECORDIO) and all(len(row) == 1 for row in rows):
        rows = [row[0] for row in rows]
    return _float32(rows)


def _float32(rows: list[Any]) -> NDArray[np.float32]:
    def number(cell: Any) -> Any:
        if isinstance(cell, list):
            return [number(one) for one in cell]
        assert cell is None or type(cell) in (int, float)
        return math.nan if cell is None else cell

    return np.array(number(rows), dtype=np.float32)


def selected(body: bytes, content_type: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of what was selected; a cell of CSV is None, a number, a list or a word."""
    match content_type:
        case "application/json":
            document = strict(body)
            assert set(document) == {"predictions"}
            rows: list[dict[str, Any]] = document["predictions"]
        case "application/jsonlines":
            rows = [strict(line) for line in lines(body)]
        case "text/csv":
            rows = [
                {key: _cell(field) for key, field in zip(keys, row, strict=True)}
                for row in fields(body)
            ]
        case "application/x-recordio-protobuf":
            rows = [dict(record) for record in labels(body)]
            assert all(set(row) == set(keys) for row in rows)
            return rows
        case _:
            raise AssertionError(content_type)
    assert all(list(row) == list(keys) for row in rows)
    return rows


def _cell(field: str) -> Any:
    if not field:
        return None
    try:
        return strict(field)
    except ValueError:
        return field
