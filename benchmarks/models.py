"""The models that all systems serve: the story's house prices, and a large one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import xgboost

from mme.houses import make_houses

CITY = "Houston_TX"
FEATURES = 6
ROW = b"1994,3188,5,1.5,1.62,3"
NUMBERS = [float(field) for field in ROW.split(b",")]
_NAMES = 50_000  # of one file; a file system has a limit
LARGE_TREES, LARGE_DEPTH, LARGE_ROWS = 500, 8, 20_000


def house_model(home: Path) -> bytes:
    """25 trees of depth 5 on 6 features, as ``mme train`` makes them for a city: 52 KB of UBJ.

    Without the features' names: MLServer takes rows without names, and then refuses such a model.
    """
    mme = [sys.executable, "-m", "mme"]
    options = ["--by", "city", "--target", "PRICE", "--out", f"{home}/trained"]
    for command in (["houses", "--out", f"{home}"], ["train", f"{home}/houses.csv", *options]):
        subprocess.run([*mme, *command], check=True, capture_output=True)
    archive = home / "trained" / f"{CITY}.tar.gz"
    subprocess.run(["tar", "-xzf", archive, "-C", home], check=True)
    booster = xgboost.Booster(model_file=bytearray((home / "xgboost-model").read_bytes()))
    booster.feature_names = booster.feature_types = None
    return bytes(booster.save_raw("ubj"))


def large_model() -> bytes:
    """500 trees of depth 8 on the same features."""
    houses = make_houses([CITY], LARGE_ROWS)
    rows = houses.drop(columns=["city", "PRICE"]).to_numpy(np.float32)
    matrix = xgboost.DMatrix(rows, label=houses["PRICE"])
    settings = {"max_depth": LARGE_DEPTH, "seed": 0}
    return bytes(xgboost.train(settings, matrix, num_boost_round=LARGE_TREES).save_raw("ubj"))


def lay(root: Path, count: int, data: bytes, prefix: str = "m") -> None:
    """Put a model into so many directories, as a file with many names: the disk is not measured.

    A directory is ``root/<prefix><number>``, the file in it ``model.ubj``.
    """
    for number in range(count):
        if number % _NAMES == 0:
            original = root / f"{prefix}{number}.original"
            original.write_bytes(data)
        directory = root / f"{prefix}{number}"
        directory.mkdir()
        os.link(original, directory / "model.ubj")


def expected(data: bytes, rows: int = 1) -> list[float]:
    """What XGBoost itself predicts for the row."""
    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    table = np.array([NUMBERS] * rows, dtype=np.float32)
    return [float(value) for value in booster.predict(xgboost.DMatrix(table))]
