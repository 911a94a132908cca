"""How far jobs are: a bar on a terminal, and quiet lines elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm

_EVERY_SECONDS = 30.0  # between two lines, where nothing else changes


class Progress:
    """How far it is.

    Args:
        total: models, where that is known.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._begun = time.monotonic()
        self._said, self._words = -_EVERY_SECONDS, ""
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> Self:
        """Show it."""
        self._bar = tqdm(total=self._total, unit="model", disable=None)
        return self

    def __exit__(self, *_: object) -> None:
        """Show it no more."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def at(self, done: int, words: str) -> None:
        """So many models are done; and what else is to be said."""
        if self._bar is None:
            return
        if not self._bar.disable:
            self._bar.set_postfix_str(words)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if words == self._words and now - self._said < _EVERY_SECONDS:
            return
        self._said, self._words = now, words
        of = "" if self._total is None else f" of {self._total}"
        self.say(f"{done}{of} models, {words}, {now - self._begun:.0f} s")

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
