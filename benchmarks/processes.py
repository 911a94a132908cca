"""The processes of a system, and what they take."""

import contextlib
import os
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, children.read_text().split())
    return found


def memory_bytes(pid: int) -> int:
    """Proportional set size of the process and all below it: pages that they share count once."""
    total = 0
    for process in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += 1024 * int(line.split()[1])
    return total


def cpu_seconds(pid: int) -> dict[str, float]:
    """Processor time of the process and all below it, by what they are."""
    seconds: dict[str, float] = {}
    for process in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            command = Path(f"/proc/{process}/cmdline").read_text()
            kinds = {"container.gate": "gate", "ModelServer": "java", "worker": "worker"}
            kind = next((kind for word, kind in kinds.items() if word in command), "other")
            ticks = int(fields[11]) + int(fields[12])
            seconds[kind] = seconds.get(kind, 0.0) + ticks / os.sysconf("SC_CLK_TCK")
    return seconds
