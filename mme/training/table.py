"""CSV files with a header, read into one array of float32 a group, without pandas.

As pandas reads them for ``mme train``: a group keeps the text that it is (007 is not 7, NA is
Namibia), and in other columns an empty cell, or a word such as NA, is missing.
"""

import csv
import gzip
import hashlib
import io
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from mme.training.fit import Group
from mme.training.order import OrderError

_MISSING = frozenset(  # words that pandas takes for it
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
_NAN = float("nan")


class Table:
    """The groups of some files.

    Args:
        by: the groups' column.
        target: the column to predict.
        share: which groups are to be kept.
    """

    def __init__(self, by: str, target: str, share: "Share") -> None:
        self._by, self._target, self._share = by, target, share
        self._features: tuple[str, ...] = ()
        self._rows: dict[str, array[float]] = {}
        self._labels: dict[str, array[float]] = {}

    def read(self, file: Path) -> None:
        """Add a file's rows; ``.gz`` is unpacked as it is read.

        Raises:
            OrderError: it cannot be read, has other columns than the files before it, or a cell
                that is no number.
        """
        try:
            with _open(file) as text:
                self._add(file.name, text)
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise OrderError(f"{file.name} cannot be read: {error}") from None

    def _add(self, name: str, text: TextIO) -> None:
        lines = csv.reader(text, strict=True)
        header = next(lines, None)
        if header is None:
            return
        by, target, features = self._columns(name, header)
        known: dict[str, bool] = {}
        for row in lines:
            if not row:
                continue
            if len(row) != len(header):
                raise OrderError(
                    f"{name}: expected {len(header)} fields in line {lines.line_num}, "
                    f"saw {len(row)}"
                )
            group = row[by]
            if group not in known:
                known[group] = self._share.has(group)
            if not known[group]:
                continue
            if group not in self._rows:
                self._rows[group], self._labels[group] = array("f"), array("d")
            try:
                self._rows[group].extend([_number(row[column]) for column in features])
                self._labels[group].append(_number(row[target]))
            except ValueError as error:
                raise OrderError(f"{name}, line {lines.line_num}: {error}") from None

    def _columns(self, name: str, header: Sequence[str]) -> tuple[int, int, list[int]]:
        """Where the group, the target and the features are, these in the first file's order."""
        if missing := [one for one in (self._by, self._target) if one not in header]:
            raise OrderError(
                f"{name} has no column {' or '.join(missing)}; it has {', '.join(header)}"
            )
        features = tuple(one for one in header if one not in (self._by, self._target))
        if not features:
            raise OrderError(f"{name} has no features beside {self._by} and {self._target}")
        if len(set(header)) < len(header):
            raise OrderError(f"{name} has two columns of one name: {', '.join(header)}")
        self._features = self._features or features
        if set(features) != set(self._features):
            odd = sorted(set(features) ^ set(self._features))
            raise OrderError(f"{name} has other columns than the files before it: {', '.join(odd)}")
        places = {one: place for place, one in enumerate(header)}
        return places[self._by], places[self._target], [places[one] for one in self._features]

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self._rows)

    def groups(self) -> Iterator[Group]:
        """The groups, by name; each is forgotten here when it is given."""
        for name in sorted(self._rows):
            rows = np.frombuffer(self._rows.pop(name), dtype=np.float32)
            labels = np.frombuffer(self._labels.pop(name), dtype=np.float64)
            shaped = rows.reshape(-1, len(self._features))
            yield Group(name, self._features, self._target, shaped, labels)


class Share:
    """Which groups are this host's, where all hosts have all data.

    A group goes to the host that a digest of its name points to: the same one in each run.

    Args:
        host: this one's place among all.
        hosts: how many there are; 1 where this host's files are its own.
    """

    def __init__(self, host: int, hosts: int) -> None:
        self._host, self._hosts = host, hosts

    def has(self, group: str) -> bool:
        """Whether the group is this host's."""
        digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self._hosts == self._host


def _open(file: Path) -> TextIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return io.open(file, encoding="utf-8-sig", newline="")  # noqa: UP020


def _number(text: str) -> float:
    if text in _MISSING:
        return _NAN
    if "_" in text:  # which Python would take
        raise ValueError(f"{text!r} is no number")
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no number") from None
