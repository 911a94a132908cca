"""Training: a model a group, the same bytes each time, and what cannot be trained is said."""

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from mme import cli
from mme.houses import make_houses
from mme.train import MODEL_FILE, Failed, Parameters, Trained, train_groups

CITIES = ("Chicago_IL", "Houston_TX", "Dallas_TX")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three cities' houses as a file."""
    make_houses(CITIES, houses=200).to_csv(tmp_path / "houses.csv", index=False)
    return tmp_path / "houses.csv"


def run(data: Path, out: Path, *options: str) -> int:
    """Run the command as a user would."""
    words = ["train", str(data), "--by", "city", "--target", "PRICE", "--out", str(out)]
    return cli.main([*words, *options])


def booster_of(archive: Path) -> xgboost.Booster:
    with tarfile.open(archive) as tape:
        assert tape.getnames() == [MODEL_FILE]
        member = tape.extractfile(MODEL_FILE)
        assert member is not None
        return xgboost.Booster(model_file=bytearray(member.read()))


def test_a_model_a_group(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each group has an archive and a row of the table; quietly where there is no terminal."""
    assert run(data, tmp_path / "out") == 0
    archives = sorted(path.name for path in (tmp_path / "out").glob("*.tar.gz"))
    assert archives == sorted(f"{city}.tar.gz" for city in CITIES)
    table = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert list(table.columns) == ["model", "rows", "rmse", "seconds", "bytes"]
    assert list(table.model) == sorted(CITIES)
    assert list(table.rows) == [200] * 3
    for row in table.itertuples():
        archive = tmp_path / "out" / f"{row.model}.tar.gz"
        assert archive.stat().st_size == row.bytes
        booster = booster_of(archive)
        assert booster.num_boosted_rounds() == 25
        assert booster.num_features() == 6
    captured = capsys.readouterr()
    assert "Chicago_IL" in captured.out
    assert captured.err == ""


def test_rmse_is_of_the_served_model() -> None:
    """The error in the table is far below the spread of the prices: the model has learnt."""
    houses = make_houses(("Chicago_IL",))
    (result,) = train_groups(houses, "city", "PRICE", jobs=1)
    assert isinstance(result, Trained)
    assert result.rmse < 0.25 * houses.PRICE.std()


def test_the_same_bytes(data: Path, tmp_path: Path) -> None:
    """The same data makes the same archives, however many jobs run at once."""
    assert run(data, tmp_path / "one", "--jobs", "1") == 0
    assert run(data, tmp_path / "two", "--jobs", "2") == 0
    for city in CITIES:
        one, two = (tmp_path / out / f"{city}.tar.gz" for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_groups_that_fail(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Groups that cannot be trained are reported, each with its cause; the others are written."""
    frame = pd.read_csv(data)
    few = frame.head(3).assign(city="Small_TX")
    path = frame.head(50).assign(city="../evil")
    holes = frame.head(50).assign(city="Holes_TX")
    holes.loc[holes.index[0], "PRICE"] = np.nan
    nameless = frame.head(50).assign(city=np.nan)
    pd.concat([frame, few, path, holes, nameless]).to_csv(data, index=False)
    assert run(data, tmp_path / "out") == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "mme train: '' failed: the group has no name",
        "mme train: '../evil' failed: the group's name cannot be a file's name",
        "mme train: 'Holes_TX' failed: PRICE is missing or infinite in some rows",
        "mme train: 'Small_TX' failed: 3 rows; a model needs 10 at least",
    ]
    assert len(list((tmp_path / "out").glob("*.tar.gz"))) == len(CITIES)
    assert not list(tmp_path.glob("evil*"))


def test_missing_features(data: Path, tmp_path: Path) -> None:
    """A feature may be missing in some rows."""
    frame = pd.read_csv(data)
    frame.loc[frame.index % 7 == 0, "LOT_ACRES"] = np.nan
    frame.to_csv(data, index=False)
    assert run(data, tmp_path / "out") == 0


def test_early_stopping() -> None:
    """With early stopping the model has the rounds up to its best one, and no more."""
    houses = make_houses(("Chicago_IL",), houses=300)
    options = {"parameters": Parameters(eta=1.0, gamma=0, min_child_weight=1), "rounds": 200}
    (stopped,) = train_groups(houses, "city", "PRICE", early_stopping=3, jobs=1, **options)
    (whole,) = train_groups(houses, "city", "PRICE", jobs=1, **options)
    assert isinstance(stopped, Trained)
    assert isinstance(whole, Trained)
    assert len(stopped.archive) < len(whole.archive) / 4


def test_as_a_library() -> None:
    """Groups come as they are done, failed ones among them as values."""
    houses = pd.concat([make_houses(CITIES, houses=50), make_houses(("X",), houses=1)])
    results = list(train_groups(houses, "city", "PRICE", jobs=2))
    assert {result.name for result in results} == {*CITIES, "X"}
    assert [result.name for result in results if isinstance(result, Failed)] == ["X"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.csv", "--by", "city", "--target", "PRICE"], "cannot be read"),
        (["DATA", "--by", "town", "--target", "PRICE"], "no column town"),
        (["DATA", "--by", "city", "--target", "COST"], "no column COST"),
        (["DATA", "--by", "PRICE", "--target", "SQUARE_FEET"], "are not: city"),
    ],
)
def test_mistakes(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    """A mistake in the command is one line and status 2."""
    given = [str(data) if word == "DATA" else word for word in words]
    assert cli.main(["train", *given, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
