"""A CSV file with a header as lines of texts, its columns checked: one reader for all of training.

A group keeps the text that it is (007 is not 7, NA is Namibia); in other columns an empty cell, or
a word that pandas takes for it, such as NA, is missing.
"""

import contextlib
import csv
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self, TextIO

from mme.errors import CommandError

_MISSING = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
_NAN = float("nan")


class Lines(contextlib.AbstractContextManager["Lines"]):
    """A file that is read; ``.gz`` is unpacked as it is.

    Args:
        file: to read.
        name: that errors give it.
        by: the groups' column.
        target: the column to predict.

    Attributes:
        header: all columns; none in an empty file.
        features: those beside the two.
        group: where the group is in a row.
        numbers: where the features are, and behind them the target.

    Raises:
        CommandError: it cannot be read, or its columns will not do; also while it is iterated.
    """

    def __init__(self, file: Path, name: str, by: str, target: str) -> None:
        self._name = name
        with self._readable():
            self._text = _open(file)
        try:
            with self._readable():
                self._lines = csv.reader(self._text, strict=True)
                self.header = next(filter(None, self._lines), [])
            self.features: tuple[str, ...] = ()
            self.group, self.numbers = 0, [0]
            if self.header:
                self._find(by, target)
        except BaseException:
            self._text.close()
            raise

    def _find(self, by: str, target: str) -> None:
        name, header = self._name, self.header
        if missing := [one for one in (by, target) if one not in header]:
            there = ", ".join(header)
            raise CommandError(f"{name} has no column {' or '.join(missing)}; it has {there}")
        if by == target:
            raise CommandError(f"--by and --target are both {by}")
        if len(set(header)) < len(header):
            raise CommandError(f"{name} has two columns of one name: {', '.join(header)}")
        self.features = tuple(one for one in header if one not in (by, target))
        if not self.features:
            raise CommandError(f"{name} has no features beside {by} and {target}")
        self.group = header.index(by)
        self.numbers = [header.index(one) for one in (*self.features, target)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def __iter__(self) -> Iterator[list[str]]:
        """The rows; blank lines are none."""
        with self._readable():
            for row in filter(None, self._lines):
                if len(row) != len(self.header):
                    raise CommandError(
                        f"{self._name}: expected {len(self.header)} fields in line "
                        f"{self._lines.line_num}, saw {len(row)}"
                    )
                yield row

    def values(self, row: list[str]) -> list[float]:
        """A row's features, and the target behind them; NaN is missing.

        Raises:
            ValueError: a cell is no number; it says where.
        """
        try:
            return [_number(row[place]) for place in self.numbers]
        except ValueError:
            return [self._number(row, place) for place in self.numbers]

    def _number(self, row: list[str], place: int) -> float:
        try:
            return _number(row[place])
        except ValueError:
            found = f"{self.header[place]} is {row[place][:40]!r}, no number"
            raise ValueError(f"{self.where}: {found}") from None

    @property
    def where(self) -> str:
        """The place of the row that was read last, as an editor counts lines."""
        return f"{self._name}, line {self._lines.line_num}"

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
            raise CommandError(f"{self._name} cannot be read: {error}") from None


def _open(file: Path) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _number(text: str) -> float:
    if text in _MISSING:
        return _NAN
    if "_" in text:  # which Python would take
        raise ValueError
    return float(text)
