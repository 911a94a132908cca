"""Predictions as bytes, and which kind of bytes."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.encode import encode, negotiate
from handler.errors import Fault, HandlerError

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("text/csv", CSV),
        ("Text/CSV; charset=utf-8", CSV),
        ("text/csv, */*", CSV),
        ("*/*, text/csv", JSON),
        ("text/csv;q=0.5, application/json;q=0.4", CSV),
        ("text/csv;q=0.4, application/json;q=0.5", JSON),
        ("image/png, */*;q=0.1", JSON),
        ("application/json;q=0, */*", CSV),
        ("text/*", CSV),
        ("application/*", JSON),
        ("text/csv;q=nonsense", CSV),
        ("text/csv;q=nan", CSV),
        ("application/*;q=0, */*", CSV),
        ("application/json;q=0.2, */*;q=0.5", CSV),
        ("application/*;q=0, application/json", JSON),
    ],
)
def test_negotiation(accept: str | None, chosen: str) -> None:
    """The best of what the client accepts is given; JSON when it has no wish."""
    assert negotiate(accept) == chosen


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0", "x", "image/*", ",", "*/*;q=0"])
def test_nothing_acceptable(accept: str) -> None:
    """When nothing that can be given is wanted, the answer says what can be."""
    with pytest.raises(HandlerError, match="application/json or text/csv") as error:
        negotiate(accept)
    assert error.value.fault is Fault.NOT_ACCEPTABLE


def test_default() -> None:
    """The operator's default is for those without a wish only."""
    assert negotiate(None, CSV) == CSV
    assert negotiate("*/*", CSV) == CSV
    assert negotiate(JSON, CSV) == JSON
    assert negotiate("text/*;q=0, */*", CSV) == JSON
    assert negotiate(None, "Text/CSV; charset=utf-8") == CSV


float32 = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(float32, min_size=1))
def test_one_number_a_row(values: list[float]) -> None:
    """Both types read back as the very same float32 values."""
    prediction = np.array(values, dtype=np.float32)
    assert json.loads(encode(prediction, JSON)) == prediction.tolist()
    text = encode(prediction, CSV).decode()
    assert text.endswith("\n")
    assert [float(line) for line in text.splitlines()] == prediction.tolist()


@given(st.lists(st.lists(float32, min_size=3, max_size=3), min_size=1))
def test_classes(values: list[list[float]]) -> None:
    """Several numbers a row are a list in JSON, and separated by commas in CSV."""
    prediction = np.array(values, dtype=np.float32)
    assert json.loads(encode(prediction, JSON)) == prediction.tolist()
    lines = encode(prediction, CSV).decode().splitlines()
    assert [[float(field) for field in line.split(",")] for line in lines] == prediction.tolist()


def test_not_finite() -> None:
    """JSON has no infinity and no NaN: such a prediction is null, and the answer stays JSON."""
    prediction = np.array([[1.5, math.inf], [math.nan, -math.inf]], dtype=np.float32)
    assert json.loads(encode(prediction, JSON)) == [[1.5, None], [None, None]]
