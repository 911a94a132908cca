"""Rows from JSON Lines: a value a line, of any shape that a row has in JSON."""

from handler.decode import cells, json
from handler.decode.cells import Floats
from handler.decode.columns import Columns
from handler.decode.mistakes import refuse
from handler.errors import HandlerError

_MARK = b"\xef\xbb\xbf"


def read(body: bytes, columns: Columns) -> Floats:
    """The rows; a line is a list of numbers, or an object.

    Raises:
        HandlerError: 400, a line is not JSON, or not a row.
    """
    if not body.isascii():
        cells.text(body)
    body = body.removeprefix(_MARK).removesuffix(b"\n")
    rows = [_value(row, line) for row, line in enumerate(body.split(b"\n"), start=1)]
    return json.table(rows, body, columns, lines=True)


def _value(row: int, line: bytes) -> object:
    try:
        return json.parsed(line)
    except HandlerError as error:
        refuse(f"row {row}: {error.message}" if line.strip() else f"row {row} is empty")
