"""The traffic: drawn by Zipf's law, or read from a file."""

import csv
import datetime
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mme.errors import CommandError

_COLUMNS = ("time", "model")

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Trace:
    """Requests, one after another.

    Attributes:
        times: (requests,) seconds from the first one on, rising.
        models: (requests,) the number of each one's model.
        shares: (models,) of all requests, what each model gets in the long run.
        rate: requests a second.
        notes: sentences about the file, for who reads the plan.
    """

    times: Floats
    models: Numbers
    shares: Floats
    rate: float
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def names(self) -> list[str]:
        """The models' names, by number."""
        return list(map(str, range(len(self.shares))))

    @functools.cached_property
    def asked(self) -> list[str]:
        """The name of each request's model."""
        return list(map(self.names.__getitem__, self.models.tolist()))

    @functools.cached_property
    def moments(self) -> list[float]:
        """The times, as a list."""
        moments: list[float] = self.times.tolist()
        return moments

    @functools.cached_property
    def by_share(self) -> Numbers:
        """The models that are asked for at all, the most asked first."""
        order = np.argsort(-self.shares, kind="stable")
        return order[self.shares[order] > 0]


def draw(count: int, requests: int, rate: float, zipf: float, seed: int) -> Trace:
    """Requests that come independently of each other, for models by Zipf's law.

    The model of rank k gets a share proportional to k to the power of minus ``zipf``.
    """
    random = np.random.default_rng(seed)
    shares = np.arange(1, count + 1, dtype=float) ** -zipf
    shares /= shares.sum()
    borders = np.cumsum(shares)
    borders[-1] = 1.0
    models = np.searchsorted(borders, random.random(requests), side="right")
    times = np.cumsum(random.exponential(1 / rate, requests))
    return Trace(times, models.astype(np.int64), shares, rate)


def read(path: Path, rate: float = 0.0) -> Trace:
    """Requests of a CSV file with a header and the columns ``time`` and ``model``.

    Times are seconds, or dates of ISO 8601. Rows need not be in order, which is then noted.

    Args:
        path: the file.
        rate: requests a second that it is played at; its own if 0.

    Raises:
        CommandError: it cannot be read; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            times, names = _columns(rows, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"the trace {path} cannot be read: {reason}") from None
    if len(times) < 2 or max(times) == min(times):
        raise CommandError(f"the trace {path} has no two requests at different times")
    order = np.argsort(np.asarray(times), kind="stable")
    back = int(np.count_nonzero(np.diff(times) < 0))
    notes = (_sorted_note(path, back),) if back else ()
    moments = np.asarray(times)[order] - min(times)
    _, numbers = np.unique(np.asarray(names), return_inverse=True)
    own = (len(times) - 1) / float(moments[-1])
    if rate:
        moments = moments * (own / rate)
    shares = np.bincount(numbers) / len(numbers)
    return Trace(moments, numbers[order].astype(np.int64), shares, rate or own, notes)


def _sorted_note(path: Path, back: int) -> str:
    rows = "a row was" if back == 1 else f"{back:,} rows were"
    return f"In {path.name} {rows} earlier than the one before: it was sorted by time."


def _columns(rows: Any, path: Path) -> tuple[Sequence[float], Sequence[str]]:
    first = next(rows, None)
    if first is None:
        raise CommandError(f"the trace {path} is empty: its first line must be time,model")
    header = [name.strip() for name in first]
    if any(name not in header for name in _COLUMNS):
        raise CommandError(f"the trace {path} must begin with a header that has time,model")
    when, what = (header.index(name) for name in _COLUMNS)
    times, names = [], []
    for row in rows:
        if not row:
            continue
        try:
            times.append(_seconds(row[when]))
            names.append(_name(row[what]))
        except IndexError:
            at = f"the trace {path}, line {rows.line_num}"
            wrong = f"{len(row)} columns, and the header {len(header)}"
            raise CommandError(f"{at}: {','.join(row)!r} has {wrong}") from None
        except ValueError as error:
            raise CommandError(f"the trace {path}, line {rows.line_num}: {error}") from None
    return times, names


def _name(text: str) -> str:
    name = text.strip()
    if not name:
        raise ValueError("the model's name is empty")
    return name


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = datetime.datetime.fromisoformat(text.strip()).timestamp()
        except (ValueError, OverflowError):
            seconds = np.nan
    if not np.isfinite(seconds):
        raise ValueError(
            f"{text!r} is no time: write seconds, such as 12.5, or a date, such as "
            "2024-01-31T12:00:00Z"
        )
    return seconds
