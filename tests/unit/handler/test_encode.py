"""Predictions as bytes, read back by the formats' own libraries, and which kind of bytes."""

import io
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from handler.encode import encode, encode_selected, negotiate
from handler.errors import Fault, HandlerError
from handler.settings import OFFERED
from tests.unit.handler import reading
from tests.unit.handler.reading import ANSWERS, CSV, JSON, JSONLINES, NPY, RECORDIO

Floats = NDArray[np.float32]
Row = dict[str, Any]

WRITTEN = (JSON, CSV, JSONLINES)  # as text, with a name or a place for each key


def test_offered() -> None:
    """The types that are tested here are those that there are."""
    assert OFFERED == ANSWERS


# Negotiation


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        *((kind, kind) for kind in ANSWERS),
        *((f"{kind.upper()} ; charset=utf-8", kind) for kind in ANSWERS),
        *((f"image/png, {kind};q=0.1", kind) for kind in ANSWERS),
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("*/*;q=0.001", JSON),
        ("text/csv, */*", CSV),
        ("*/*, text/csv", JSON),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0.4, application/json;q=0.5", JSON),
        ("application/x-npy, application/jsonlines", NPY),
        ("application/jsonlines, application/x-npy", JSONLINES),
        ("application/x-npy;q=0.9, application/jsonlines", JSONLINES),
        ("application/jsonlines;q=0.1,application/x-npy;q=0.2,text/csv;q=0.3", CSV),
        ("application/jsonlines;q=0.1,application/x-npy;q=0.4,text/csv;q=0.3", NPY),
        ("application/x-recordio-protobuf;q=0.5, */*;q=0.4", RECORDIO),
        ("application/x-recordio-protobuf;q=0.5, */*;q=0.6", JSON),
        ("image/png, */*;q=0.1", JSON),
        ("application/json;q=0, */*", CSV),
        ("application/json;q=0, text/csv;q=0, */*", JSONLINES),
        ("application/json;q=0, application/*", JSONLINES),
        ("application/json;q=0, application/jsonlines;q=0, application/*", RECORDIO),
        ("text/*", CSV),
        ("application/*", JSON),
        ("application/*;q=0.3, text/*;q=0.4", CSV),
        ("text/csv;q=nonsense", CSV),
        ("text/csv;q=nan", CSV),
        ("text/csv;q=7", CSV),
        ("application/*;q=0, */*", CSV),
        ("application/json;q=0.2, */*;q=0.5", CSV),
        ("application/*;q=0, application/json", JSON),
        ("application/*;q=0, application/x-npy;q=0.1", NPY),
    ],
)
def test_negotiation(accept: str | None, chosen: str) -> None:
    """The best of what the client accepts is given; JSON when it has no wish."""
    assert negotiate(accept) == chosen


def test_qualities() -> None:
    """The type with the best quality is given, wherever it is named; of equals the first."""
    for order in itertools.permutations(ANSWERS):
        qualities = dict(zip(order, (0.2, 1.0, 0.6, 0.9, 0.0), strict=True))
        for named in (order, order[::-1], ANSWERS):
            accept = ", ".join(f"{kind};q={qualities[kind]}" for kind in named)
            assert negotiate(accept) == order[1]
        assert negotiate(", ".join(order)) == order[0]


@pytest.mark.parametrize(
    "accept",
    [
        *("image/png", "text/csv;q=0", "x", "image/*", ",", "*/*;q=0", "text/html, image/png"),
        *("application/x-parquet", "text/libsvm", "application/json2", "application", "*"),
        ", ".join(f"{kind};q=0" for kind in ANSWERS),
        ", ".join(f"{kind};q=0" for kind in (*ANSWERS, "*/*")),
    ],
)
def test_nothing_acceptable(accept: str) -> None:
    """When nothing that can be given is wanted, the answer says what can be."""
    with pytest.raises(HandlerError, match=" or ".join(ANSWERS)) as error:
        negotiate(accept)
    assert error.value.fault is Fault.NOT_ACCEPTABLE


