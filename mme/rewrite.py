"""A model written again by the XGBoost that runs here, and the proof that it predicts the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.errors import Fault, HandlerError
from handler.formats import Format
from handler.kinds import Kind
from handler.model import Part, load_model
from handler.prepare import RUNTIME, Prepared
from handler.traits import Traits
from mme import facts

Floats = NDArray[np.float32]

ROWS = 100
_MISSING = 0.1  # the share of cells without a value, beside one row in ten that has none at all
_CATEGORIES = 8  # that a cell of categories is drawn from
_RENAMED = {"reg:linear": "reg:squarederror"}  # XGBoost writes the new name for the old one
_SEED = 2019
_GREATEST = float(np.finfo(np.float32).max) / 4


def rewrite(data: bytes, prepared: Prepared, form: Format, origin: str, model: Any) -> bytes:
    """Write a model as the runtime's XGBoost does, with no more rounds than it predicts with.

    Args:
        data: the file; kept to the byte if it is such a one already.
        prepared: what it is served as.
        form: JSON or UBJ.
        origin: what it was, kept as an attribute: the version in the file becomes the runtime's.
        model: the prepared data, parsed.
    """
    kept, traits = facts.of(model), prepared.traits
    current = prepared.format is form and prepared.version[:2] == RUNTIME[:2]
    if current and data == prepared.data:
        return data
    import xgboost  # it takes a while, which only this needs

    booster = xgboost.Booster(params={"nthread": 1})
    booster.load_model(bytearray(prepared.data))
    if 0 < traits.rounds < kept["rounds"]:
        # A file has no place for how many rounds count: who reads it takes all.
        booster = booster[: traits.rounds]
    if traits.names and not booster.feature_names:
        booster.feature_names = list(traits.names)
    if traits.types and not booster.feature_types:
        booster.feature_types = list(traits.types)
    booster.set_attr(**{facts.ORIGIN: kept["converted_from"] or origin})
    return bytes(booster.save_raw(form.value))


def rows(model: Any, traits: Traits) -> Floats:
    """Rows that take every way through a model's trees: at its thresholds and to both sides.

    Returns:
        float32 [ROWS, features], C-contiguous; NaN where a value is missing. No value is the one
        that stands for a missing one, which a file cannot keep.
    """
    random = np.random.default_rng(_SEED)
    found = random.normal(size=(ROWS, traits.features)).astype(np.float32)
    for feature, conditions in _places(model).items():
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
    """Where each feature is split; the values of leaves stand among them, and do no harm."""
    trees = facts.trees_of(model).get("trees", ())
    if not trees:
        return {}
    of = np.concatenate([np.asarray(tree["split_indices"], np.int64) for tree in trees])
    at = np.concatenate([np.asarray(tree["split_conditions"], np.float64) for tree in trees])
    sound = np.abs(at) <= _GREATEST  # the condition of a split of categories can be NaN
    of, conditions = of[sound], at[sound].astype(np.float32)
    return {int(feature): conditions[of == feature] for feature in np.unique(of)}


def check_same(name: str, before: Prepared, after: Prepared, asked: Floats) -> None:
    """Compare what the file and the new one are served as: what is known of them, and every bit.

    Raises:
        HandlerError: they differ, or one cannot be loaded.
    """
    one, two = (_known(prepared.traits) for prepared in (before, after))
    if one != two:
        _refuse(name, f"what is known of it changes: {one} to {two}")
    models = [load_model([Part(name, side.data, side.traits)], 1) for side in (before, after)]
    for kind in (Kind.VALUE, Kind.MARGIN):
        old, new = (model.predict(asked, kind) for model in models)
        if old.shape != new.shape or old.tobytes() != new.tobytes():
            _refuse(name, f"a {kind.name.lower()} of it is no longer the same")


def _known(traits: Traits) -> tuple[object, ...]:
    objective = _RENAMED.get(traits.objective, traits.objective)
    sizes = (traits.features, traits.classes, traits.targets)
    return (objective, *sizes, traits.names, traits.types)


def _refuse(name: str, why: str) -> None:
    sentence = f"{name} predicts something else once it is converted ({why}); serve it as it is"
    raise HandlerError(Fault.BAD_MODEL, sentence)
