"""The register's memory: a file that outlives the gate, so that the next one knows its models.

One line an event, appended. Nothing is synchronised to disk: it is for a process that dies, not for
a machine.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from container.log import log

_MOST_LINES = 10_000  # beyond twice as many as there are models, after which it is written anew


class Entry(NamedTuple):
    """A model as the last gate left it; one that is not ready was half loaded or half unloaded."""

    name: str
    url: str
    directory: str
    shard: int
    ready: bool


class Journal:
    """The file, open for appending.

    Args:
        path: where it is; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._full = False
        self._entries = {entry.name: entry for entry in _read(path)}
        self._write_anew()

    def entries(self) -> list[Entry]:
        """What the file said when it was opened, and what was noted since."""
        return list(self._entries.values())

    def note(self, entry: Entry) -> None:
        """A model is about to be loaded or unloaded (not ready), or is loaded (ready)."""
        self._entries[entry.name] = entry
        self._append(entry)

    def forget(self, name: str) -> None:
        """A model is gone."""
        if self._entries.pop(name, None) is not None:
            self._append([name])

    def _append(self, line: object) -> None:
        try:
            os.write(self._file, json.dumps(line).encode() + b"\n")
        except OSError as error:  # a full disk must not keep models from being served
            if not self._full:
                self._full = True
                log("the journal cannot be written", reason=error.strerror)
        self._lines += 1
        if self._lines > 2 * len(self._entries) + _MOST_LINES:
            os.close(self._file)
            self._write_anew()

    def _write_anew(self) -> None:
        new = self._path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(new, flags, 0o600)
        new.replace(self._path)
        self._lines = 0
        for entry in self._entries.values():
            self._append(entry)


def _read(path: Path) -> Iterator[Entry]:
    """The models that the lines leave; the last line may be cut by the end of the process."""
    left: dict[str, Entry] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if len(fields) == 1:
                left.pop(fields[0], None)
            else:
                entry = Entry(*fields)
                left[entry.name] = entry
    yield from left.values()
