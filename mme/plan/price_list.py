"""The AWS Price List API: its answers, as a file of prices.

Its JSON's frame is documented; the attributes of serverless products are not, and no account was
there to look: what is not understood is left out, and the file then has none for serverless.
"""

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mme.aws import Aws, one_line
from mme.errors import CommandError
from mme.plan.prices import PROCESSED

ENDPOINT_REGION = "us-east-1"  # the API has few endpoints; each of them knows all regions' prices
_SERVICE = "AmazonSageMaker"
_HOUR = {"hrs", "hour", "hours", "hr"}
_SECOND = {"second", "seconds", "sec"}
_MB_A_GB = 1024

Found = dict[str, dict[str, dict[str, float]]]  # hosting or serverless, region, what: dollars


def refresh(aws: Aws, region: str, file: Path) -> str:
    """Write a new file of prices, of the region alone; a line that says what is in it.

    Args:
        aws: in ``ENDPOINT_REGION``.
        region: whose prices.
        file: written, or written over.

    Raises:
        CommandError: AWS refuses, or knows no prices of the region.
    """
    with one_line():
        products = list(_products(aws, region))
    found = parse(products)
    hosting = found["hosting"].get(region, {})
    if not hosting:
        raise CommandError(f"AWS's price list has no hosting prices of {region}", status=1)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    try:
        file.write_text(dump(found, today))
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}", status=1) from None
    return f"{file}: {len(hosting)} instance types in {region}, of {today}"


def _products(aws: Aws, region: str) -> Iterator[str]:
    """All of the region's products; each is a text of JSON."""
    pages = aws.client("pricing").get_paginator("get_products")
    for page in pages.paginate(
        ServiceCode=_SERVICE,
        FormatVersion="aws_v1",
        Filters=[{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}],
    ):
        yield from page["PriceList"]


def parse(products: Iterable[str]) -> Found:
    """What hosting and serverless inference cost on demand; other products are passed over.

    Args:
        products: each a product in the API's JSON (``product``, ``terms``), as GetProducts has
            them in ``PriceList``.
    """
    found: Found = {"hosting": {}, "serverless": {}}
    for text in products:
        item = json.loads(text)
        attributes = item.get("product", {}).get("attributes", {})
        region = attributes.get("regionCode")
        price = _on_demand(item)
        if not region or price is None:
            continue
        dollars, unit = price
        kind = _instance_type(attributes)
        if "serverless" in json.dumps(attributes).lower():
            memory = _memory_mb(attributes)
            if unit in _SECOND and memory:
                found["serverless"].setdefault(region, {})[str(memory)] = dollars
            elif unit == "gb":
                found["serverless"].setdefault(region, {})[PROCESSED] = dollars
        elif kind and attributes.get("component", "").lower() == "hosting" and unit in _HOUR:
            found["hosting"].setdefault(region, {})[kind] = dollars
    return found


def _instance_type(attributes: Mapping[str, str]) -> str | None:
    """``ml.m5.large``; ``instanceType`` has a use behind it (``ml.m5.large-Hosting``)."""
    name = attributes.get("instanceName") or attributes.get("instanceType", "").partition("-")[0]
    return name if name.startswith("ml.") else None


def _memory_mb(attributes: Mapping[str, str]) -> int | None:
    """``4 GB``, ``4096 MB`` or a usage type that ends so, in MB."""
    for key in ("memory", "memorySize", "usagetype"):
        said = re.search(r"(\d+) ?([GM])i?B\b", attributes.get(key, ""))
        if said:
            return int(said[1]) * (_MB_A_GB if said[2] == "G" else 1)
    return None


def _on_demand(item: Mapping[str, Any]) -> tuple[float, str] | None:
    """Dollars and the unit, in small letters; None where nothing is to be paid on demand."""
    for term in item.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            dollars = float(dimension.get("pricePerUnit", {}).get("USD", 0))
            if dollars > 0:
                return dollars, str(dimension.get("unit", "")).lower()
    return None


def dump(found: Found, date: str) -> str:
    """The file's text."""
    lines = [
        f'date = "{date}"',
        'source = "the AWS Price List API, GetProducts of AmazonSageMaker"',
    ]
    for table, regions in found.items():
        for region, prices in sorted(regions.items()):
            if table == "serverless" and (PROCESSED not in prices or len(prices) == 1):
                continue  # half of it says nothing
            lines += ["", f"[{table}.{region}]"]
            lines += [
                f'"{name}" = {price:.10f}'.rstrip("0") for name, price in sorted(prices.items())
            ]
    return "\n".join(lines) + "\n"
