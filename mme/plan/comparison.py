"""Many endpoints against one, as a plan's file states them: instances, prices, the month's bill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mme.errors import CommandError
from mme.instance_types import GIB, shape
from mme.plan.prices import Prices

_SIDE = {"instance_type", "instances", "hourly"}
_KEYS = {"name", "models", "single", "multi", "p90_ms", "note"}


@dataclass(frozen=True)
class Side:
    """An endpoint: its instances, and the dollars an hour that one of them is said to take."""

    instance_type: str
    instances: int
    hourly: float
    endpoints: int
    monthly: float


@dataclass(frozen=True)
class Comparison:
    """One endpoint a model, against one for all.

    Attributes:
        name: what the models are.
        models: how many.
        single: an endpoint a model, all of them.
        multi: the one for all.
        p90_ms: as both are said to have; None where nobody says.
        note: what is to be said of it.
    """

    name: str
    models: int
    single: Side
    multi: Side
    p90_ms: float | None
    note: str

    @property
    def saved(self) -> float:
        """Dollars a month."""
        return self.single.monthly - self.multi.monthly

    @property
    def saved_share(self) -> float:
        """Of what the single ones take."""
        return self.saved / self.single.monthly


def parse(tables: Any, prices: Prices, file: str) -> list[Comparison]:
    """The file's ``[[comparison]]`` tables.

    Raises:
        CommandError: one of them is something else; the message says what.
    """
    if not isinstance(tables, Sequence) or not all(isinstance(one, Mapping) for one in tables):
        raise CommandError(f"{file}: comparison must be tables: write [[comparison]]")
    return [_one(table, prices, file) for table in tables]


def _one(table: Mapping[str, Any], prices: Prices, file: str) -> Comparison:
    _known(table, _KEYS, f"{file}: comparison")
    models = _whole(table.get("models"), f"{file}: comparison.models")
    p90 = table.get("p90_ms")
    if p90 is not None and (isinstance(p90, bool) or not isinstance(p90, int | float) or p90 <= 0):
        raise CommandError(f"{file}: comparison.p90_ms is {p90!r}: it must be above 0")
    return Comparison(
        name=_text(table.get("name", f"{models:,} models"), f"{file}: comparison.name"),
        models=models,
        single=_side(table, "single", models, prices, file),
        multi=_side(table, "multi", 1, prices, file),
        p90_ms=p90,
        note=_text(table.get("note", ""), f"{file}: comparison.note"),
    )


def _side(table: Mapping[str, Any], name: str, endpoints: int, prices: Prices, file: str) -> Side:
    where = f"{file}: comparison.{name}"
    side = table.get(name)
    if not isinstance(side, Mapping):
        raise CommandError(f'{where} is missing: {{ instance_type = "ml.…", instances = 2 }}')
    _known(side, _SIDE, where)
    kind = _text(side.get("instance_type"), f"{where}.instance_type")
    try:
        shape(kind)
    except ValueError as error:
        raise CommandError(f"{where}: {error}") from None
    instances = _whole(side.get("instances"), f"{where}.instances")
    hourly = side.get("hourly", None)
    if hourly is None:
        hourly = prices.hour(kind)
    elif isinstance(hourly, bool) or not isinstance(hourly, int | float) or not hourly > 0:
        raise CommandError(f"{where}.hourly is {hourly!r}: it must be above 0")
    monthly = endpoints * prices.month(kind, instances, hourly)
    return Side(kind, instances, float(hourly), endpoints, monthly)


def table(one: Comparison) -> str:
    """As the story has it: two columns of figures."""
    sides = (one.single, one.multi)
    rows = [
        ("", "one endpoint a model", "one multi-model endpoint"),
        ("dollars a month", *(f"${side.monthly:,.0f}" for side in sides)),
        ("instance type", *(side.instance_type for side in sides)),
        ("its memory", *(f"{shape(side.instance_type)[1] / GIB:g} GiB" for side in sides)),
        ("dollars an hour", *(f"${side.hourly:.3f}" for side in sides)),
        ("instances an endpoint", *(f"{side.instances}" for side in sides)),
        ("endpoints", *(f"{side.endpoints:,}" for side in sides)),
    ]
    if one.p90_ms is not None:
        rows.append(("p90 latency, as published", *[f"{one.p90_ms:g} ms"] * 2))
    lines = [f"{one.name}: {one.models:,} models", ""]
    lines += [f"  {row[0]:<26}{row[1]:>22}{row[2]:>26}".rstrip() for row in rows]
    lines += ["", f"  saved: ${one.saved:,.0f} a month, {one.saved_share:.0%}"]
    if one.note:
        lines.append(f"  {one.note}")
    return "\n".join(lines)


def _known(table: Mapping[str, Any], keys: set[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise CommandError(f"{where}.{key} is unknown; there are {', '.join(sorted(keys))}")


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise CommandError(f"{where} is {value!r}: it must be a whole number, 1 or more")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise CommandError(f"{where} is {value!r}: it must be a text")
    return value
