"""``mme train``: one model for each value of a column, in parallel, packed for SageMaker."""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import xgboost
from joblib.parallel import get_active_backend
from tqdm import tqdm

from mme.artifacts import pack
from mme.errors import CommandError

MODEL_FILE = "xgboost-model"  # what training in the managed XGBoost container leaves
_SUFFIX = ".tar.gz"
_LONGEST_NAME_BYTES = 255 - len(_SUFFIX)  # what file systems take, and S3 far more
_FEWEST_ROWS = 10  # so that each of the three parts has some
_TRAINED, _VALIDATED = 0.6, 0.8  # shares: to train, up to here; to validate, up to here; to test


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """XGBoost's parameters, with the story's values."""

    objective: str = "reg:squarederror"
    max_depth: int = 5
    eta: float = 0.2
    gamma: float = 4
    min_child_weight: float = 6
    subsample: float = 0.8
    seed: int = 42


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


def train_groups(
    frame: pd.DataFrame,
    by: str,
    target: str,
    parameters: Parameters = Parameters(),
    rounds: int = 25,
    early_stopping: int | None = None,
    jobs: int = -1,
) -> Iterator[Trained | Failed]:
    """Train a model for each group, in whatever order they are done.

    The work goes through joblib: inside ``joblib.parallel_config(backend="dask")`` it runs on the
    cluster. Archives come back to the caller, since a cluster's workers have disks of their own.
    Models keep the features' names; to predict from a bare array, whose columns are in the frame's
    order, say ``validate_features=False``.

    Args:
        frame: the groups' column, the target, and features that are numbers (NaN is missing).
        by: the groups' column.
        target: the column to predict.
        parameters: XGBoost's.
        rounds: at most.
        early_stopping: end a training after so many rounds without a better validation error.
        jobs: processes at once; -1 is one a CPU.
    """
    tasks = (
        joblib.delayed(train_one)(
            "" if pd.isna(name) else str(name),
            group.drop(columns=[by]),
            target,
            parameters,
            rounds,
            early_stopping,
        )
        for name, group in frame.groupby(by, sort=True, dropna=False)
    )
    backend, _ = get_active_backend()
    streams = "generator_unordered" if backend.supports_return_generator else "list"
    yield from joblib.Parallel(n_jobs=jobs, return_as=streams)(tasks)


def train_one(
    name: str,
    group: pd.DataFrame,
    target: str,
    parameters: Parameters,
    rounds: int,
    early_stopping: int | None,
) -> Trained | Failed:
    """Train one group's model; what is wrong with a group is returned, not raised."""
    begun = time.perf_counter()
    try:
        _check(name, group, target)
        data, rmse = _fit(group, target, parameters, rounds, early_stopping)
    except (ValueError, xgboost.core.XGBoostError) as error:
        reason = str(error).strip().partition("\n")[0]
        # XGBoost begins with the time and its source line.
        return Failed(name, re.sub(r"^\[[\d:]+\] \S+: ", "", reason))
    return Trained(name, len(group), rmse, time.perf_counter() - begun, pack({MODEL_FILE: data}))


def _check(name: str, group: pd.DataFrame, target: str) -> None:
    if not name:
        raise ValueError("the group has no name")
    if name[0] in "-." or "/" in name or not name.isprintable():
        raise ValueError("the group's name cannot be a file's name")
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        raise ValueError(f"the group's name is over {_LONGEST_NAME_BYTES} bytes")
    if len(group) < _FEWEST_ROWS:
        raise ValueError(f"{len(group)} rows; a model needs {_FEWEST_ROWS} at least")
    if not np.isfinite(group[target].to_numpy(dtype=float)).all():
        raise ValueError(f"{target} is missing or infinite in some rows")


