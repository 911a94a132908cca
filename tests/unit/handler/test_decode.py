"""Rows from bytes: the right numbers, or the place of the mistake."""

import json
import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.decode import Columns, decode
from handler.errors import Fault, HandlerError

TYPES = ["text/csv", "text/libsvm", "text/x-libsvm", "application/json"]
floats = st.one_of(st.just(math.nan), st.floats(-(2.0**100), 2.0**100, width=32))
tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(floats, min_size=width, max_size=width), min_size=1, max_size=5)
)


def same(decoded: Any, table: list[list[float]]) -> None:
    np.testing.assert_array_equal(decoded, np.array(table, dtype=np.float32))
    assert decoded.dtype == np.float32
    assert decoded.flags.c_contiguous


@given(tables, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.booleans())
def test_csv(
    table: list[list[float]], end: str, last: bool, quoted: bool, empty_is_missing: bool
) -> None:
    """Whatever way a table is written as CSV, the same numbers are read."""

    def field(value: float) -> str:
        text = "" if math.isnan(value) and empty_is_missing else repr(value)
        return f'"{text}"' if quoted else text

    lines = [",".join(map(field, row)) for row in table]
    last = last or not lines[-1]  # without its line end, a row that is one empty field is no row
    body = (end.join(lines) + (end if last else "")).encode()
    same(decode(b"\xef\xbb\xbf" + body, "text/csv", Columns(len(table[0]))), table)


PLAIN = ["1", "-2.5", "+3", ".5", "6.", "007", "1e3", "-0", " 4 ", ""]


@given(
    st.lists(st.lists(st.sampled_from(PLAIN), min_size=3, max_size=3), min_size=1, max_size=40),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 60),
)
def test_csv_in_blocks(table: list[list[str]], end: str, block: int) -> None:
    """However numbers are written, and wherever a long body is cut, each is its own value."""
    body = end.join(",".join(row) for row in table).encode()
    values = [[float(field) if field else math.nan for field in row] for row in table]
    with mock.patch("handler.decode.csv._BLOCK_BYTES", block):
        same(decode(body, "text/csv", Columns(3)), values)


@given(st.integers(0, 30), st.integers(1, 60))
def test_the_place_of_a_mistake_in_a_long_body(row: int, block: int) -> None:
    """Rows are counted from the first of the body, not of the block."""
    lines = [b"1,2,3"] * 31
    lines[row] = b"1,x,3"
    with (
        mock.patch("handler.decode.csv._BLOCK_BYTES", block),
        pytest.raises(HandlerError, match=f"row {row + 1}, column 2: 'x'"),
    ):
        decode(b"\n".join(lines), "text/csv", Columns(3))


@given(tables)
def test_json_in_blocks(table: list[list[float]]) -> None:
    """Many rows of JSON are read in blocks, to the same."""
    body = json.dumps([[None if math.isnan(v) else v for v in row] for row in table * 4]).encode()
    with mock.patch("handler.decode.cells._BLOCK_ROWS", 2):
        same(decode(body, "application/json", Columns(len(table[0]))), table * 4)


@given(tables, st.integers(0, 1), st.booleans())
def test_libsvm(table: list[list[float]], base: int, label: bool) -> None:
    """Sparse rows become dense, what is absent is missing, whichever index is the first."""
    lines = []
    for row in table:
        cells = [f"{i + base}:{v!r}" for i, v in enumerate(row) if not math.isnan(v)]
        lines.append(" ".join((["1"] if label or not cells else []) + cells))
    same(decode("\n".join(lines).encode(), "text/libsvm", Columns(len(table[0])), base), table)


@given(tables, st.booleans())
def test_json(table: list[list[float]], instances: bool) -> None:
    """Lists of lists are rows, with or without instances around them."""
    rows = [[None if math.isnan(value) else value for value in row] for row in table]
    body = json.dumps({"instances": rows} if instances else rows).encode()
    same(decode(body, "application/json", Columns(len(table[0]))), table)


def test_json_row() -> None:
    """A plain list is one row, and NaN is a missing value."""
    same(decode(b"[1, 2.5, NaN]", "application/json", Columns(3)), [[1, 2.5, math.nan]])


@pytest.mark.parametrize("content_type", TYPES)
@given(body=st.one_of(st.binary(), st.text().map(str.encode)), width=st.integers(1, 3))
def test_anything(content_type: str, body: bytes, width: int) -> None:
    """Whatever the bytes, they are rows of the right width or a client's mistake."""
    try:
        rows = decode(body, content_type, Columns(width))
    except HandlerError as refused:
        error = refused
    else:
        assert rows.shape[1] == width
        assert not np.isinf(rows).any()
        return
    assert error.fault is Fault.BAD_REQUEST
    assert "\n" not in error.message


