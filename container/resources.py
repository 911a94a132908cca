"""What the machine, or the container's limits, let us use."""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cpus(cgroup: Path = _CGROUP) -> int:
    """CPUs that may be used: those we are bound to, or less by the container's quota."""
    bound = len(os.sched_getaffinity(0))
    quota, period = _words(cgroup / "cpu.max", 2)
    if not quota:  # the first version of control groups
        (quota,) = _words(cgroup / "cpu" / "cpu.cfs_quota_us", 1)
        (period,) = _words(cgroup / "cpu" / "cpu.cfs_period_us", 1)
    if quota.isdigit() and period.isdigit():
        return max(1, min(bound, math.ceil(int(quota) / int(period))))
    return bound


def memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Memory that may be used: the machine's, or less by the container's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (limit,) = _words(cgroup / "memory.max", 1)
    if not limit:
        (limit,) = _words(cgroup / "memory" / "memory.limit_in_bytes", 1)
    return min(machine, int(limit)) if limit.isdigit() else machine


def _words(file: Path, count: int) -> list[str]:
    """So many words of a file, empty where there is no such file."""
    try:
        words = file.read_text().split()
    except OSError:
        words = []
    return (words + [""] * count)[:count]
