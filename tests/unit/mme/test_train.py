"""Training: a model a group, the same bytes each time, and what cannot be trained is said."""

import io
import os
import pty
import subprocess
import sys
import tarfile
import termios
from dataclasses import asdict
from pathlib import Path

import joblib
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


def test_a_bar_on_a_terminal(data: Path, tmp_path: Path) -> None:
    """On a terminal a bar shows the progress, and no line repeats it."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))
    words = ["train", str(data), "--by", "city", "--target", "PRICE", "--out", str(tmp_path / "o")]
    done = subprocess.run(
        [sys.executable, "-m", "mme", *words, "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=end,
        text=True,
        timeout=60,
        check=True,
    )
    shown = os.read(terminal, 65536).decode()
    os.close(end)
    os.close(terminal)
    assert "3/3" in shown
    assert "failed" not in done.stdout


def archive_of(result: Trained | Failed) -> bytes:
    assert isinstance(result, Trained)
    return result.archive


def booster_in(result: Trained | Failed) -> xgboost.Booster:
    with tarfile.open(fileobj=io.BytesIO(archive_of(result))) as tape:
        member = tape.extractfile(MODEL_FILE)
        assert member is not None
        return xgboost.Booster(model_file=bytearray(member.read()))


def test_a_model_a_group(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each group has an archive and a row of the table; quietly where there is no terminal."""
    assert run(data, tmp_path / "out") == 0
    archives = sorted(path.name for path in (tmp_path / "out").glob("*.tar.gz"))
    assert archives == sorted(f"{city}.tar.gz" for city in CITIES)
    table = pd.read_csv(tmp_path / "out" / "metrics.csv")
    assert list(table.columns) == ["model", "rows", "rmse", "seconds", "bytes", "failed"]
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
    assert captured.out.splitlines()[-1].startswith("3 models, 0 failed, ")
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
    long = frame.head(50).assign(city="x" * 249)
    endless = frame.head(50).assign(city="Endless_TX", LOT_ACRES=np.inf)
    pd.concat([frame, few, path, holes, nameless, long, endless]).to_csv(data, index=False)
    assert run(data, tmp_path / "out") == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "mme train: '' failed: the group has no name",
        "mme train: '../evil' failed: the group's name cannot be a file's name",
        "mme train: 'Endless_TX' failed: Check failed: valid: Input data contains `inf` or a value "
        "too large, while `missing` is not set to `inf`",
        "mme train: 'Holes_TX' failed: PRICE is missing or infinite in some rows",
        "mme train: 'Small_TX' failed: 3 rows; a model needs 10 at least",
        f"mme train: '{'x' * 249}' failed: the group's name is over 248 bytes",
    ]
    table = pd.read_csv(tmp_path / "out" / "metrics.csv", keep_default_na=False, index_col="model")
    assert table.failed["Small_TX"] == "3 rows; a model needs 10 at least"
    assert len(list((tmp_path / "out").glob("*.tar.gz"))) == len(CITIES)
    assert not list(tmp_path.glob("evil*"))
    assert not list((tmp_path / "out").glob(".*"))


def test_groups_are_text(data: Path, tmp_path: Path) -> None:
    """Groups that look like numbers or like missing values keep the names that the file gives."""
    houses = pd.read_csv(data).head(50)
    names = ["007", "7", "7.0", "NA", "null", "1e3"]
    pd.concat([houses.assign(city=name) for name in names]).to_csv(data, index=False)
    assert run(data, tmp_path / "out") == 0
    archives = {path.name for path in (tmp_path / "out").glob("*.tar.gz")}
    assert archives == {f"{name}.tar.gz" for name in names}


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


def test_early_stopping_keeps_the_best() -> None:
    """What is kept are the whole model's first rounds, up to the best on the validation part."""
    houses = make_houses(("Chicago_IL",), houses=300)
    options = {"parameters": Parameters(eta=1.0, gamma=0, min_child_weight=1), "rounds": 60}
    (short,) = train_groups(houses, "city", "PRICE", early_stopping=3, jobs=1, **options)
    (whole,) = train_groups(houses, "city", "PRICE", jobs=1, **options)
    stopped, full = (booster_in(result) for result in (short, whole))
    kept = stopped.num_boosted_rounds()
    features = houses.drop(columns=["city", "PRICE"])
    order = np.random.default_rng(42).permutation(300)
    validation = order[180:240]
    errors = []
    for rounds in range(1, kept + 4):
        guesses = full.inplace_predict(features, iteration_range=(0, rounds))[validation]
        errors.append(np.mean((guesses - houses.PRICE.to_numpy()[validation]) ** 2))
    assert int(np.argmin(errors)) + 1 == kept
    assert np.array_equal(
        stopped.inplace_predict(features), full.inplace_predict(features, iteration_range=(0, kept))
    )


