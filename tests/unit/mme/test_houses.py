"""The story's houses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mme import cli
from mme.houses import CITIES, make_houses


def test_the_formula() -> None:
    """Every price is the formula of its house, and every feature is within its range."""
    houses = make_houses()
    price = (
        150 * houses.SQUARE_FEET
        + 10_000 * houses.NUM_BEDROOMS
        + 15_000 * houses.NUM_BATHROOMS
        + 15_000 * houses.LOT_ACRES
        + 15_000 * houses.GARAGE_SPACES
        - 5_000 * (2019 - houses.YEAR_BUILT)
    ).astype(int)
    assert (price == houses.PRICE).all()
    assert set(houses.NUM_BEDROOMS) == {2, 3, 4, 5, 6}
    assert set(houses.NUM_BATHROOMS) == {1, 1.5, 2, 2.5, 3}
    assert set(houses.GARAGE_SPACES) == {0, 1, 2, 3}
    assert houses.YEAR_BUILT.max() == 2019
    assert houses.SQUARE_FEET.min() > 0
    assert houses.LOT_ACRES.min() > 0
    assert abs(houses.SQUARE_FEET.mean() - 3000) < 30
    assert abs(houses.SQUARE_FEET.std() - 750) < 30
    assert abs(houses.LOT_ACRES.mean() - 1) < 0.02


def test_a_thousand_a_city() -> None:
    """Ten cities have a thousand houses each, and no two cities the same ones."""
    houses = make_houses()
    assert list(houses.columns)[:2] == ["city", "PRICE"]
    assert houses.city.value_counts().to_dict() == dict.fromkeys(CITIES, 1000)
    first = houses[houses.city == CITIES[0]].PRICE.to_numpy()
    second = houses[houses.city == CITIES[1]].PRICE.to_numpy()
    assert not np.array_equal(first, second)


def test_the_same_bytes(tmp_path: Path) -> None:
    """The same seed writes the same file, another seed another, and it reads back as it was."""
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli.main(["houses", "--out", str(tmp_path / out), "--seed", str(seed)]) == 0
    a, b, c = ((tmp_path / out / "houses.csv").read_bytes() for out in "abc")
    assert a == b != c
    read = pd.read_csv(tmp_path / "a" / "houses.csv")
    pd.testing.assert_frame_equal(read, make_houses(seed=1), check_dtype=False)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--out", "OUT", "--houses", "0"], 2, "--houses must be 1 or more"),
        (["--out", "OUT", "--seed", "-1"], 2, "--seed 0 or more"),
        (["--out", "/dev/null/x"], 1, "/dev/null/x cannot be written: Not a directory"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: int,
    message: str,
) -> None:
    """A mistake in the command is one line, and nothing is written."""
    given = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    assert cli.main(["houses", *given]) == status
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
