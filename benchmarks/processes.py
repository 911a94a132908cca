"""The processes of a system, and what they take."""

import contextlib
import os
from pathlib import Path

from mme.process_tree import descendants, memory_bytes

__all__ = ["cpu_seconds", "descendants", "memory_bytes"]


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
