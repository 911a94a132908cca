"""All groups of a frame through joblib, here or on a cluster."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from mme.training.fit import Failed, Group, Parameters, Recipe, Trained, train_one

if TYPE_CHECKING:
    import pandas as pd


def train_groups(
    frame: "pd.DataFrame",
    by: str,
    target: str,
    parameters: Parameters = Parameters(),  # noqa: B008  # frozen
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
    recipe = Recipe(parameters, rounds, early_stopping)
    return train_each(groups_of(frame, by, target), recipe, jobs)


def train_each(groups: Iterable[Group], recipe: Recipe, jobs: int) -> Iterator[Trained | Failed]:
    """Train a model for each of some groups, through joblib, as ``train_groups`` does."""
    import joblib  # the image, whose `mme train` imports this, has neither it nor pandas
    from joblib.parallel import get_active_backend

    tasks = (joblib.delayed(train_one)(group, recipe) for group in groups)
    backend, _ = get_active_backend()
    streams = "generator_unordered" if backend.supports_return_generator else "list"
    yield from joblib.Parallel(n_jobs=jobs, return_as=streams)(tasks)


def groups_of(frame: "pd.DataFrame", by: str, target: str) -> Iterator[Group]:
    """The groups of a frame, by name; one whose name is missing has an empty one."""
    import pandas as pd

    features = [name for name in frame.columns if name not in (by, target)]
    for name, group in frame.groupby(by, sort=True, dropna=False):
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused so
            rows = group[features].to_numpy(dtype=np.float32)
        yield Group(
            "" if pd.isna(name) else str(name),
            tuple(map(str, features)),
            target,
            rows,
            group[target].to_numpy(dtype=np.float64),
        )
