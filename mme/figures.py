"""Figures as a reader wants them: few digits, commas between thousands, never an exponent."""

import math

_SECONDS_FROM_MS = 100_000.0
_LEAST = 1e-9


def short(value: float, digits: int = 3) -> str:
    """So many digits, more only before the point: 0.0739, 1.25, 104, 1,252, 100,000."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) < _LEAST:
        return "0"
    text = _fixed(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _fixed(value: float, digits: int) -> str:
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, places):,.{places}f}"


def milliseconds(value: float) -> str:
    """``3.6 ms``; with seconds instead where they would be a hundred and more."""
    if value >= _SECONDS_FROM_MS:
        return f"{value / 1000:,.0f} s"
    return f"{value:,.1f} ms"
