"""The register's memory: a file that outlives the gate, so that the next one knows its models.

One line an event, appended. Nothing is synchronised to disk: it is for a process that dies, not for
a machine. When most of the lines are past, the file is written anew beside the old one, a few lines
with each event, so that nobody waits for a million of them.
"""

import contextlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from container.log import log

_MOST_LINES = 10_000  # beyond twice as many as there are models, after which it is written anew
_AT_ONCE = 16  # lines of the new file with each event
_READ_BYTES, _READ_LINES = 1024 * 1024, 1000
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Entry(NamedTuple):
    """A model as the last gate left it; one that is not ready was half loaded or half unloaded."""

    name: str
    url: str
    directory: str  # empty where it is the url
    shard: int
    ready: bool


class Forgotten(NamedTuple):
    """A model that is gone."""

    name: str


class Journal:
    """The file, open for appending.

    Args:
        path: where it is; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new_path = path.with_suffix(".new")
        self._new_path.unlink(missing_ok=True)  # half written by a gate that died
        self._full = False
        self._lines = 0
        self._entries: Callable[[], Iterator[Entry]] = lambda: iter(())
        self._file = os.open(path, _FLAGS, 0o600)
        self._torn = _is_torn(path)  # the next line must not be the end of this one
        self._new_file: int | None = None
        self._left: Iterator[Entry] = iter(())  # that the new file has not yet
        self._new_lines = 0

    def keeps(self, entries: Callable[[], Iterator[Entry]]) -> None:
        """What gives all that is to be kept, when the file is written anew."""
        self._entries = entries

    def entries(self) -> Iterator[Entry | Forgotten]:
        """What the file says, event by event; the last of each name holds."""
        self._lines = 0
        for lines in _blocks(self._path):
            self._lines += len(lines)
            try:
                yield from _events(lines)
            except (ValueError, TypeError):  # a line was cut by the end of the process
                for line in lines:
                    with contextlib.suppress(ValueError, TypeError):
                        yield from _events([line])

    def note(self, entry: Entry, models: int) -> None:
        """A model is about to be loaded or unloaded (not ready), or is loaded (ready).

        Args:
            entry: of the model.
            models: that there are.
        """
        self._append(entry, models)

    def forget(self, name: str, models: int) -> None:
        """A model is gone, and so many are left."""
        self._append(Forgotten(name), models)

    def _append(self, event: Entry | Forgotten, models: int) -> None:
        line = _line(event)
        if self._torn:
            line = b"\n" + line
        self._torn = not self._write(self._file, line)
        self._lines += 1
        if self._new_file is not None:
            self._write_on(self._new_file, line)
        elif self._lines > 2 * models + _MOST_LINES:
            self._write_anew()

    def _write(self, file: int, line: bytes) -> bool:
        """Whether it is written whole: a full disk must not keep models from being served."""
        try:
            written = os.write(file, line)
        except OSError as error:
            written, reason = 0, error.strerror
        else:
            reason = "only in part"
        if written < len(line) and not self._full:
            self._full = True
            log("the journal cannot be written", reason=reason)
        return written == len(line)

    def _write_anew(self) -> None:
        with contextlib.suppress(OSError):
            self._new_file = os.open(self._new_path, _FLAGS | os.O_TRUNC, 0o600)
            self._left, self._new_lines = self._entries(), 0

    def _write_on(self, new: int, line: bytes) -> None:
        """Write an event, and some of what has to be kept, and the last time put it in place."""
        lines = [line]
        for entry in self._left:
            lines.append(_line(entry))
            if len(lines) > _AT_ONCE:
                break
        self._new_lines += len(lines)
        whole = self._write(new, b"".join(lines))
        if whole and len(lines) > _AT_ONCE:
            return
        if whole:
            self._new_path.replace(self._path)
            new, self._file = self._file, new
        else:
            self._new_path.unlink(missing_ok=True)
        self._lines, self._new_file = self._new_lines, None
        # With its last descriptor go hundreds of megabytes, which takes the kernel a while.
        threading.Thread(target=os.close, args=[new]).start()


def _line(event: Entry | Forgotten) -> bytes:
    return json.dumps(event).encode() + b"\n"


def _is_torn(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        return size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"


def _blocks(path: Path) -> Iterator[list[bytes]]:
    with path.open("rb", buffering=_READ_BYTES) as file:
        while lines := list(itertools.islice(file, _READ_LINES)):
            yield lines


def _events(lines: list[bytes]) -> list[Entry | Forgotten]:
    """What whole lines say; all at once is twice as quick as one by one."""
    said = json.loads(b"[%b]" % b",".join(lines))
    return [Forgotten(*one) if len(one) == 1 else Entry(*one) for one in said]
