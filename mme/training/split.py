"""A CSV file that is looked through, and then taken apart into parts of whole groups.

Both read it line by line, so a file may be larger than the memory. The first tells what is wrong
before anything is paid for, and what the work is called; the second may not be needed at all.
"""

import csv
import gzip
import hashlib
import heapq
import io
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mme.errors import CommandError
from mme.training.fit import check_size
from mme.training.lines import Lines

_COMPRESSION = 6
_BUFFER_CHARACTERS = 16 << 20  # of all parts together, before they go to the disk


@dataclass
class _Found:
    """What is known of a group."""

    rows: int = 0
    bad: str = ""
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class Survey:
    """What is in a file.

    Attributes:
        file: it.
        by: the groups' column.
        target: the column to predict.
        digests: of the rows of each group that can be trained, by its name.
        sizes: their numbers of rows.
        failed: why the others cannot be.
        digest: of the whole file.
        changed: when it was last changed, and its size.
    """

    file: Path
    by: str
    target: str
    digests: Mapping[str, str]
    sizes: Mapping[str, int]
    failed: Mapping[str, str]
    digest: str
    changed: tuple[int, int]


def survey(file: Path, by: str, target: str) -> Survey:
    """Look through a file: the numbers, the groups' names, and how many rows they have.

    Raises:
        CommandError: it cannot be read, has not the columns, or no group that can be trained.
    """
    groups: dict[str, _Found] = {}
    with Lines(file, str(file), by, target) as lines:
        changed = _changed(file)
        head = digest(tuple(lines.header))
        for row in lines:
            found = groups.setdefault(row[lines.group], _Found())
            found.rows += 1
            found.digest.update(repr(row).encode("utf-8", "surrogatepass"))
            if not found.bad:
                try:
                    if not math.isfinite(lines.values(row)[-1]):
                        found.bad = f"{lines.where}: {target} is missing or infinite"
                except ValueError as error:
                    found.bad = str(error)
    if not groups:
        raise CommandError(f"{file} has no rows")
    for name, found in groups.items():
        if not found.bad:
            try:
                check_size(name, found.rows)
            except ValueError as error:
                found.bad = str(error)
    failed = {name: found.bad for name, found in groups.items() if found.bad}
    digests = {
        name: digest(head, found.digest.digest())
        for name, found in sorted(groups.items())
        if not found.bad
    }
    if not digests:
        name, reason = next(iter(failed.items()))
        raise CommandError(f"no group of {file} can be trained; {name!r}: {reason}")
    sizes = {name: groups[name].rows for name in digests}
    whole = digest(*(word for one in digests.items() for word in one))
    return Survey(file, by, target, digests, sizes, failed, whole, changed)


class Parts:
    """The groups of a file in files of their own, compressed; the same ones are the same bytes.

    Args:
        found: what is in the file.
        names: the groups of each part.
        folder: for the parts.
    """

    def __init__(self, found: Survey, names: Sequence[Sequence[str]], folder: Path) -> None:
        self._found, self._folder, self._count = found, folder, len(names)
        self._place = {name: number for number, part in enumerate(names) for name in part}
        self._lock, self._done = threading.Lock(), False

    def files(self) -> list[Path]:
        """The parts, made when they are asked for first.

        Raises:
            CommandError: the file cannot be read, or is another one by now.
        """
        files = [self._folder / f"part-{number:04}.csv.gz" for number in range(self._count)]
        with self._lock:
            if not self._done:
                self._write(files)
                self._done = True
        return files

    def file(self, name: str) -> Path:
        """The part of a group."""
        return self.files()[self._place[name]]

    def _write(self, files: list[Path]) -> None:
        found = self._found
        texts = [io.StringIO(newline="") for _ in files]
        writers = [csv.writer(text, lineterminator="\n") for text in texts]
        kept = 0
        with Lines(found.file, str(found.file), found.by, found.target) as lines:
            for writer in writers:
                writer.writerow(lines.header)
            for row in lines:
                if (number := self._place.get(row[lines.group])) is not None:
                    kept += writers[number].writerow(row)
                if kept > _BUFFER_CHARACTERS:
                    _flush(texts, files)
                    kept = 0
        if _changed(found.file) != found.changed:
            raise CommandError(f"{found.file} has changed while it was read: try again", status=1)
        _flush(texts, files)


def _flush(texts: list[io.StringIO], files: list[Path]) -> None:
    """Append texts to files; a file of several compressed pieces is one of them all."""
    for text, file in zip(texts, files, strict=True):
        if data := text.getvalue().encode():
            with file.open("ab") as part:
                part.write(gzip.compress(data, _COMPRESSION, mtime=0))
            text.seek(0)
            text.truncate()


def _changed(file: Path) -> tuple[int, int]:
    about = file.stat()
    return about.st_mtime_ns, about.st_size


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
