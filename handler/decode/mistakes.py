"""The client's mistakes, in one sentence each, with the place."""

from typing import NoReturn

from handler.errors import Fault, HandlerError

_SHOWN = 20  # characters of a wrong value that an error message shows


def refuse(sentence: str) -> NoReturn:
    """Raise the client's mistake.

    Raises:
        HandlerError: 400, always.
    """
    raise HandlerError(Fault.BAD_REQUEST, sentence)


def wrong_width(row: int, sent: int, count: int) -> NoReturn:
    """Refuse a row that has ``sent`` columns instead of ``count``.

    Raises:
        HandlerError: 400, always.
    """
    refuse(f"row {row} has {sent} columns, the model has {count}")


def not_a_number(text: str, row: int, column: int | str) -> NoReturn:
    """Refuse a value, by the number or the name of its column.

    Raises:
        HandlerError: 400, always.
    """
    place = shown(column) if isinstance(column, str) else column
    refuse(f"row {row}, column {place}: {shown(text)} is not a number")


def too_many(rows: int, count: int, most: int) -> NoReturn:
    """Refuse more rows of ``count`` features than ``most``.

    Raises:
        HandlerError: 400, always.
    """
    refuse(f"{rows} rows of {count} features; send at most {most} at once")


def shown(text: str, characters: int = _SHOWN) -> str:
    """The text as a message may show it: quoted, printable, and not long."""
    return repr(text if len(text) <= characters else text[:characters] + "…")
