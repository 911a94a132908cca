"""One group's model: its rows split, fitted, measured and packed: the same bytes anywhere."""

import hashlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass

import numpy as np
import xgboost
from numpy.typing import NDArray

from mme.artifacts import pack

MODEL_FILE = "xgboost-model"  # what training in the managed XGBoost container leaves
SUFFIX = ".tar.gz"
_LONGEST_NAME_BYTES = 255 - len(SUFFIX)  # what file systems take, and S3 far more
_FEWEST_ROWS = 10  # so that each of the three parts has some
_TRAINED, _VALIDATED = 0.6, 0.8  # shares: to train, up to here; to validate, up to here; to test


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """XGBoost's parameters, with the story's values."""

    objective: str = "reg:squarederror"
    max_depth: int = 5
    eta: float = 0.2
    gamma: float = 4.0
    min_child_weight: float = 6.0
    subsample: float = 0.8
    seed: int = 42


@dataclass(frozen=True)
class Recipe:
    """How each group is trained.

    Attributes:
        parameters: XGBoost's.
        rounds: at most.
        early_stopping: end a training after so many rounds without a better validation error.
    """

    parameters: Parameters = Parameters()
    rounds: int = 25
    early_stopping: int | None = None


@dataclass(frozen=True)
class Group:
    """The rows that one model is made from.

    Attributes:
        name: the group's; the archive is called so.
        features: their names, in the order of the columns.
        target: the name of what is predicted.
        rows: float32, (rows, features); NaN is missing.
        labels: the target, float64, (rows,).
    """

    name: str
    features: tuple[str, ...]
    target: str
    rows: NDArray[np.float32]
    labels: NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A model and how good it is.

    Attributes:
        name: the group's.
        rows: in the group, all parts together.
        rmse: root mean squared error on the test part, of the model that the archive holds, in the
            target's unit.
        seconds: that the training took.
        archive: the ``model.tar.gz``.
    """

    name: str
    rows: int
    rmse: float
    seconds: float
    archive: bytes


@dataclass(frozen=True)
class Failed:
    """A group without a model, and why."""

    name: str
    reason: str


def digest(group: Group, recipe: Recipe) -> str:
    """What a model depends on, in 64 hex digits: the same ones give the same model."""
    head = [group.name, group.features, group.target, asdict(recipe), xgboost.__version__]
    found = hashlib.sha256(json.dumps(head).encode())
    found.update(np.ascontiguousarray(group.rows).data)
    found.update(np.ascontiguousarray(group.labels).data)
    return found.hexdigest()


def train_one(group: Group, recipe: Recipe) -> Trained | Failed:
    """Train one group's model; what is wrong with a group is returned, not raised."""
    begun = time.perf_counter()
    try:
        _check(group)
        data, rmse = _fit(group, recipe)
    except (ValueError, xgboost.core.XGBoostError) as error:
        reason = str(error).strip().partition("\n")[0]
        # XGBoost begins with the time and its source line.
        return Failed(group.name, re.sub(r"^\[[\d:]+\] \S+: ", "", reason))
    seconds = time.perf_counter() - begun
    return Trained(group.name, len(group.rows), rmse, seconds, pack({MODEL_FILE: data}))


def _check(group: Group) -> None:
    check_size(group.name, len(group.rows))
    if not np.isfinite(group.labels).all():
        raise ValueError(f"{group.target} is missing or infinite in some rows")


def check_size(name: str, rows: int) -> None:
    """Refuse a group that cannot have a model, whatever its rows are.

    Raises:
        ValueError: its name cannot be an archive's, or it has too few rows.
    """
    if not name:
        raise ValueError("the group has no name")
    if name[0] in "-." or "/" in name or not name.isprintable():
        raise ValueError("the group's name cannot be a file's name")
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        raise ValueError(f"the group's name is over {_LONGEST_NAME_BYTES} bytes")
    if rows < _FEWEST_ROWS:
        raise ValueError(f"{rows} rows; a model needs {_FEWEST_ROWS} at least")


def _fit(group: Group, recipe: Recipe) -> tuple[bytes, float]:
    """Fit on the first part, stop by the second, and measure on the third what will be served."""
    order = np.random.default_rng(recipe.parameters.seed).permutation(len(group.rows))
    ends = [int(len(group.rows) * share) for share in (_TRAINED, _VALIDATED)]
    train, validation, test = (
        xgboost.DMatrix(
            group.rows[part],
            label=group.labels[part],
            feature_names=list(group.features),
            nthread=1,
        )
        for part in np.split(order, ends)
    )
    booster = xgboost.train(
        {**asdict(recipe.parameters), "nthread": 1, "verbosity": 0},
        train,
        num_boost_round=recipe.rounds,
        evals=[(validation, "validation")],
        early_stopping_rounds=recipe.early_stopping,
        verbose_eval=False,
    )
    if recipe.early_stopping:  # a plain booster predicts with all its rounds: keep the best
        booster = booster[: booster.best_iteration + 1]
    data = bytes(booster.save_raw("ubj"))
    served = xgboost.Booster({"nthread": 1})
    served.load_model(bytearray(data))
    errors = served.predict(test) - test.get_label()
    return data, float(np.sqrt(np.mean(np.square(errors, dtype=float))))