def test_predictions() -> None:
    """The packed model predicts as XGBoost's own of the same training; from bare arrays, too."""
    houses = make_houses(("Chicago_IL",))
    (result,) = train_groups(houses, "city", "PRICE", jobs=1)
    served = booster_in(result)
    features, prices = houses.drop(columns=["city", "PRICE"]), houses.PRICE
    order = np.random.default_rng(42).permutation(1000)
    train, test = order[:600], order[800:]
    own = xgboost.train(
        {**asdict(Parameters()), "nthread": 1},
        xgboost.DMatrix(features.iloc[train], label=prices.iloc[train]),
        num_boost_round=25,
    )
    expected = own.predict(xgboost.DMatrix(features))
    assert np.array_equal(served.predict(xgboost.DMatrix(features)), expected)
    assert served.feature_names == list(features.columns)
    bare = features.to_numpy(dtype=np.float32)
    assert np.array_equal(served.predict(xgboost.DMatrix(bare), validate_features=False), expected)
    assert np.array_equal(served.inplace_predict(bare, validate_features=False), expected)
    rmse = np.sqrt(np.mean((expected[test].astype(float) - prices.to_numpy()[test]) ** 2))
    assert isinstance(result, Trained)
    assert result.rmse == pytest.approx(rmse, rel=1e-6)


@pytest.mark.parametrize("backend", ["loky", "threading", "sequential"])
def test_backends(backend: str) -> None:
    """Joblib's backends make the same bytes, whether or not they stream their results."""
    houses = make_houses(CITIES, houses=50)
    expected = {result.name: result for result in train_groups(houses, "city", "PRICE", jobs=1)}
    with joblib.parallel_config(backend=backend):
        for result in train_groups(houses, "city", "PRICE", jobs=2):
            assert isinstance(result, Trained)
            assert archive_of(expected[result.name]) == result.archive


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
        (["DATA", "--by", "city", "--target", "city"], "are both city"),
        (["DATA", "--by", "city", "--target", "PRICE", "--rounds", "0"], "must be 1 or more"),
        (["DATA", "--by", "city", "--target", "PRICE", "--early-stopping", "0"], "1 or more"),
        (["DATA", "--by", "city", "--target", "PRICE", "--jobs", "0"], "--jobs must not be 0"),
        (["RAGGED", "--by", "city", "--target", "PRICE"], "expected 3 fields in line 3, saw 4"),
        (["COMMAS", "--by", "city", "--target", "PRICE"], "expected 3 fields in line 2, saw 4"),
        (["TWICE", "--by", "city", "--target", "PRICE"], "has two columns of one name"),
        (["EMPTY", "--by", "city", "--target", "PRICE"], "has no rows"),
        (["BARE", "--by", "city", "--target", "PRICE"], "has no features beside city and PRICE"),
        (
            ["DATA", "--by", "PRICE", "--target", "SQUARE_FEET"],
            "city is 'Chicago_IL', no number",
        ),
        (["DATA", "--by", "city", "--target", "PRICE", "--spot"], "--spot: only with --on"),
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
    files = {
        "RAGGED": "city,PRICE,YEAR\nA,1,2\nA,1,2,3\n",
        "COMMAS": "city,PRICE,YEAR\nA,1,2,\nA,1,2,\n",
        "TWICE": "city,PRICE,YEAR,YEAR\nA,1,2,3\n",
        "EMPTY": "city,PRICE,YEAR_BUILT\n",
        "BARE": "city,PRICE\nA,1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    paths = {"DATA": str(data)} | {name: str(tmp_path / name) for name in files}
    given = [paths.get(word, word) for word in words]
    assert cli.main(["train", *given, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where archives cannot be written, one line says so."""
    assert run(data, data, "--jobs", "1") == 1
    assert capsys.readouterr().err == f"mme train: {data} cannot be written: File exists\n"


def test_many_that_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty groups that fail are named, and then where the others are; one bad cell is one."""
    names = [f"g{number:02}" for number in range(30)]
    frame = pd.concat([make_houses(names, houses=3), make_houses(CITIES[:2], houses=20)])
    frame = frame.astype({"SQUARE_FEET": object})
    frame.loc[(frame.city == CITIES[1]) & (frame.index % 20 == 5), "SQUARE_FEET"] = "?"
    frame.to_csv(tmp_path / "h.csv.gz", index=False)
    assert run(tmp_path / "h.csv.gz", tmp_path / "out", "--jobs", "1") == 1
    said = capsys.readouterr()
    errors = said.err.splitlines()
    assert "SQUARE_FEET is '?', no number" in errors[0]
    assert errors[20:] == [f"mme train: 11 more failed: see {tmp_path / 'out' / 'metrics.csv'}"]
    assert said.out.splitlines()[-1].startswith("1 models, 31 failed, ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "s3://b/x/", "--instances", "3"], "--data, --instances: only with --on"),
        (["--on", "sagemaker", "--jobs", "2", "--out", "x"], "--out, --jobs: not with --on"),
        (["--on", "sagemaker", "--one-job-a-model", "--instances", "2"], "have one each"),
        (["--on", "sagemaker", "--concurrency", "2"], "only with --one-job-a-model"),
    ],
)
def test_options_that_would_count_for_nothing(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """An option of the other way to train is refused in one line; it is no container then."""
    assert cli.main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("value", ["nan", "inf", "x"])
def test_parameters_are_finite(capsys: pytest.CaptureFixture[str], value: str) -> None:
    """XGBoost would train with them, and call that a model."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "h.csv", "--gamma", value])
    assert "argument --gamma: " in capsys.readouterr().err
