"""Columns by name: in a CSV header, in objects, in Parquet; every mistake is listed."""

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from handler.decode import Columns, decode
from handler.errors import Fault, HandlerError

CSV, JSON, LINES = "text/csv", "application/json", "application/jsonlines"
PARQUET = "application/x-parquet"
LOT = Columns(3, ("lot", "rooms", "year, built"))
# Not a number, or it could be a row's; XGBoost takes no brackets and no "<".
name = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="[]<"),
    min_size=1,
    max_size=9,
).filter(lambda text: text == text.strip() and text[0].isalpha())
words = name.filter(lambda text: text.lower() not in ("nan", "inf", "infinity"))
named = st.lists(words, min_size=1, max_size=5, unique=True)
number = st.floats(-(2.0**100), 2.0**100, width=32)


def refused(body: bytes, content_type: str = CSV, columns: Columns = LOT) -> str:
    with pytest.raises(HandlerError) as error:
        decode(body, content_type, columns)
    assert error.value.fault is Fault.BAD_REQUEST
    assert error.value.message.isprintable()
    return error.value.message


@given(named, st.data(), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(deadline=None)
def test_any_order(names: list[str], data: st.DataObject, end: str, quoted: bool) -> None:
    """In whatever order columns are named, in every type that names them, the rows are the same."""
    row = st.lists(number, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(row, min_size=1, max_size=4))
    sent = data.draw(st.permutations(names))
    objects = [dict(zip(names, row, strict=True)) for row in rows]
    table = [[found[name] for name in sent] for found in objects]
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator=end).writerows([sent, *table])
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({key: [f[key] for f in objects] for key in sent}), file)
    shuffled = [{key: found[key] for key in sent} for found in objects]
    bodies = {
        CSV: text.getvalue().encode(),
        JSON: json.dumps(shuffled).encode(),
        LINES: "\n".join(map(json.dumps, shuffled)).encode(),
        PARQUET: file.getvalue(),
    }
    for content_type, body in bodies.items():
        decoded = decode(body, content_type, Columns(len(names), tuple(names)))
        np.testing.assert_array_equal(decoded, np.array(rows, np.float32))
        assert decoded.flags.c_contiguous


def test_long_body() -> None:
    """A header counts for all blocks of a long body, and is not one of its rows."""
    lines = [b"%d,,%d" % (n, -n) for n in range(20_000)]
    rows = decode(b'rooms,lot,"year, built"\n' + b"\n".join(lines), CSV, LOT)
    assert rows.shape == (20_000, 3)
    assert np.isnan(rows[:, 0]).all()
    np.testing.assert_array_equal(rows[:, 1], np.arange(20_000))
    np.testing.assert_array_equal(rows[:, 2], -np.arange(20_000))
    lines[15_000] = b"1,x,3"
    body = b'rooms,lot,"year, built"\n' + b"\n".join(lines)
    assert refused(body) == "row 15001, column 2: 'x' is not a number"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("lot,rooms", "missing 'year, built'"),
        ('lot,rooms,"year, built",x,y', "unknown 'x', 'y'"),
        ("lot,rooms,year", "missing 'year, built'; unknown 'year'"),
        ('lot,lot,rooms,"year, built"', "twice 'lot'"),
        ("lot,lot,price", "missing 'rooms', 'year, built'; unknown 'price'; twice 'lot'"),
        ("lot,,rooms", "missing 'year, built'; unknown ''"),
        ('lot,rooms,"year,\nbuilt"', r"missing 'year, built'; unknown 'year,\nbuilt'"),
        ("a,b,c", "missing 'lot', 'rooms', 'year, built'; unknown 'a', 'b', 'c'"),
    ],
)
def test_header_that_does_not_match(header: str, words: str) -> None:
    """Names that are missing, unknown or doubled are listed."""
    message = refused(f"{header}\n1,2,3\n".encode())
    assert message == f"the header does not name the model's columns: {words}"


def test_ten_names() -> None:
    """At most ten names are listed, and none of them at length."""
    columns = Columns(40, tuple(f"column{n:02d}" + "x" * n for n in range(40)))
    unknown = ",".join(f"other{n}" for n in range(40))
    message = refused(unknown.encode() + b"\n1", columns=columns)
    assert message.count("'column") == 5
    assert message.count("'other") == 5
    assert message.count("and 35 more") == 2
    assert len(message) < 600
    message = refused(b"column00\n1", columns=columns)
    assert message.count("'column") == 10
    assert message.endswith("and 29 more")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"1,x,3\n", "row 1, column 2: 'x' is not a number"),
        (b"nan,,NaN\n1,2,x\n", "row 2, column 3: 'x'"),
        (b"1,2,3\nlot,rooms,year\n", "row 2, column 1: 'lot' is not a number"),
        (b'lot,rooms,"year, built"', "a header and no row below it"),
        (b'lot,rooms,"year, built"\n\n', "row 1 has 0 columns"),
        (b'rooms,lot,"year, built"\n1,2,3\n1,1e99,3', "row 2, column 2 ('lot') is infinite"),
        (b'lot,rooms,"year, built\n1,2,3', "unknown '\"year', 'built'"),
        (b'"lot" ,rooms,x\n1,2,3', "missing 'year, built'; unknown 'x'"),
        (b'"lot"x,rooms,y\n1,2,3', "missing 'lot', 'year, built'; unknown '\"lot\"x', 'y'"),
        (b"lot\rrooms\n1,2,3", r"unknown 'lot\rrooms'"),
    ],
)
def test_mistakes(body: bytes, words: str) -> None:
    """What is no header is a row, and rows count from below the header."""
    assert words in refused(body)


