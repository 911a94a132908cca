"""A process and all below it: what they take, by the kernel's own files."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_GONE = (FileNotFoundError, ProcessLookupError)  # also of one that ends while its file is read


def descendants(pid: int) -> list[int]:
    """The process, which may have ended, and all below it.

    By every process's own parent: the kernel's list of a thread's children skips some of them while
    others end (proc(5)).
    """
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(*_GONE):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for parent in found:
        found += children.get(parent, [])
    return found


def memory_bytes(pid: int) -> int:
    """Proportional set size of all: a page that several have counts once."""
    return _sum(pid, "Pss:")


def anonymous_bytes(pid: int) -> int:
    """The same without pages of files, whose share changes when others map the files, too."""
    return _sum(pid, "Pss_Anon:")


def _sum(pid: int, field: str) -> int:
    total = 0
    for text in _read(pid, "smaps_rollup"):
        for line in text.splitlines():
            if line.startswith(field):
                total += 1024 * int(line.split()[1])
    return total


def cpu_seconds(pid: int) -> float:
    """Processor time of all, and of those that have ended below them."""
    ticks = 0
    for text in _read(pid, "stat"):
        # After the name, which may hold anything: user and system time, and those of the dead.
        ticks += sum(map(int, text.rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _read(pid: int, file: str) -> Iterator[str]:
    for process in descendants(pid):
        with contextlib.suppress(*_GONE):
            yield Path(f"/proc/{process}/{file}").read_text()
