"""Rows from libsvm: what a row does not name is missing."""

import numpy as np

from handler.decode import cells
from handler.decode.cells import Floats
from handler.decode.columns import Columns
from handler.decode.mistakes import refuse, shown, too_many


def read(body: bytes, columns: Columns, base: int) -> Floats:
    """The rows of ``[label] index:value …``; labels are ignored.

    Args:
        body: text, a row a line.
        columns: of the model.
        base: the index of its first column, 0 or 1.

    Raises:
        HandlerError: 400, a row is not right.
    """
    count, lines = columns.count, _lines(cells.text(body))
    most = max(1, cells.MOST_CELLS // count)
    if len(lines) > most:
        too_many(len(lines), count, most)
    rows = np.full((len(lines), count), np.nan)
    for row, line in enumerate(lines, start=1):
        tokens = line.split()
        if not tokens:
            refuse(f"row {row} is empty; a row without features has at least a label")
        if ":" not in tokens[0]:
            cells.number(tokens.pop(0), row, 1)  # the label, which a prediction does not need
        seen = set()
        for token in tokens:
            index, _, value = token.partition(":")
            if index == "qid":
                continue
            if not (value and index.isascii() and index.isdigit() and len(index) < 10):
                refuse(f"row {row}: {shown(token)} is not index:value")
            feature = int(index) - base
            if not 0 <= feature < count:
                refuse(
                    f"row {row}: index {index} is out of range: features are {base} to "
                    f"{count - 1 + base} (MME_LIBSVM_BASE is {base})"
                )
            if feature in seen:
                refuse(f"row {row}: index {index} comes twice")
            seen.add(feature)
            rows[row - 1, feature] = cells.number(value, row, feature + 1)
    return cells.float32(rows)


def _lines(text: str) -> list[str]:
    """The lines, without the end of the last one."""
    return text.removesuffix("\n").removesuffix("\r").replace("\r\n", "\n").split("\n")