def test_one_column() -> None:
    """A header of one name, and a row that is one empty field."""
    rows = decode(b"lot\n\n7\n", CSV, Columns(1, ("lot",)))
    np.testing.assert_array_equal(rows, [[np.nan], [7]])
    assert np.isnan(decode(b"lot\n\n", CSV, Columns(1, ("lot",)))).all()


def test_names_that_are_numbers() -> None:
    """A row that could be numbers is never taken for a header."""
    rows = decode(b"2,1,0\n", CSV, Columns(3, ("0", "1", "2")))
    assert rows.tolist() == [[2, 1, 0]]
    assert decode(b"E,e\n1,2", CSV, Columns(2, ("e", "E"))).tolist() == [[2, 1]]
    rows = decode(b"nan,inf2,0\n1,2,3", CSV, Columns(3, ("0", "inf2", "nan")))
    assert rows.tolist() == [[3, 2, 1]]


@pytest.mark.parametrize(
    ("content_type", "value", "words"),
    [
        (JSON, {"lot": 1, "rooms": 2}, "row 1 does not name the model's columns: missing"),
        (JSON, [{"lot": 1, "rooms": 2, "year, built": 3}, {}], "row 2 does not name"),
        (JSON, {"lot": 1, "rooms": "2", "year, built": 3}, "row 1, column 'rooms': '\"2\"'"),
        (JSON, {"lot": 1, "rooms": True, "year, built": 3}, "row 1, column 'rooms': 'true'"),
        (JSON, {"lot": 1, "rooms": {}, "year, built": 3}, "row 1, column 'rooms': 'dict'"),
        (JSON, {"lot": 1, "rooms": 1e39, "year, built": 3}, "row 1, column 2 ('rooms') is inf"),
        (JSON, {"instances": [[1, 2, 3], {"lot": 1}]}, "row 2 does not name"),
        (LINES, {"lot": 1}, "row 1 does not name"),
        (LINES, {"instances": []}, "unknown 'instances'"),
        (JSON, {"features": 3}, "unknown 'features'"),
    ],
)
def test_objects(content_type: str, value: Any, words: str) -> None:
    """A mistake in an object is named with the row and the column's name."""
    assert words in refused(json.dumps(value).encode(), content_type)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"a": 1, "b": 2}, {"a": 1, "b": 2, "a": 3}]',
        b'{"instances": [{"a": 1, "b": 2}, {"a": 1, "a": 3, "b": true}]}',
        b'[[1, 2], {"a": 1, "\\u0061": 3, "b": 1}]',
        b'[{"features": [1, 2]}, {"b": 1, "a": 1, "a" : 3}]',
    ],
)
def test_doubled(body: bytes) -> None:
    """Of a name that comes twice in an object no value is chosen."""
    message = refused(body, JSON, Columns(2, ("a", "b")))
    assert message == "row 2: 'a' comes twice" or "'true'" in message


def test_doubled_in_lines() -> None:
    """Nor in a line; a name with a colon is no such thing."""
    columns = Columns(2, ("a:b", "b"))
    assert decode(b'{"b": 1, "a:b": 2}\n', LINES, columns).tolist() == [[2, 1]]
    body = b'{"b": 1, "a:b": 2}\n{"b": 1, "a:b": 2, "b": 3}'
    assert refused(body, LINES, columns) == "row 2: 'b' comes twice"


@pytest.mark.parametrize("content_type", [JSON, LINES])
def test_no_names(content_type: str) -> None:
    """Without names of the model an object cannot be matched, and says so."""
    words = "row 1 is an object, and the model has no names for its columns"
    assert words in refused(b'{"lot": 1, "rooms": 2}', content_type, Columns(2))
    assert "looks like a header" in refused(b'"a,b","c\nd"\n1,2', CSV, Columns(2))


def test_columns_called_as_the_wrapping() -> None:
    """Columns may be called as the parts of SageMaker's objects are."""
    columns = Columns(3, ("features", "data", "instances"))
    body = b'{"instances": 1, "features": 2, "data": null}'
    np.testing.assert_array_equal(decode(body, JSON, columns), [[2, np.nan, 1]])


@pytest.mark.parametrize("names", [("a", "a"), ("a",), ("a", "b", "c")])
def test_names_of_the_model_that_make_no_sense(names: tuple[str, ...]) -> None:
    """A model whose names are not one for each column takes rows by place alone."""
    columns = Columns(2, names)
    assert decode(b"1,2", CSV, columns).tolist() == [[1, 2]]
    for body, content_type in ((b"a,b\n1,2", CSV), (b'{"a": 1, "b": 2}', JSON)):
        assert "one name for each column" in refused(body, content_type, columns)
