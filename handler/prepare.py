"""A model file becomes what XGBoost can be given: read, checked as a whole, put right if need be.

XGBoost takes a file of a newer release without a word and predicts something else; it misreads what
some older ones wrote, and dies of what makes no sense. So a file is first read by what is here.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import orjson

from handler import structure
from handler.artifact import Artifact
from handler.booster import runtime_version
from handler.errors import Fault, HandlerError
from handler.formats import Format, FormatError, binary, pickles, ubj
from handler.formats.base_last import put_base_last
from handler.formats.pickles import Pickled
from handler.formats.repair import repair
from handler.formats.sniff import sniff
from handler.traits import Traits

Version = tuple[int, int, int]

RUNTIME: Version = runtime_version()

_CONFIG = b"CONFIG-offset:"  # before the bytes of a binary, and these, in a pickle of 1.0 to 1.2
_OFFSET = struct.Struct("<q")
_NO_LEARNER = (
    "not an XGBoost model: it has no learner; save the booster with save_model('model.ubj')"
)

Write = Callable[[Any], bytes]  # a document as bytes again


@dataclass(frozen=True, slots=True)
class Prepared:
    """What to load, and what is known of it.

    Attributes:
        data: JSON or UBJ that the runtime reads as its writer did; the very bytes of the file
            where nothing had to change.
        traits: what the file says of itself.
        nodes: that its trees have together.
        version: of its writer, as far as the file has it (``binary.read``).
        format: of the file.
    """

    data: bytes
    traits: Traits
    nodes: int
    version: Version
    format: Format


def prepare(artifact: Artifact, runtime: Version = RUNTIME) -> Prepared:
    """Read a model file of any format and release, and check it as a whole.

    Args:
        artifact: the file.
        runtime: the XGBoost that is to load it.

    Raises:
        HandlerError: 500, with the reason why it cannot be served here, and the cure.
    """
    try:
        return _prepared(artifact, runtime)
    except FormatError as error:
        sentence = f"{artifact.path.name} is {error}"
    raise HandlerError(Fault.BAD_MODEL, sentence) from None


def _prepared(artifact: Artifact, runtime: Version) -> Prepared:
    data, pickled = artifact.data, None
    if artifact.format is Format.PICKLE:
        pickled = pickles.read(data)
        model, write = _of_handle(pickled.handle)
    else:
        model, write = _document(data, artifact.format)
    changed = artifact.format in (Format.PICKLE, Format.BINARY)
    if not isinstance(model, dict) or "learner" not in model:
        raise FormatError(_NO_LEARNER)
    version = _version(artifact.path.name, model)
    _check_version(artifact.path.name, version, runtime)
    try:
        changed |= repair(model, version)
        nodes = structure.check(model)
        traits = _traits(model["learner"], pickled)
        if added := put_base_last(model, version, traits.rounds):
            traits, changed = replace(traits, rounds=0, added=added), True
        data = write(model) if changed else data
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise structure.not_there(error) from None
    except RecursionError:
        raise FormatError("damaged: it is nested too deep") from None
    return Prepared(data, traits, nodes, version, artifact.format)


def _document(data: bytes, form: Format) -> tuple[Any, Write]:
    """The document, and what writes one as XGBoost reads it fastest without another rounding."""
    if form is Format.BINARY:
        return binary.read(data), ubj.dumps
    if form is Format.UBJ:
        return ubj.loads(data), ubj.dumps
    try:
        return orjson.loads(data), orjson.dumps
    except ValueError:  # it does not take the NaN that XGBoost writes for a category
        try:
            return json.loads(data), _json_with_nan
        except (ValueError, RecursionError) as error:
            shown = f"{type(error).__name__}: {error}"[:100]
            raise FormatError(f"damaged: it ends early or is not JSON ({shown})") from None


def _json_with_nan(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _of_handle(handle: bytes) -> tuple[Any, Write]:
    """The model in a pickled Booster's bytes, which begin as its release has it."""
    if handle.startswith(_CONFIG):
        start = len(_CONFIG) + _OFFSET.size
        size = int.from_bytes(handle[len(_CONFIG) : start], "little", signed=True)
        if not 0 < size <= len(handle) - start:
            raise FormatError("a damaged pickle: the model in it ends early; upload it again")
        return _document(handle[start : start + size], Format.BINARY)
    form = sniff(handle)
    if form is None or form is Format.PICKLE:
        raise FormatError("a damaged pickle: what it holds is no model; upload it again")
    document, write = _document(handle, form)
    return document if form is Format.BINARY else document.get("Model"), write


def _version(name: str, model: dict[str, Any]) -> Version:
    match model.get("version"):
        case [int(major), int(minor), int(patch)]:
            return major, minor, patch
    _refuse(f"{name} has no version; save it with save_model('model.ubj')")


def _check_version(name: str, version: Version, runtime: Version) -> None:
    if version[:2] > runtime[:2]:
        wrote, runs = (".".join(map(str, numbers)) for numbers in (version, runtime))
        _refuse(
            f"{name} was saved by XGBoost {wrote}, this server runs {runs} and could misread it; "
            f"save it with {runs} or serve it with a newer image"
        )


def _traits(learner: dict[str, Any], pickled: Pickled | None) -> Traits:
    """What a model that was checked says of itself."""
    parameters = learner["learner_model_param"]
    features = int(parameters["num_feature"])
    names, types = (tuple(learner.get(key, ())) for key in ("feature_names", "feature_types"))
    objective = learner["objective"]["name"]
    if pickled is not None:
        names, types = names or pickled.names, types or pickled.types
    if not all(isinstance(text, str) for text in (objective, *names, *types)):
        raise FormatError(
            "damaged: its objective, or the names or types of its features, are no texts"
        )
    if len(names) not in (0, features) or len(types) not in (0, features):
        raise FormatError(f"damaged: names or types of other than its {features} features")
    return Traits(
        objective=objective,
        features=features,
        classes=max(1, int(parameters["num_class"])),
        targets=max(1, int(parameters.get("num_target", 1))),
        names=names,
        types=types,
        **({} if pickled is None else _of_wrapper(learner["gradient_booster"], pickled)),
    )


def _of_wrapper(booster: dict[str, Any], pickled: Pickled) -> dict[str, Any]:
    rounds = 0
    # The wrapper asks a linear model for all rounds, whatever it notes: it has but their sum.
    if pickled.best_iteration is not None and booster["name"] != "gblinear":
        rounds = pickled.best_iteration + 1
        trees = booster.get("gbtree", booster)["model"]["trees"]
        if rounds > len(trees):
            raise FormatError(
                f"a damaged pickle: its best of {len(trees)} trees is of round {rounds}"
            )
    return {"rounds": rounds, "missing": pickled.missing, "labels": pickled.labels}


def _refuse(sentence: str) -> NoReturn:
    raise HandlerError(Fault.BAD_MODEL, sentence)