@pytest.mark.parametrize("default", ANSWERS)
def test_default(default: str) -> None:
    """The default is for those without a wish only, or with one that it fits."""
    for accept in (None, "", "  ", "*/*", default, "image/png, */*;q=0.1"):
        assert negotiate(accept, default) == default
    assert negotiate(f"{default.partition('/')[0]}/*", default) == default
    assert negotiate(None, f"{default.title()}; charset=utf-8") == default
    for kind in ANSWERS:
        assert negotiate(kind, default) == kind
        assert negotiate(f"{kind}, */*;q=0.9", default) == kind
    other = CSV if default == JSON else JSON
    assert negotiate(f"{default};q=0, */*", default) == other


# Predictions alone


float32 = st.floats(width=32)
predictions = st.one_of(
    arrays(np.float32, array_shapes(min_dims=1, max_dims=1, max_side=9), elements=float32),
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(2, 4)), elements=float32),
)


@pytest.mark.parametrize("content_type", ANSWERS)
@given(prediction=predictions)
def test_predictions(content_type: str, prediction: Floats) -> None:
    """Each type reads back as the very same float32, whichever they are, [n] and [n, k]."""
    found = reading.numbers(encode(prediction, content_type), content_type)
    if content_type in WRITTEN:  # which have no word for what is not finite
        prediction = np.where(np.isfinite(prediction), prediction, np.float32(math.nan))
    np.testing.assert_array_equal(found, prediction)
    numbers = ~np.isnan(prediction)  # a NaN's bits are nobody's
    assert found[numbers].tobytes() == prediction[numbers].tobytes()


ONE = np.array([0.1, -2.5, 3e-45], np.float32)
MANY = np.array([[0.1, -2.5], [1e10, 0.0]], np.float32)
ODD_ONE = np.array([1.5, math.nan, -math.inf], np.float32)
ODD_MANY = np.array([[1.5, math.inf], [math.nan, -math.inf]], np.float32)
DIGITS = b"0.10000000149011612"  # float32 as Python shows it


@pytest.mark.parametrize(
    ("prediction", "content_type", "body"),
    [
        (ONE, JSON, b"[%b,-2.5,2.802596928649634e-45]" % DIGITS),
        (ONE, JSONLINES, b"%b\n-2.5\n2.802596928649634e-45\n" % DIGITS),
        (ONE, CSV, b"%b\n-2.5\n2.802596928649634e-45\n" % DIGITS),
        (MANY, JSON, b"[[%b,-2.5],[10000000000.0,0.0]]" % DIGITS),
        (MANY, JSONLINES, b"[%b,-2.5]\n[10000000000.0,0.0]\n" % DIGITS),
        (MANY, CSV, b"%b,-2.5\n10000000000.0,0.0\n" % DIGITS),
        (ODD_ONE, JSON, b"[1.5,null,null]"),
        (ODD_ONE, JSONLINES, b"1.5\nnull\nnull\n"),
        (ODD_ONE, CSV, b'1.5\n""\n""\n'),  # an empty line would be passed over
        (ODD_MANY, JSON, b"[[1.5,null],[null,null]]"),
        (ODD_MANY, JSONLINES, b"[1.5,null]\n[null,null]\n"),
        (ODD_MANY, CSV, b"1.5,\n,\n"),
        (MANY[:1], JSONLINES, b"[%b,-2.5]\n" % DIGITS),
        (MANY[:, :1], JSON, b"[[%b],[10000000000.0]]" % DIGITS),
        (MANY[:, :1], JSONLINES, b"[%b]\n[10000000000.0]\n" % DIGITS),
        (MANY[:, :1], CSV, b"%b\n10000000000.0\n" % DIGITS),
        (ODD_MANY[:, 1:], CSV, b'""\n""\n'),
    ],
)
def test_text(prediction: Floats, content_type: str, body: bytes) -> None:
    """What stands where, and what stands for a number that is not finite."""
    assert encode(prediction, content_type) == body


