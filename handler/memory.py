"""Memory that unloaded models leave goes back to the system, some megabytes at a time."""

import ctypes

_ENOUGH_BYTES = 16 * 1024**2  # of artifacts; a model takes half as much again

_libc = ctypes.CDLL(None)


class Freed:
    """What unloads have freed since memory was last given back."""

    def __init__(self) -> None:
        self._bytes = 0

    def enough(self, size: int) -> bool:
        """Whether it is enough with so many bytes more."""
        return self._bytes + size > _ENOUGH_BYTES

    def add(self, size: int) -> None:
        """Count an unloaded artifact of so many bytes; give memory back when it is enough."""
        self._bytes += size
        if self._bytes > _ENOUGH_BYTES:
            self._bytes = 0
            _libc.malloc_trim(0)  # glibc keeps what is not at the top of its heap
