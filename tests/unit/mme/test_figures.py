"""Figures as a reader wants them."""

import math

import pytest

from mme import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.07371, "0.0737"),
        (1 / 3, "0.333"),
        (0.000012, "0.000012"),
        (1, "1"),
        (1.5, "1.5"),
        (9.996, "10"),
        (20.78, "20.8"),
        (279.3, "279"),
        (999.6, "1,000"),
        (1252, "1,252"),
        (1e5, "100,000"),
        (1234567.8, "1,234,568"),
        (-12.34, "-12.3"),
        (math.inf, "inf"),
    ],
)
def test_short(value: float, text: str) -> None:
    """Three digits, commas, no exponent and no zeros at the end."""
    assert figures.short(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(3.648, "3.6 ms"), (1234.5, "1,234.5 ms"), (1_050_003.6, "1,050 s")]
)
def test_milliseconds(value: float, text: str) -> None:
    """Minutes are not said in milliseconds."""
    assert figures.milliseconds(value) == text
