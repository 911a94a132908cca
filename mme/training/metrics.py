"""The table of what was trained, a row a group, and who failed; the same wherever it is trained."""

import csv
import io
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mme.training.fit import Failed, Trained

_NAMED = 20  # failed groups that are named one by one


class Row(NamedTuple):
    """A group in the table; one that failed has a reason, and no numbers."""

    model: str
    rows: int | None = None
    rmse: float | None = None
    seconds: float | None = None
    bytes: int | None = None
    failed: str = ""

    @classmethod
    def of(cls, result: Trained | Failed) -> "Row":
        """The row of a result, whose archive is not kept."""
        if isinstance(result, Failed):
            return cls(result.name, failed=result.reason)
        rmse, seconds = round(result.rmse, 4), round(result.seconds, 4)
        return cls(result.name, result.rows, rmse, seconds, len(result.archive))


def as_csv(rows: Iterable[Row], **more: str) -> bytes:
    """The table, by name.

    Args:
        rows: in any order.
        more: columns that have the same word in each row.
    """
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow((*Row._fields, *more))
    lines.writerows((*row, *more.values()) for row in sorted(rows, key=_name))
    return text.getvalue().encode()


def _name(row: Row) -> str:
    return row.model


def say_failed(failed: Mapping[str, str], where: str) -> None:
    """Name the groups that failed, and why: the first ones, and where the others are."""
    for name, reason in sorted(failed.items())[:_NAMED]:
        sys.stderr.write(f"mme train: {name!r} failed: {reason}\n")
    if len(failed) > _NAMED:
        sys.stderr.write(f"mme train: {len(failed) - _NAMED} more failed: see {where}\n")
