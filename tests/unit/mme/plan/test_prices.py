"""Prices: the file, what is refused of it, and what AWS's own list is read as."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mme.errors import CommandError
from mme.instance_types import shape
from mme.plan import price_list, prices
from mme.plan.options import USUAL

FILE: dict[str, Any] = {
    "date": "2024-01-01",
    "source": "a test",
    "hosting": {"us-east-1": {"ml.m5.large": 0.1}},
    "serverless": {"us-east-1": {"1024": 0.00002, "gb_processed": 0.016}},
}


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "eu-west-1"])
def test_own(region: str) -> None:
    """Our own file has all usual types in each of its regions, and each name is a type."""
    own = prices.read(None, region)
    assert own.date
    assert set(USUAL) <= set(own.hourly)
    for kind in own.hourly:
        assert shape(kind)[0] > 0


def test_month() -> None:
    """A month has 720 hours."""
    own = prices.parse(FILE, "us-east-1", "file")
    assert own.month("ml.m5.large", 2) == pytest.approx(144)
    assert own.serverless is not None
    assert own.serverless.second == {1024: 0.00002}


def test_unknown_type() -> None:
    """A type without a price: the message says how to add it."""
    with pytest.raises(CommandError, match=r'no price of ml.z9.large in us-east-1: add "ml.z9'):
        prices.parse(FILE, "us-east-1", "file").hour("ml.z9.large")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dat": 1}, "dat is unknown"),
        ({"date": 2}, "date is missing"),
        ({"hosting": 1}, "hosting must be a table"),
        ({"hosting": {}}, "no prices of us-east-1; its regions: none"),
        ({"hosting": {"us-east-1": {"ml.m5.large": "1"}}}, "a price is a number"),
        ({"hosting": {"us-east-1": {"ml.m5.large": -1}}}, "a price is above 0"),
        ({"serverless": {"us-east-1": {"1024": 1.0}}}, "must have gb_processed"),
        ({"serverless": {"us-east-1": {"big": 1.0}}}, "is no memory in MB"),
    ],
)
def test_bad_file(change: dict[str, Any], says: str) -> None:
    """What is no file of prices is refused in one line."""
    with pytest.raises(CommandError, match=says) as refused:
        prices.parse(FILE | change, "us-east-1", "file")
    assert "\n" not in str(refused.value)


def test_unreadable(tmp_path: Path) -> None:
    """So is what is no TOML, and what is not there."""
    file = tmp_path / "prices.toml"
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        prices.read(file, "us-east-1")
    file.write_text("date =")
    with pytest.raises(CommandError, match="cannot be read"):
        prices.read(file, "us-east-1")


def product(unit: str, dollars: str, **attributes: str) -> str:
    """A product in the shape that the API documents."""
    return json.dumps(
        {
            "product": {
                "productFamily": "ML Instance",
                "attributes": {"regionCode": "us-east-1", **attributes},
                "sku": "SKU",
            },
            "serviceCode": "AmazonSageMaker",
            "terms": {
                "OnDemand": {
                    "SKU.JRTCKXETXF": {
                        "priceDimensions": {
                            "SKU.JRTCKXETXF.6YS6EN2CT7": {
                                "unit": unit,
                                "beginRange": "0",
                                "endRange": "Inf",
                                "pricePerUnit": {"USD": dollars},
                            }
                        },
                        "sku": "SKU",
                        "effectiveDate": "2024-01-01T00:00:00Z",
                    }
                }
            },
            "version": "20240101",
            "publicationDate": "2024-01-01T00:00:00Z",
        }
    )


PRODUCTS = [
    product("Hrs", "0.1150000000", instanceName="ml.m5.large", component="Hosting"),
    product("Hrs", "0.1020000000", instanceType="ml.c5.large-Hosting", component="Hosting"),
    product("Hrs", "0.2000000000", instanceName="ml.m5.large", component="Training"),
    product("Hrs", "0.0000000000", instanceName="ml.m5.xlarge", component="Hosting"),
    product("Seconds", "0.0000200000", usagetype="ServerlessInf:1GB"),
    product("GB", "0.0160000000", usagetype="ServerlessInf:Data"),
    json.dumps({"product": {"attributes": {}}, "terms": {}}),
]


def test_price_list() -> None:
    """Hosting is taken from the list, training and what is free are not; the file reads back."""
    found = price_list.parse(PRODUCTS)
    assert found["hosting"] == {"us-east-1": {"ml.m5.large": 0.115, "ml.c5.large": 0.102}}
    assert found["serverless"] == {"us-east-1": {"1024": 0.00002, "gb_processed": 0.016}}
    text = price_list.dump(found, "2024-01-02")
    again = prices.parse(tomllib.loads(text), "us-east-1", "file")
    assert again.date == "2024-01-02"
    assert again.hour("ml.c5.large") == 0.102


class Pricing:
    """AWS with two pages of products."""

    def client(self, service: str) -> Any:
        """The one service that it has."""
        assert service == "pricing"
        return self

    def get_paginator(self, operation: str) -> Any:
        """Of the one operation that it has."""
        assert operation == "get_products"
        return self

    def paginate(self, **asked: Any) -> Any:
        """Two pages, of the region that is asked for."""
        assert asked["ServiceCode"] == "AmazonSageMaker"
        (by_region,) = asked["Filters"]
        here = PRODUCTS if by_region["Value"] == "us-east-1" else []
        return [{"PriceList": here[:1]}, {"PriceList": here[1:]}]


class Denied(Pricing):
    """AWS, of somebody who may not ask for prices."""

    def paginate(self, **asked: Any) -> Any:
        """What boto3 raises."""
        assert asked
        message = "User: arn:aws:iam::1:user/a is not authorized to perform: pricing:GetProducts"
        error = {"Error": {"Code": "AccessDeniedException", "Message": message}}
        raise ClientError(error, "GetProducts")  # type: ignore[arg-type]  # a part


def test_refresh_denied(tmp_path: Path) -> None:
    """Without the permission it is one line that names it, and no file."""
    with pytest.raises(CommandError, match=r"needs the permission pricing:GetProducts$") as refused:
        price_list.refresh(Denied(), "us-east-1", tmp_path / "new.toml")  # type: ignore[arg-type]  # a part
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_refresh(tmp_path: Path) -> None:
    """All pages are read into a file that can be planned with; a region without prices is not."""
    file = tmp_path / "new.toml"
    said = price_list.refresh(Pricing(), "us-east-1", file)  # type: ignore[arg-type]  # a part
    assert "2 instance types in us-east-1" in said
    assert prices.read(file, "us-east-1").hour("ml.m5.large") == 0.115
    with pytest.raises(CommandError, match="no hosting prices of mars-1"):
        price_list.refresh(Pricing(), "mars-1", file)  # type: ignore[arg-type]  # a part
