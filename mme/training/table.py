"""CSV files with a header, read into one array of float32 a group, without pandas."""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from mme.errors import CommandError
from mme.training.fit import Failed, Group
from mme.training.lines import Lines

_LOOK_ROWS = 4096  # between two calls of who looks


class Table:
    """The groups of some files.

    Args:
        by: the groups' column.
        target: the column to predict.
        share: which groups are to be kept; all by default.
        look: told every few thousand rows how many there were; it raises when reading is to end.

    Attributes:
        seen: rows read, also those of groups that are not kept.
        features: the columns beside the two, in the files' order.
    """

    def __init__(
        self,
        by: str,
        target: str,
        share: "Share | None" = None,
        look: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._by, self._target, self._look = by, target, look
        self._share = share or Share(0, 1)
        self.seen = 0
        self.features: tuple[str, ...] = ()
        self._rows: dict[str, array[float]] = {}
        self._labels: dict[str, array[float]] = {}
        self._kept: dict[str, bool] = {}  # by group: whether its rows are
        self._bad: dict[str, str] = {}

    def read(self, file: Path, name: str) -> None:
        """Add a file's rows. A group with a cell that is no number fails, and nothing else.

        Args:
            file: to read.
            name: that errors give it.

        Raises:
            CommandError: it cannot be read, or has other columns than the files before it.
        """
        with Lines(file, name, self._by, self._target) as lines:
            if not lines.header:
                return
            self._same_columns(name, lines.features)
            for row in lines:
                self.seen += 1
                if not self.seen % _LOOK_ROWS:
                    self._look(self.seen)
                self._add(row[lines.group], row, lines)

    def _add(self, group: str, row: list[str], lines: Lines) -> None:
        if group not in self._kept:
            self._kept[group] = self._share.has(group)
            if self._kept[group]:
                self._rows[group], self._labels[group] = array("f"), array("d")
        if not self._kept[group]:
            return
        try:
            *features, label = lines.values(row)
        except ValueError as error:
            self._bad[group], self._kept[group] = str(error), False
            del self._rows[group], self._labels[group]
            return
        self._rows[group].extend(features)
        self._labels[group].append(label)

    def _same_columns(self, name: str, features: tuple[str, ...]) -> None:
        self.features = self.features or features
        if odd := sorted(set(features) ^ set(self.features)):
            raise CommandError(
                f"{name} has other columns than the files before it: {', '.join(odd)}"
            )
        if features != self.features:  # what is asked of a model has no names
            raise CommandError(f"{name} has its columns in another order than the files before it")

    def __len__(self) -> int:
        """How many groups there are, those among them that have failed."""
        return len(self._rows) + len(self._bad)

    def failed(self) -> list[Failed]:
        """The groups with a cell that is no number."""
        return [Failed(name, reason) for name, reason in self._bad.items()]

    def groups(self) -> Iterator[Group]:
        """The others, by name; each is forgotten here when it is given."""
        for name in sorted(self._rows):
            rows = np.frombuffer(self._rows.pop(name), dtype=np.float32)
            labels = np.frombuffer(self._labels.pop(name), dtype=np.float64)
            shaped = rows.reshape(-1, len(self.features))
            yield Group(name, self.features, self._target, shaped, labels)


class Share:
    """Which groups are this host's, where all hosts have all data.

    A group goes to the host that a digest of its name points to: the same one in each run.

    Args:
        host: this one's place among all.
        hosts: how many there are; 1 where this host's files are its own.
    """

    def __init__(self, host: int, hosts: int) -> None:
        self._host, self._hosts = host, hosts

    def has(self, group: str) -> bool:
        """Whether the group is this host's."""
        digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self._hosts == self._host
