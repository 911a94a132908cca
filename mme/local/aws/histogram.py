"""What a metric's values were within some time: how often each was seen, and statistics of that."""

import math

_MOST_VALUES = 300  # that are kept as they are
_FINE, _COARSE = 0.019, 0.19  # natural logarithm of a bucket's width: within 1 % and within 10 %
_NOTHING = 1e-9  # a count that is only the rounding of others


class Histogram:
    """Counts of values; above some hundred of them, of values that are rounded.

    Sum, minimum and maximum are those of the values as they came. Counts can be taken back.
    """

    __slots__ = ("_counts", "_least", "_most", "_set_count", "_step", "total")

    def __init__(self) -> None:
        self._counts: dict[float, float] = {}
        self._step = 0.0  # of the buckets, once there are any
        self._set_count = 0.0  # samples that came as statistic sets: their values are not known
        self._least, self._most = math.inf, -math.inf
        self.total = 0.0

    def __len__(self) -> int:
        """The different values that are kept."""
        return len(self._counts)

    def __bool__(self) -> bool:
        return bool(self._counts) or self._set_count > 0

    def add(self, value: float, count: float) -> None:
        """See a value so often; with a count below zero, not to have seen it."""
        self.total += value * count
        self._stretch(value, value)
        self._count(value, count)

    def _count(self, value: float, count: float) -> None:
        bucket = _rounded(value, self._step)
        left = self._counts.get(bucket, 0.0) + count
        if left > _NOTHING:
            self._counts[bucket] = left
        elif self._counts.pop(bucket, None) is not None and not self._step and not self._set_count:
            self._least = min(self._counts, default=math.inf)
            self._most = max(self._counts, default=-math.inf)
        if len(self._counts) > _MOST_VALUES:
            self.thin(_FINE)

    def _stretch(self, least: float, most: float) -> None:
        self._least, self._most = min(self._least, least), max(self._most, most)

    def add_set(self, count: float, total: float, least: float, most: float) -> None:
        """See values of which no more is known than this."""
        if least == most:
            self.add(least, count)
            return
        self._set_count += count
        self.total += total
        self._stretch(least, most)

    def thin(self, step: float = _COARSE) -> None:
        """Round the values that are here, and those that will come."""
        if step > self._step:
            counts, self._counts, self._step = self._counts, {}, step
            for value, count in counts.items():
                bucket = _rounded(value, step)
                self._counts[bucket] = self._counts.get(bucket, 0.0) + count

    def merge(self, other: "Histogram") -> None:
        """Add all that another one has seen."""
        self.thin(other._step)
        for value, count in other._counts.items():
            self._count(value, count)
        self._set_count += other._set_count
        self._stretch(other._least, other._most)
        self.total += other.total

    def statistic(self, name: str) -> float | None:
        """One of CloudWatch's statistics; None where there is nothing that it could be of.

        Raises:
            ValueError: there is no such statistic here.
        """
        count = sum(self._counts.values()) + self._set_count
        if not self:
            return None
        if name == "SampleCount":
            return count
        if name == "Average":
            return self.total / count
        if name in ("Sum", "Minimum", "Maximum"):
            return {"Sum": self.total, "Minimum": self._least, "Maximum": self._most}[name]
        share = percentile_of(name)
        return None if self._set_count else self._at(share * (count - 1))

    def _at(self, rank: float) -> float:
        """The value of a rank from 0 on; between two of them, the share of both."""
        below = math.floor(rank)
        passed, lower = 0.0, None
        for value in sorted(self._counts):
            passed += self._counts[value]
            if lower is None and passed > below:
                lower = value
            if passed > below + 1:
                break
        lower = value if lower is None else lower
        exact = lower + (value - lower) * (rank - below)
        return min(max(exact, self._least), self._most)


def percentile_of(name: str) -> float:
    """The share, 0 to 1, that a statistic like ``p99.9`` names.

    Raises:
        ValueError: it is no percentile.
    """
    digits = name.removeprefix("p")
    if digits == name or not digits.replace(".", "", 1).isdecimal() or float(digits) > 100:
        raise ValueError(name)
    return float(digits) / 100


def _rounded(value: float, step: float) -> float:
    if not step or not value:
        return value
    return math.copysign(math.exp(round(math.log(abs(value)) / step) * step), value)
