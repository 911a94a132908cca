"""A model written again by the runtime's own XGBoost, and the proof that it predicts the same."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.errors import Fault, HandlerError
from handler.kinds import Kind
from handler.model import load_model
from handler.prepare import RUNTIME, Prepared
from handler.resident import Part
from handler.traits import Traits
from mme import facts

Floats = NDArray[np.float32]

ROWS = 100
_MISSING = 0.1  # the share of cells without a value, beside one row in ten that has none at all
_CATEGORIES = 8  # that a row of categories is drawn from, where the model names none
_SEED = 2019
_GREATEST = float(np.finfo(np.float32).max) / 4


def rewrite(data: bytes, prepared: Prepared, origin: str, model: Any) -> bytes:
    """Write a model as UBJ of the runtime's XGBoost, with the rounds that it predicts with alone.

    Args:
        data: the file; kept to the byte if it is such UBJ already.
        prepared: what it is served as.
        origin: what it was, kept as an attribute: the version in the file becomes the runtime's.
        model: the prepared data, parsed.
    """
    rounds = prepared.traits.rounds
    if (
        not rounds
        and data == prepared.data
        and data.startswith(b"{L")
        and prepared.version[:2] == RUNTIME[:2]
    ):
        return data
    from mme.training.boost import xgboost  # it takes a while, which only this needs

    booster = xgboost.Booster()
    booster.load_model(bytearray(prepared.data))
    kept = facts.of(model)
    if rounds and rounds < kept["rounds"] and kept["booster"] != "gblinear":
        booster = booster[:rounds]
    if prepared.traits.names and not booster.feature_names:
        booster.feature_names = list(prepared.traits.names)
    if prepared.traits.types and not booster.feature_types:
        booster.feature_types = list(prepared.traits.types)
    booster.set_attr(**{facts.ORIGIN: kept["converted_from"] or origin, "best_iteration": None})
    return bytes(booster.save_raw("ubj"))


def rows(model: Any, traits: Traits) -> Floats:
    """Rows that take every way through a model's trees: at its thresholds and to both sides.

    Returns:
        float32 [ROWS, features], C-contiguous; NaN where a value is missing. No value is the one
        that stands for a missing one, which a file cannot keep.
    """
    random = np.random.default_rng(_SEED)
    found = random.normal(size=(ROWS, traits.features)).astype(np.float32)
    places = _places(model)
    for feature, conditions in places.items():
        at = random.choice(conditions, ROWS)
        side = np.where(random.random(ROWS) < 0.5, np.float32(-np.inf), np.float32(np.inf))
        near = np.nextafter(at, side)
        found[:, feature] = np.where(random.random(ROWS) < 0.5, near, at)
    for feature, kind in enumerate(traits.types):
        if kind == "c":
            found[:, feature] = random.integers(0, _CATEGORIES, ROWS)
    found[random.random(found.shape) < _MISSING] = np.nan
    found[:: ROWS // 10] = np.nan
    found[found == np.float32(traits.missing)] = np.nan
    return found


def _places(model: Any) -> dict[int, Floats]:
    """Where each feature is split."""
    features, conditions = [], []
    for indices, places in facts.thresholds(model):
        features.append(np.asarray(indices, dtype=np.int64))
        conditions.append(np.asarray(places, dtype=np.float64))
    if not features:
        return {}
    of, at = np.concatenate(features), np.concatenate(conditions)
    sound = np.abs(at) <= _GREATEST  # the condition of a split of categories can be NaN
    of, at = of[sound], at[sound].astype(np.float32)
    return {int(feature): at[of == feature] for feature in np.unique(of)}


def compare(
    before: Sequence[Part], after: Sequence[Part], asked: Floats, rule: str | None = None
) -> None:
    """Compare predictions and margins of two models, bit for bit.

    Raises:
        HandlerError: they differ, or one cannot be loaded.
    """
    models = [load_model(parts, 1, rule) for parts in (before, after)]
    for kind in (Kind.VALUE, Kind.MARGIN):
        if kind is Kind.MARGIN and len(before) > 1:
            return
        one, two = (model.predict(asked, kind) for model in models)
        if one.shape != two.shape or one.tobytes() != two.tobytes():
            much = float(np.nanmax(np.abs(one - two))) if one.shape == two.shape else math.nan
            raise HandlerError(
                Fault.BAD_MODEL,
                f"{before[0][0]} predicts something else once it is converted (by {much:.3g}); "
                "serve it as it is",
            )


def lost(before: Traits, after: Traits) -> list[str]:
    """What the container knew of the file, and does not of the new one: a sentence each."""
    found = []
    if not math.isnan(before.missing) and before.missing != after.missing:
        found.append(
            f"that {before.missing:g} stands for a missing value: send an empty cell instead"
        )
    numbers = tuple(range(len(before.labels)))
    if before.labels not in (numbers, after.labels):
        shown = ", ".join(map(str, before.labels[:5])) + (", …" if len(before.labels) > 5 else "")
        found.append(f"what the classes are called ({shown}): predicted_label is their number")
    return found
