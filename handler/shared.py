"""What is known of a model, kept once for all models that are alike: there may be a million."""

import functools
from collections.abc import Callable
from typing import Generic, TypeVar

SMALL_BYTES = 4096  # so much is kept for the next such model, and counted nowhere
_LARGE_BYTES = 1024 * 1024  # more is not kept
_SMALL_ONES, _LARGE_ONES = 4096, 16

T = TypeVar("T")


class Shared(Generic[T]):
    """Calls a function once for arguments that are alike, as long as there are not too many.

    Args:
        make: the function.
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._small = functools.lru_cache(maxsize=_SMALL_ONES)(make)
        self._large = functools.lru_cache(maxsize=_LARGE_ONES)(make)

    def of(self, size: int) -> Callable[..., T]:
        """What to call where the outcome takes about so many bytes of memory."""
        if size <= SMALL_BYTES:
            return self._small
        return self._large if size <= _LARGE_BYTES else self._make