@pytest.mark.parametrize("prediction", [ONE, MANY, ODD_ONE, ODD_MANY, ONE[:1], MANY[:1]])
def test_bits(prediction: Floats) -> None:
    """In an array and in records also what is not finite is as it was, bit by bit."""
    array = np.load(io.BytesIO(encode(prediction, NPY)), allow_pickle=False)
    assert (array.shape, array.dtype) == (prediction.shape, np.dtype("<f4"))
    assert array.tobytes() == prediction.tobytes()
    records = reading.labels(encode(prediction, RECORDIO))
    assert all(list(record) == ["score"] for record in records)
    rows = np.array([record["score"] for record in records], np.float32)
    assert rows.shape == prediction.reshape(len(prediction), -1).shape
    np.testing.assert_array_equal(rows, prediction.reshape(rows.shape))


# What was selected


KEYS = ("number", "whole", "list", "deep", "nothing")
ROWS: list[Row] = [
    {
        "number": 0.10000000149011612,
        "whole": 1,
        "list": [0.5, -0.25],
        "deep": [[1.0, 2.0], [3.0, 4.5]],
        "nothing": None,
    },
    {
        "number": math.inf,
        "whole": None,
        "list": [math.nan, 1.0],
        "deep": [[-math.inf, 2.0], [3.0, 4.5]],
        "nothing": None,
    },
]


def finite(cell: Any) -> Any:
    """A cell as text has it: None for what is not finite."""
    if isinstance(cell, list):
        return [finite(one) for one in cell]
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


@pytest.mark.parametrize("content_type", WRITTEN)
@pytest.mark.parametrize("keys", [KEYS, KEYS[::-1], ("deep",), ("nothing",)])
@pytest.mark.parametrize("count", [1, 2])
def test_selected(content_type: str, keys: tuple[str, ...], count: int) -> None:
    """Each cell is under its key, or in its place, and null or empty without a finite number."""
    rows = [{key: row[key] for key in keys} for row in ROWS[:count]]
    found = reading.selected(encode_selected(rows, keys, content_type), content_type, keys)
    assert found == [{key: finite(cell) for key, cell in row.items()} for row in rows]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (
            JSON,
            b'{"predictions":[{"predicted_label":1,"probabilities":[0.25,0.75],"raw_score":null},'
            b'{"predicted_label":null,"probabilities":[null,0.5],"raw_score":null}]}',
        ),
        (
            JSONLINES,
            b'{"predicted_label":1,"probabilities":[0.25,0.75],"raw_score":null}\n'
            b'{"predicted_label":null,"probabilities":[null,0.5],"raw_score":null}\n',
        ),
        (CSV, b'1,"[0.25, 0.75]",\n,"[null, 0.5]",\n'),
    ],
)
def test_selected_text(content_type: str, body: bytes) -> None:
    """The very bytes, as the managed container has them but for its bare NaN."""
    rows = [
        {"predicted_label": 1, "probabilities": [0.25, 0.75], "raw_score": None},
        {"predicted_label": None, "probabilities": [math.nan, 0.5], "raw_score": math.inf},
    ]
    assert encode_selected(rows, list(rows[0]), content_type) == body


def test_selected_csv_of_nothing() -> None:
    """A line without a number is no empty one, for readers pass those over."""
    assert encode_selected([{"score": None}, {"score": 1}], ["score"], CSV) == b'""\n1\n'


words = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(["a,b", 'a"b', "a\nb", "\r", "},{", '"},{"', "é", " ", "[", "'"]),
)


@given(st.lists(words, min_size=1, max_size=4), st.booleans())
def test_words(labels: list[str], listed: bool) -> None:
    """Labels that are words are what they are in each type that is text."""
    rows = [{"predicted_label": label, "score": 0.5, "labels": labels} for label in labels]
    keys = list(rows[0]) if listed else ["predicted_label", "score"]
    rows = [{key: row[key] for key in keys} for row in rows]
    for content_type in (JSON, JSONLINES):
        body = encode_selected(rows, keys, content_type)
        assert reading.selected(body, content_type, keys) == rows
    table = reading.fields(encode_selected(rows, keys, CSV))
    assert [fields[:2] for fields in table] == [[label, "0.5"] for label in labels]
    if listed:
        assert [reading.strict(fields[2]) for fields in table] == [labels] * len(labels)


