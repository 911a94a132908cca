"""Memory: what there is, what a model takes, and giving back what unloaded models leave."""

import ctypes
import threading
from pathlib import Path

from handler.errors import Fault, HandlerError

MIB = 1024**2
_ENOUGH_BYTES = 16 * MIB  # of unloaded models, before memory is given back
_LEAST_RESERVE, _RESERVE_SHARE = 64 * MIB, 16  # and a sixteenth of the limit
_LARGE_BYTES = 8 * MIB  # of a file, before memory is looked at for it alone
_SLACK = 16  # by this part of it a model may be larger than the one whose place it takes
_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT = 2**60  # a version 1 control group without one says more than this

_libc = ctypes.CDLL(None)


class _Mallinfo(ctypes.Structure):
    _fields_ = [  # as ctypes has it
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


_HAS_MALLINFO = hasattr(_libc, "mallinfo2")  # glibc 2.33
if _HAS_MALLINFO:
    _libc.mallinfo2.restype = _Mallinfo


def heap_bytes() -> int | None:
    """Bytes that this process has from malloc and has not freed; None where libc cannot say."""
    if not _HAS_MALLINFO:
        return None
    info = _libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def oom_kills(cgroup: Path = _CGROUP) -> int:
    """How often the kernel has killed a process of this control group for want of memory."""
    for file in (cgroup / "memory.events", cgroup / "memory" / "memory.oom_control"):
        if (count := _field(file, "oom_kill")) is not None:
            return count
    return 0


def available_bytes(cgroup: Path = _CGROUP) -> tuple[int, int]:
    """Memory that can still be had, and the limit that it is counted from, in bytes.

    Of the control group's limit or the machine, whichever has less left. Files in the page cache
    count as available: the kernel drops them first.
    """
    machine = _meminfo("MemTotal"), _meminfo("MemAvailable")
    limit, used, stat = (
        _number(cgroup / "memory.max"),
        _number(cgroup / "memory.current"),
        cgroup / "memory.stat",
    )
    if limit is None:
        first = cgroup / "memory"
        limit, used = (
            _number(first / "memory.limit_in_bytes"),
            _number(first / "memory.usage_in_bytes"),
        )
        stat = first / "memory.stat"
    if limit is None or used is None or limit > _NO_LIMIT:
        return machine[1], machine[0]
    cache = sum(_field(stat, name) or 0 for name in ("inactive_file", "active_file"))
    left = limit - used + cache
    return (left, limit) if left < machine[1] else (machine[1], machine[0])


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _field(file: Path, name: str) -> int | None:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), None)


def _meminfo(name: str) -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


class Room:
    """Decides whether a model may come in, before the machine is in trouble.

    Args:
        reserve: bytes that stay free for everything but models; 0 for the usual.
        most: bytes that all models may take together; 0 for whatever there is.
    """

    def __init__(self, reserve: int = 0, most: int = 0) -> None:
        self._reserve, self._most = reserve, most
        self._unseen = 0  # bytes that came in since memory was last looked at
        self._look_at = 0  # how many may, before it is looked at again
        self._freed = 0  # bytes of unloaded models that the heap can use again
        self._held = self._most_held = 0  # bytes of models now, and when there was room enough
        self._lock = threading.Lock()

    def enough(self, size: int) -> bool:
        """Whether with so many bytes more enough is freed to give it back."""
        return self._freed + size > _ENOUGH_BYTES

    def free(self, size: int) -> None:
        """Count a model of so many bytes that went; give memory back when it is enough."""
        with self._lock:
            self._freed += size
            self._held -= size
            if self._freed > _ENOUGH_BYTES:
                self._give_back()

    def check(self, size: int) -> None:
        """Look whether a file of so many bytes can be read, and copied for who tries it.

        Raises:
            HandlerError: 507, there is no room for that.
        """
        if size > _LARGE_BYTES:
            with self._lock:
                self._look(2 * size, 2 * size)

    def take(self, size: int) -> None:
        """Count a model of so many bytes that comes.

        Raises:
            HandlerError: 507, there is no room for it.
        """
        with self._lock:
            if self._most and size > self._most:  # no unload would help
                raise HandlerError(
                    Fault.BAD_MODEL,
                    f"the model takes {size / MIB:.1f} MB, more than the {self._most / MIB:.1f} MB "
                    "that all models may take",
                )
            if self._most and self._held + size > self._most:
                raise HandlerError(
                    Fault.OUT_OF_MEMORY,
                    f"no memory for a model of {size / MIB:.1f} MB: models hold "
                    f"{self._held / MIB:.1f} of {self._most / MIB:.1f} MB; unload models and try "
                    "again",
                )
            need = self._need(size)
            if self._unseen + need > self._look_at:
                self._look(size, need)
                need = self._need(size)  # what was freed may be given back
            self._freed -= size - need
            self._unseen += need
            self._held += size
            if not self._replaces(0, size):
                self._most_held = self._held

    def _need(self, size: int) -> int:
        return size - min(size, self._freed)  # the heap has the rest from models that went

    def _replaces(self, more: int, size: int) -> bool:
        """Whether with so many bytes more all models hold no more than they once did."""
        return self._held + more <= self._most_held + size // _SLACK

    def _look(self, size: int, need: int) -> None:
        available, limit = available_bytes()
        reserve = self._reserve or _LEAST_RESERVE + limit // _RESERVE_SHARE
        # For each that went one may come, though half of the reserve has gone to something else.
        if self._replaces(size, size):
            reserve //= 2
        if available - need < reserve and self._freed:
            self._give_back()
            need = size
            available, limit = available_bytes()
        if available - need < reserve:
            raise HandlerError(
                Fault.OUT_OF_MEMORY,
                f"no memory for a model of {size / MIB:.1f} MB: {available / MIB:.0f} MB of "
                f"{limit / MIB:.0f} are free, and {reserve / MIB:.0f} stay so; unload models "
                "and try again",
            )
        self._unseen = 0
        self._look_at = (available - reserve) // 8

    def _give_back(self) -> None:
        self._freed = 0
        _libc.malloc_trim(0)  # glibc keeps what is not at the top of its heap
