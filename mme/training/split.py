"""A CSV file taken apart into parts of whole groups, for the hosts of a job to share."""

import csv
import gzip
import hashlib
import heapq
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mme.errors import CommandError

_COMPRESSION = 6


@dataclass(frozen=True)
class Rows:
    """A file's lines, by group, as texts.

    Attributes:
        header: the columns.
        groups: the rows of each group, in the file's order.
    """

    header: tuple[str, ...]
    groups: Mapping[str, Sequence[Sequence[str]]]

    def packed(self, names: Iterable[str]) -> bytes:
        """Some groups as a compressed CSV file; the same ones are the same bytes."""
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(self.header)
        for name in names:
            lines.writerows(self.groups[name])
        return gzip.compress(text.getvalue().encode(), _COMPRESSION, mtime=0)


def read_rows(data: Path, by: str, target: str) -> Rows:
    """Read a file.

    Raises:
        CommandError: it cannot be read, or has not the columns.
    """
    try:
        with data.open(encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text, strict=True)
            header = tuple(next(lines, ()))
            _check(data, header, by, target)
            place = header.index(by)
            groups: dict[str, list[list[str]]] = {}
            for row in filter(None, lines):
                if len(row) != len(header):
                    raise CommandError(
                        f"{data} cannot be read: Expected {len(header)} fields in line "
                        f"{lines.line_num}, saw {len(row)}"
                    )
                groups.setdefault(row[place], []).append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommandError(f"{data} cannot be read: {error}") from None
    if not groups:
        raise CommandError(f"{data} has no rows")
    return Rows(header, groups)


def _check(data: Path, header: Sequence[str], by: str, target: str) -> None:
    if missing := [name for name in (by, target) if name not in header]:
        there = ", ".join(header)
        raise CommandError(f"{data} has no column {' or '.join(missing)}; it has {there}")
    if by == target:
        raise CommandError(f"--by and --target are both {by}")
    if len(header) == len((by, target)):
        raise CommandError(f"{data} has no features beside {by} and {target}")


def dealt(sizes: Mapping[str, int], parts: int) -> list[list[str]]:
    """Names dealt out so that the parts are about as large: the largest first, to the smallest.

    Args:
        sizes: of each name.
        parts: at most so many; none is empty.
    """
    heap = [(0, number) for number in range(min(parts, len(sizes)))]
    found: list[list[str]] = [[] for _ in heap]
    for name in sorted(sizes, key=lambda one: (-sizes[one], one)):
        size, number = heapq.heappop(heap)
        found[number].append(name)
        heapq.heappush(heap, (size + sizes[name], number))
    return found


def digest(*words: object) -> str:
    """Hex digits that stand for some words and bytes."""
    found = hashlib.sha256()
    for word in words:
        data = word if isinstance(word, bytes) else repr(word).encode()
        found.update(b"%d " % len(data) + data)
    return found.hexdigest()