MISTAKES = [
    ("text/csv", b"", "empty body"),
    ("text/csv", b"1,2", "row 1 has 2 columns, the model has 3"),
    ("text/csv", b"1,2,3,4", "row 1 has 4 columns"),
    ("text/csv", b"1,2,3\n4,5", "row 2 has 2 columns"),
    ("text/csv", b"1,2,3\n\n4,5,6", "row 2 has 0 columns"),
    ("text/csv", b"a,b,c\n1,2,3", "looks like a header"),
    ("text/csv", b'"a","b","c"\n1,2,3', "looks like a header"),
    ("text/csv", b"1,2,3\n1,x,3", "row 2, column 2: 'x' is not a number"),
    ("text/csv", b"1,2," + b"y" * 99, "y…' is not a number"),
    ("text/csv", b"1,2,1_000", "column 3: '1_000' is not"),
    ("text/csv", b"1,2,0x10", "'0x10' is not a number"),
    ("text/csv", "1,2,٣".encode(), "is not a number"),
    ("text/csv", b"1,2\0,3", "is not a number"),
    ("text/csv", b"1;2;3", "1 columns"),
    ("text/csv", b"1,2,inf", "row 1, column 3 is infinite"),
    ("text/csv", b"1,2,3\n1,-Infinity,3", "row 2, column 2 is infinite"),
    ("text/csv", b"inf,inf,inf", "row 1, column 1 is infinite"),
    ("text/csv", b"1,2,infin", "'infin' is not a number"),
    ("text/csv", b"1,1e999,3", "row 1, column 2 is infinite"),
    ("text/csv", b"1,2,3\n1,2,1e39", "row 2, column 3 is infinite"),
    ("text/csv", b"1,\xff,3", "byte 3 of the body is not UTF-8"),
    ("text/libsvm", b"0:1 3:1", "index 3 is out of range: features are 0 to 2"),
    ("text/libsvm", b"0:1 x:1", "'x:1' is not index:value"),
    ("text/libsvm", b"0:1 1:", "'1:' is not index:value"),
    ("text/libsvm", b"0:1 1:x", "row 1, column 2: 'x'"),
    ("text/libsvm", b"0:1 0:2", "index 0 comes twice"),
    ("text/libsvm", b"1\n\n1", "row 2 is empty"),
    ("text/libsvm", b"1,2,3", "is not a number"),
    ("text/libsvm", b"0:1e999", "infinite"),
    ("application/json", b"{", "not JSON"),
    ("application/json", b"\xff", "not UTF-8"),
    ("application/json", b"[]", "must be a list"),
    ("application/json", b'{"rows": [1]}', "instances"),
    ("application/json", b"3", "must be a list"),
    ("application/json", b"[[1, 2, 3], 4]", "row 2 is not a list"),
    ("application/json", b"[[1, 2, 3], [4]]", "row 2 has 1 columns"),
    ("application/json", b'[1, 2, "3"]', "column 3"),
    ("application/json", b"[1, true, 3]", "column 2: 'true'"),
    ("application/json", b"[1, Infinity, 3]", "column 2 is infinite"),
    ("application/json", b"[1, 2, 1" + b"0" * 400 + b"]", "column 3 is infinite"),
    ("application/json", b"[1, 2, 1" + b"0" * 5000 + b"]", "not JSON"),
    ("application/json", b"[" * 100_000, "not JSON"),
]


@pytest.mark.parametrize(("content_type", "body", "words"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes(content_type: str, body: bytes, words: str) -> None:
    """A mistake is named with its place, in one sentence, as the client's."""
    with pytest.raises(HandlerError) as error:
        decode(body, content_type, Columns(3))
    assert error.value.fault is Fault.BAD_REQUEST
    assert words in error.value.message
    assert len(error.value.message) < 200


def test_sparse_rows_that_would_fill_the_memory() -> None:
    """A small body of rows without features is refused before it becomes a huge array."""
    with pytest.raises(HandlerError, match="send at most 26 at once") as error:
        decode(b"0\n" * 100_000, "text/libsvm", Columns(1_000_000))
    assert error.value.fault is Fault.BAD_REQUEST


def test_deep_json() -> None:
    """However deep a value is nested, it is a mistake, at the interpreter's limit too."""
    for depth in range(900, 1100):
        body = b"[1, 2, " + b"[" * depth + b"]" * depth + b"]"
        with pytest.raises(HandlerError, match=r"'list' is not a number|not JSON"):
            decode(body, "application/json", Columns(3))


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        (None, "no content type"),
        ("", "no content type"),
        ("image/png", "image/png is not read; send one of text/csv"),
        ("application/x-www-form-urlencoded", "not read"),
        ("text/csv; charset=utf-16", "charset utf-16"),
    ],
)
def test_types_that_are_not_read(content_type: str | None, words: str) -> None:
    """A type that is not read is refused, whatever the body, with those that are."""
    with pytest.raises(HandlerError) as error:
        decode(b"", content_type, Columns(3))
    assert error.value.fault is Fault.UNSUPPORTED_MEDIA_TYPE
    assert words in error.value.message


@pytest.mark.parametrize(
    "content_type", ["text/csv", "TEXT/CSV", "text/csv;header=absent", 'text/csv; charset="UTF-8"']
)
def test_types_are_read_loosely(content_type: str) -> None:
    """Case and parameters of a content type do not matter."""
    same(decode(b" 1 ,2,3", content_type, Columns(3)), [[1, 2, 3]])