@pytest.mark.parametrize("content_type", WRITTEN)
def test_booleans(content_type: str) -> None:
    """Labels that are true and false are written as JSON has them."""
    rows = [{"predicted_label": True, "labels": [False, True]}]
    body = encode_selected(rows, list(rows[0]), content_type)
    assert reading.selected(body, content_type, list(rows[0])) == rows


@pytest.mark.parametrize("count", [1, 2])
def test_selected_records(count: int) -> None:
    """A record has a label for each key, and nothing of the rows before it."""
    records = reading.labels(encode_selected(ROWS[:count], KEYS, RECORDIO))
    assert len(records) == count
    for row, record in zip(ROWS, records, strict=False):
        assert set(record) == set(KEYS)
        for key in KEYS:
            cell = math.nan if row[key] is None else row[key]
            np.testing.assert_array_equal(record[key], np.array(cell, np.float32).ravel())


@pytest.mark.parametrize(
    ("cells", "array"),
    [
        ([0.1, math.inf], np.array([0.1, math.inf], np.float32)),
        ([[0.5, 0.25], [math.nan, 1.0]], np.array([[0.5, 0.25], [math.nan, 1]], np.float32)),
        ([[[1.0, 2.0]], [[3.0, 4.0]]], np.array([[[1, 2]], [[3, 4]]], np.float32)),
        ([1, 0], np.array([1, 0])),
        ([1, None], np.array([1, math.nan], np.float32)),
        ([None, None], np.array([math.nan, math.nan], np.float32)),
        ([True, False], np.array([True, False])),
        ([2**40, 7], np.array([2**40, 7])),
        ([2**40 + 1, None], np.array([2**40 + 1, math.nan])),
        ([0.1234567890123, None], np.array([0.1234567890123, math.nan])),
    ],
)
def test_selected_npy(cells: list[Any], array: NDArray[Any]) -> None:
    """One key of numbers is one array, of a type that holds them all; NaN stands for null."""
    if array.dtype == np.float32:
        cells = [cell if cell is None else np.float32(cell).tolist() for cell in cells]
    body = encode_selected([{"key": cell} for cell in cells], ["key"], NPY)
    found = np.load(io.BytesIO(body), allow_pickle=False)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_npy_of_several_keys() -> None:
    """One array holds one key, and whoever selects several is told so."""
    words = "one array cannot hold number, whole: select one of them; accept application/json"
    with pytest.raises(HandlerError) as error:
        encode_selected(ROWS, ["number", "whole"], NPY)
    assert error.value.fault is Fault.NOT_ACCEPTABLE
    assert error.value.message == words


@pytest.mark.parametrize("content_type", [NPY, RECORDIO])
@pytest.mark.parametrize("cells", [["a", "b"], [["a", "b"]] * 2, [["a", 1]] * 2, ["a", None]])
def test_words_where_there_are_only_numbers(content_type: str, cells: list[Any]) -> None:
    """Words are refused by the types that hold none, and the answer names the key."""
    with pytest.raises(HandlerError) as error:
        encode_selected([{"labels": cell} for cell in cells], ["labels"], content_type)
    assert error.value.fault is Fault.NOT_ACCEPTABLE
    assert error.value.message == "labels has labels that are not numbers; accept application/json"


@pytest.mark.parametrize("cells", [[2**24 + 1, 0], [0.1, 0.2], [1e300, 1.0]])
def test_numbers_that_records_do_not_hold(cells: list[Any]) -> None:
    """A label that float32 would change is refused, not changed."""
    with pytest.raises(HandlerError, match="labels that 32-bit floats do not hold") as error:
        encode_selected(
            [{"predicted_label": cell} for cell in cells], ["predicted_label"], RECORDIO
        )
    assert error.value.fault is Fault.NOT_ACCEPTABLE
