"""``mme houses``: the story's synthetic data, a thousand houses for each of ten cities."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mme.errors import CommandError

CITIES = (
    "NewYork_NY",
    "LosAngeles_CA",
    "Chicago_IL",
    "Houston_TX",
    "Dallas_TX",
    "Phoenix_AZ",
    "Philadelphia_PA",
    "SanAntonio_TX",
    "SanDiego_CA",
    "SanFrancisco_CA",
)
NEWEST_YEAR = 2019
_SMALLEST_SQUARE_FEET = 300  # the normal distribution of sizes reaches below zero; houses do not
_SMALLEST_LOT_ACRES = 0.05


def make_houses(
    cities: Sequence[str] = CITIES, houses: int = 1000, seed: int = NEWEST_YEAR
) -> pd.DataFrame:
    """Make houses for each city.

    Args:
        cities: a group of rows each.
        houses: rows a city.
        seed: the same seed gives the same houses.

    Returns:
        ``city``, then PRICE (dollars), YEAR_BUILT, SQUARE_FEET, NUM_BEDROOMS, NUM_BATHROOMS (by
        halves), LOT_ACRES and GARAGE_SPACES. The price is a formula of the rest.
    """
    random = np.random.default_rng(seed)
    return pd.concat([_city(city, houses, random) for city in cities], ignore_index=True)


def _city(city: str, houses: int, random: np.random.Generator) -> pd.DataFrame:
    year = np.minimum(NEWEST_YEAR, random.normal(1995, 10, houses).astype(int))
    feet = np.maximum(_SMALLEST_SQUARE_FEET, random.normal(3000, 750, houses).astype(int))
    bedrooms = random.integers(2, 7, houses)
    bathrooms = random.integers(2, 7, houses) / 2
    acres = np.maximum(_SMALLEST_LOT_ACRES, random.normal(1, 0.25, houses).round(2))
    garage = random.integers(0, 4, houses)
    price = (
        150 * feet
        + 10_000 * bedrooms
        + 15_000 * bathrooms
        + 15_000 * acres
        + 15_000 * garage
        - 5_000 * (NEWEST_YEAR - year)
    ).astype(int)
    return pd.DataFrame(
        {
            "city": city,
            "PRICE": price,
            "YEAR_BUILT": year,
            "SQUARE_FEET": feet,
            "NUM_BEDROOMS": bedrooms,
            "NUM_BATHROOMS": bathrooms,
            "LOT_ACRES": acres,
            "GARAGE_SPACES": garage,
        }
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument("--out", type=Path, required=True, help="the folder for houses.csv")
    parser.add_argument("--houses", type=int, default=1000, help="a city (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=NEWEST_YEAR, help="(default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write ``houses.csv``."""
    if args.houses < 1 or args.seed < 0:
        raise CommandError("--houses must be 1 or more, and --seed 0 or more")
    frame = make_houses(houses=args.houses, seed=args.seed)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        frame.to_csv(args.out / "houses.csv", index=False)
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error.strerror}", status=1) from None
    sys.stdout.write(f"{args.out / 'houses.csv'}: {len(frame):,} houses, {len(CITIES)} cities\n")
    return 0
