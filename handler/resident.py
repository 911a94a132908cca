"""A model in memory with all that is known of it, and a request's way through it."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from handler import decode, encode, outputs
from handler.answer import Answer
from handler.booster import Floats, XgboostError
from handler.decode.columns import Columns
from handler.errors import Fault, HandlerError
from handler.kinds import Kind
from handler.model import FIRST, Model, load_model
from handler.model_settings import ModelSettings
from handler.settings import Settings
from handler.traits import Traits

CONTENT_TYPE = "mme-content-type"
ATTRIBUTES = "mme-attributes"  # the client's custom attributes, which can select outputs


class Resident(NamedTuple):
    """A model in memory, and all that is known of it."""

    model: Model
    traits: Traits
    columns: Columns
    settings: ModelSettings


Part = tuple[str, bytes, Traits]  # a prepared file: its name, its bytes, what it says of itself


def rule(own: ModelSettings, settings: Settings) -> str | None:
    """How several files answer as one; None for the usual."""
    return own.ensemble or (None if settings.ensemble else FIRST)


def resident(parts: Sequence[Part], own: ModelSettings, settings: Settings) -> Resident:
    """Load prepared files.

    Raises:
        HandlerError: XGBoost does not take them.
        MemoryError: there is too little memory.
    """
    model = load_model(parts, own.threads or settings.threads, rule(own, settings))
    traits = parts[0][2]
    return Resident(model, traits, _columns(traits.features, traits.names), own)


@functools.lru_cache(maxsize=1024)
def _columns(features: int, names: tuple[str, ...]) -> Columns:
    return Columns(features, names)  # one for all models that are alike


def predict(asked: Resident, headers: Mapping[str, str], body: bytes, settings: Settings) -> Answer:
    """Decode the rows, predict, encode.

    Raises:
        HandlerError: 4xx for the client's mistakes.
    """
    model, traits, columns, own = asked
    answer_type = encode.negotiate(headers.get("accept"), own.accept or settings.default_accept)
    keys = own.output or settings.output
    if ATTRIBUTES in headers:
        keys = _selected(headers[ATTRIBUTES]) or keys
    content_type = headers.get(CONTENT_TYPE) or own.content_type
    rows = decode.decode(body, content_type, columns, settings.libsvm_base)
    if own.max_rows and len(rows) > own.max_rows:
        sentence = f"{len(rows)} rows; this model takes at most {own.max_rows} at once"
        raise HandlerError(Fault.BAD_REQUEST, sentence)
    if not keys:
        encoded = encode.encode(model.predict(rows), answer_type)
    else:
        kinds = outputs.kinds(keys, traits)
        predictions = {kind: _predicted(model, rows, kind) for kind in kinds}
        selected = outputs.select(keys, predictions, traits)
        encoded = encode.encode_selected(selected, keys, answer_type)
    if len(encoded) > settings.max_response_bytes:
        most = settings.max_response_bytes
        sentence = f"the answer has {len(encoded)} bytes, at most are {most}; send fewer rows"
        raise HandlerError(Fault.BAD_REQUEST, sentence)
    return Answer(200, answer_type, encoded)


def _predicted(model: Model, rows: Floats, kind: Kind) -> Floats:
    try:
        return model.predict(rows, kind)
    except XgboostError as error:
        if kind is Kind.LEAF and "gblinear" in str(error):
            sentence = "a linear model has no leaf indices: it has no trees"
            raise HandlerError(Fault.BAD_REQUEST, sentence) from None
        raise


@functools.lru_cache(maxsize=256)
def _selected(attributes: str) -> tuple[str, ...]:
    """The keys that a request's custom attributes select; what else is in them is the client's."""
    for part in attributes.split(";"):
        name, _, value = part.partition("=")
        if name.strip().lower() == "output":
            return outputs.parse(value)
    return ()