def _fit(
    group: pd.DataFrame,
    target: str,
    parameters: Parameters,
    rounds: int,
    early_stopping: int | None,
) -> tuple[bytes, float]:
    """Fit on the first part, stop by the second, and measure on the third what will be served."""
    order = np.random.default_rng(parameters.seed).permutation(len(group))
    ends = [int(len(group) * share) for share in (_TRAINED, _VALIDATED)]
    train, validation, test = (
        xgboost.DMatrix(part.drop(columns=[target]), label=part[target], nthread=1)
        for part in (group.iloc[rows] for rows in np.split(order, ends))
    )
    booster = xgboost.train(
        {**asdict(parameters), "nthread": 1, "verbosity": 0},
        train,
        num_boost_round=rounds,
        evals=[(validation, "validation")],
        early_stopping_rounds=early_stopping,
        verbose_eval=False,
    )
    if early_stopping:  # a plain booster predicts with all its rounds: keep the best
        booster = booster[: booster.best_iteration + 1]
    data = bytes(booster.save_raw("ubj"))
    served = xgboost.Booster({"nthread": 1})
    served.load_model(bytearray(data))
    errors = served.predict(test) - test.get_label()
    return data, float(np.sqrt(np.mean(np.square(errors, dtype=float))))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    story = Parameters()
    parser.add_argument("data", type=Path, help="a CSV file with a header")
    parser.add_argument("--by", required=True, help="the column whose values get a model each")
    parser.add_argument("--target", required=True, help="the column to predict")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the archives")
    parser.add_argument("--rounds", type=int, default=25, help="(default: %(default)s)")
    parser.add_argument(
        "--early-stopping",
        type=int,
        metavar="ROUNDS",
        help="end after so many rounds without a better validation error, and keep the best",
    )
    for name, value in asdict(story).items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, help="(default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=-1, help="at once; -1 is one a CPU")


def run(args: argparse.Namespace) -> int:
    """Train, write the archives and the metrics table; status 1 when a group failed."""
    begun = time.perf_counter()
    if args.rounds < 1 or (args.early_stopping is not None and args.early_stopping < 1):
        raise CommandError("--rounds and --early-stopping must be 1 or more")
    if args.jobs == 0 or args.seed < 0:
        raise CommandError("--jobs must not be 0, and --seed not be negative")
    frame = _read(args.data, args.by, args.target)
    parameters = Parameters(**{name: getattr(args, name) for name in asdict(Parameters())})
    results = train_groups(
        frame, args.by, args.target, parameters, args.rounds, args.early_stopping, args.jobs
    )
    progress = tqdm(results, total=frame[args.by].nunique(dropna=False), unit="model", disable=None)
    quiet = progress.disable  # no terminal; asked now, since a bar that has ended is disabled, too
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        table, failed = _write(progress, args.out)
    except OSError as error:
        raise CommandError(f"{args.out} cannot be written: {error.strerror}", status=1) from None
    if len(table):
        sys.stdout.write(table.to_string(index=False) + "\n")
    if quiet:
        seconds = time.perf_counter() - begun
        sys.stdout.write(f"{len(table)} models, {len(failed)} failed, {seconds:.1f} s\n")
    for failure in sorted(failed, key=lambda failure: failure.name):
        sys.stderr.write(f"mme train: {failure.name!r} failed: {failure.reason}\n")
    return 1 if failed else 0


def _read(data: Path, by: str, target: str) -> pd.DataFrame:
    try:
        # The group stays the text it is: 007 is not 7, and NA is Namibia. A mark keeps pandas from
        # reading it as a missing value, which it does after converters, too.
        frame = pd.read_csv(data, converters={by: "={}".format}, low_memory=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"{data} cannot be read: {reason}") from None
    missing = [name for name in (by, target) if name not in frame]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise CommandError(f"{data} has no column {' or '.join(missing)}; it has {there}")
    if by == target:
        raise CommandError(f"--by and --target are both {by}")
    if frame.empty:
        raise CommandError(f"{data} has no rows")
    if frame.shape[1] == len((by, target)):
        raise CommandError(f"{data} has no features beside {by} and {target}")
    frame[by] = frame[by].str.removeprefix("=")
    numbers = frame.select_dtypes("number")
    words = [str(name) for name in frame.columns if name != by and name not in numbers]
    if words:
        raise CommandError(f"columns must be numbers, and are not: {', '.join(words)}")
    return frame


def _write(results: Iterable[Trained | Failed], out: Path) -> tuple[pd.DataFrame, list[Failed]]:
    """Write each archive as it comes, and at the end the table of all; that, and who failed."""
    rows, failed = [], []
    for result in results:
        if isinstance(result, Failed):
            failed.append(result)
            continue
        _replace(out / f"{result.name}{_SUFFIX}", result.archive)
        rows.append(
            {
                "model": result.name,
                "rows": result.rows,
                "rmse": round(result.rmse, 4),
                "seconds": round(result.seconds, 4),
                "bytes": len(result.archive),
            }
        )
    table = pd.DataFrame(rows, columns=["model", "rows", "rmse", "seconds", "bytes"])
    table = table.sort_values("model")
    _replace(out / "metrics.csv", table.to_csv(index=False).encode())
    return table, failed


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
