"""What AWS takes: a dated file of prices, and the month's bill of an endpoint."""

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mme.errors import CommandError
from mme.instance_types import shape

OWN = Path(__file__).with_name("prices.toml")
HOURS_A_MONTH = 720
PROCESSED = "gb_processed"
_TABLES = ("hosting", "serverless")
_KEYS = {"date", "source", *_TABLES}


@dataclass(frozen=True)
class Serverless:
    """Serverless inference in a region.

    Attributes:
        second: dollars a second of work, by the endpoint's memory in MB.
        gb_processed: dollars a GB of bodies, in or out.
    """

    second: Mapping[int, float]
    gb_processed: float


@dataclass(frozen=True)
class Prices:
    """One region's prices.

    Attributes:
        date: that they are of, as the file says it, as the next.
        source: where they are from.
        region: as AWS calls it.
        hourly: dollars an hour, by instance type.
        serverless: None where the file has none for the region.
        file: for messages.
    """

    date: str
    source: str
    region: str
    hourly: Mapping[str, float]
    serverless: Serverless | None
    file: str

    def hour(self, instance_type: str) -> float:
        """Dollars an hour.

        Raises:
            CommandError: the file does not say, or it is no instance type.
        """
        self._must_be_a_type(instance_type)
        price = self.hourly.get(instance_type)
        if price is None:
            raise CommandError(
                f"{self.file} has no price of {instance_type} in {self.region}: add "
                f'"{instance_type}" = DOLLARS_AN_HOUR below [hosting.{self.region}] in a copy of '
                "it, and give that with --prices"
            )
        return price

    def _must_be_a_type(self, name: str) -> None:
        try:
            shape(name)
        except ValueError:
            near = difflib.get_close_matches(name, self.hourly.keys() - {name}, 1)
        else:
            if name.startswith("ml."):
                return
            near = [f"ml.{name}"]
        cure = f"did you mean {near[0]}?" if near else "types are such as ml.m5.large"
        raise CommandError(f"{name!r} is no instance type of SageMaker: {cure}")

    def month(self, instance_type: str, instances: int, hourly: float | None = None) -> float:
        """Dollars for so many instances, all month; at the file's price if none is given."""
        price = self.hour(instance_type) if hourly is None else hourly
        return instances * price * HOURS_A_MONTH


def read(path: Path | None, region: str) -> Prices:
    """The prices of a region, from a file or from our own.

    Raises:
        CommandError: it cannot be read, or holds something else.
    """
    file = OWN if path is None else path
    try:
        table = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CommandError(f"{file} cannot be read: {reason}") from None
    return parse(table, region, file.name)


def parse(table: Mapping[str, Any], region: str, file: str) -> Prices:
    """The prices of a region.

    Args:
        table: ``date``, ``source``, ``hosting`` and, if it likes, ``serverless``, each by region.
        region: whose.
        file: for messages.

    Raises:
        CommandError: it is something else; the message says what.
    """
    for key in table:
        if key not in _KEYS:
            raise CommandError(f"{file}: {key} is unknown; prices have {', '.join(sorted(_KEYS))}")
    for key in ("date", "source"):
        if not isinstance(table.get(key), str):
            raise CommandError(f'{file}: {key} is missing: write {key} = "…"')
    for name in _TABLES:
        _table(table.get(name, {}), file, name)
    hosting = _table(table.get("hosting", {}).get(region, {}), file, f"hosting.{region}")
    if not hosting:
        there = ", ".join(table.get("hosting", {})) or "none"
        raise CommandError(
            f"{file} has no prices of {region}; its regions: {there}: choose one with --region, or "
            "write a new file with --refresh-prices"
        )
    hourly = {kind: _dollars(price, file, kind) for kind, price in hosting.items()}
    name = f"serverless.{region}"
    serverless = _table(table.get("serverless", {}).get(region, {}), file, name)
    return Prices(
        date=table["date"],
        source=table["source"],
        region=region,
        hourly=hourly,
        serverless=_serverless(serverless, file, name) if serverless else None,
        file=file,
    )


def _serverless(table: Mapping[str, Any], file: str, name: str) -> Serverless:
    seconds = {}
    for key, price in table.items():
        if key == PROCESSED:
            continue
        if not key.isdecimal():
            raise CommandError(f"{file}: {name}.{key} is no memory in MB, such as 1024")
        seconds[int(key)] = _dollars(price, file, f"{name}.{key}")
    if PROCESSED not in table or not seconds:
        raise CommandError(f"{file}: {name} must have {PROCESSED} and a price by memory in MB")
    return Serverless(seconds, _dollars(table[PROCESSED], file, f"{name}.{PROCESSED}"))


def _table(value: Any, file: str, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CommandError(f"{file}: {name} must be a table")
    return value


def _dollars(value: Any, file: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CommandError(f"{file}: {name} is {value!r}: a price is a number of dollars")
    if not (math.isfinite(value) and value > 0):
        raise CommandError(f"{file}: {name} is {value}: a price is above 0")
    return float(value)
