"""The columns that a model has, and which of a request's are they."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from handler.decode.mistakes import refuse, shown

_LISTED = 10  # names in a message
_SHOWN = 40  # characters of each


class Columns(NamedTuple):
    """What a row must have: so many features, and perhaps their names, in the model's order."""

    count: int  # type: ignore[assignment]  # a tuple's own count() is not missed
    names: tuple[str, ...] = ()


def places(sent: Sequence[str], columns: Columns, who: str) -> list[int]:
    """Where each of the model's columns is among those that were sent.

    Args:
        sent: names, in the order of the body.
        columns: the model's; it has names.
        who: names them, for the message: ``the header``, or ``row 3``.

    Returns:
        For each column of the model an index into ``sent``.

    Raises:
        HandlerError: 400, names are missing, unknown or doubled; at most ten are listed.
    """
    places = {name: place for place, name in enumerate(sent)}
    known = dict.fromkeys(columns.names)
    if len(known) != columns.count:
        refuse("the model does not have one name for each column; send rows without names")
    if len(sent) == columns.count and places.keys() == known.keys():
        return [places[name] for name in columns.names]
    wrong = {
        "missing": [name for name in known if name not in places],
        "unknown": [name for name in places if name not in known],
        "twice": [name for name, times in Counter(sent).items() if times > 1],
    }
    kinds = {kind: names for kind, names in wrong.items() if names}
    most = _LISTED // len(kinds)
    lists = "; ".join(f"{kind} {_listed(names, most)}" for kind, names in kinds.items())
    refuse(f"{who} does not name the model's columns: {lists}")


def _listed(names: Sequence[str], most: int) -> str:
    more = len(names) - most
    return _joined(names[:most]) + (f" and {more} more" if more > 0 else "")


def _joined(names: Iterable[str]) -> str:
    return ", ".join(shown(name, _SHOWN) for name in names)
