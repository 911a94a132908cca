"""A model in memory with all that is known of it, and a request's way through it."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
from sagemaker_inference import content_types

from handler import decode, encode, forest, outputs
from handler.answer import Answer
from handler.booster import Floats, XgboostError
from handler.decode.columns import Columns
from handler.envelope import ACCEPT, ATTRIBUTES, CONTENT_TYPE
from handler.errors import Fault, HandlerError
from handler.forest import Forest, Trees
from handler.kinds import Kind
from handler.model import FIRST, Model, Part, load_model
from handler.model_settings import ModelSettings
from handler.settings import Settings
from handler.shared import Shared
from handler.traits import Traits

_ANY = ("", "*/*", content_types.JSON)  # with which a client gets what nobody wishes otherwise
_CELL_WORK, _NUMBER_WORK = 100, 1000
_LEAST_BYTES = 4  # of a number in an answer, but for CSV, where nothing is one that is not finite
_NOTE_BYTES = 512  # that a forest takes beside its trees: its name here, its place among others


class Note(NamedTuple):
    """What is known of a model beside its trees, one for all that are alike.

    Attributes:
        work: what a number of a row and of its answer add to the bytes of a model, as a measure of
            what a request takes.
        texts: what marks text that a forest can read itself, by content type; none if something
            is asked of it that it cannot do alone.
    """

    traits: Traits
    columns: Columns
    settings: ModelSettings
    work: int
    texts: Mapping[str, int]


class Resident(NamedTuple):
    """A model in memory, and what is known of it."""

    model: Model
    note: Note
    memory: int


def rule(own: ModelSettings, settings: Settings) -> str | None:
    """How several files answer as one; None for the usual."""
    return own.ensemble or (None if settings.ensemble else FIRST)


def suits_forest(traits: Traits, own: ModelSettings, settings: Settings) -> bool:
    """Whether a forest has all that is asked of such a model."""
    wanted = outputs.kinds(own.output or settings.output, traits)
    return settings.forest and wanted <= set(forest.KINDS)


def resident(
    parts: Sequence[Part],
    own: ModelSettings,
    settings: Settings,
    memory: int = 0,
    *,
    with_forest: bool = False,
) -> Resident | Forest:
    """Load prepared files.

    Args:
        parts: the files.
        own: what the model's ``mme.json`` says.
        settings: of the container.
        memory: bytes that it takes, if XGBoost has it.
        with_forest: where a forest can do all that is asked, it is one, or several.

    Returns:
        A single forest as it is, with its ``Note``: of a million of them each byte counts.

    Raises:
        HandlerError: XGBoost does not take them.
        MemoryError: there is too little memory.
    """
    traits = parts[0].traits
    note = _NOTE.of(traits.text_bytes)(traits, own, settings)
    with_forest &= suits_forest(note.traits, own, settings)
    model = load_model(parts, own.threads or settings.threads, rule(own, settings), with_forest)
    if isinstance(model, Trees):
        model.forest.note = note
        return model.forest
    return Resident(model, note, memory)


def memory_of(model: Resident | Forest) -> int:
    """Bytes of memory that it takes."""
    if isinstance(model, Resident):
        return model.memory
    return memory_of_forest(model, model.note.traits)


def memory_of_forest(trees: Forest, traits: Traits) -> int:
    """Bytes of memory that a single forest takes, with what is known of it."""
    return trees.size + _NOTE_BYTES + traits.text_bytes


def _note(traits: Traits, own: ModelSettings, settings: Settings) -> Note:
    plain = not (own.output or settings.output or own.accept or own.max_rows)
    plain = plain and settings.default_accept == content_types.JSON
    texts = dict.fromkeys(decode.kinds_of(content_types.CSV), forest.CSV)
    texts |= dict.fromkeys(decode.kinds_of(decode.LIBSVM), settings.libsvm_base)
    columns = Columns(traits.features, traits.names)
    work = _CELL_WORK * traits.features + _NUMBER_WORK * traits.groups
    return Note(traits, columns, own, work, texts if plain else {})


_NOTE = Shared(_note)


def predict(
    asked: Resident | Forest, headers: Mapping[str, str], body: bytes, settings: Settings
) -> Answer:
    """Decode the rows, predict, encode.

    Raises:
        HandlerError: 4xx for the client's mistakes.
        XgboostAloneError: a forest cannot.
    """
    if isinstance(asked, Forest):
        encoded = None
        if ATTRIBUTES not in headers:
            content_type, accept = headers.get(CONTENT_TYPE, ""), headers.get(ACCEPT, "")
            encoded = quick(asked, content_type, accept, body)
        if encoded is not None:
            return _answer(content_types.JSON, encoded, settings)
        return _predict(Trees(asked), asked.note, headers, body, settings)
    return _predict(asked.model, asked.note, headers, body, settings)


def quick(asked: Forest, content_type: str, accept: str, body: bytes) -> bytes | None:
    """The answer in JSON where rows are plain text and nothing else is wished, else None."""
    note: Note = asked.note
    mark = note.texts.get(content_type)
    if mark is None or accept not in _ANY:
        return None
    listed = asked.answer(body, mark)
    return None if listed is None else orjson.dumps(listed)


def _predict(
    model: Model, note: Note, headers: Mapping[str, str], body: bytes, settings: Settings
) -> Answer:
    traits, columns, own, *_ = note
    answer_type = encode.negotiate(headers.get(ACCEPT), own.accept or settings.default_accept)
    keys = own.output or settings.output
    if ATTRIBUTES in headers:
        keys = _selected(headers[ATTRIBUTES]) or keys
    content_type = headers.get(CONTENT_TYPE) or own.content_type
    rows = decode.decode(body, content_type, columns, settings.libsvm_base)
    if own.max_rows and len(rows) > own.max_rows:
        sentence = f"{len(rows)} rows; this model takes at most {own.max_rows} at once"
        raise HandlerError(Fault.BAD_REQUEST, sentence)
    if not keys:
        least = 1 if answer_type == content_types.CSV else _LEAST_BYTES
        _check_size(least * len(rows) * _numbers(traits), settings, "at least ")
        encoded = encode.encode(model.predict(rows), answer_type)
    else:
        kinds = outputs.kinds(keys, traits)
        predictions = {kind: _predicted(model, rows, kind) for kind in kinds}
        selected = outputs.select(keys, predictions, traits)
        encoded = encode.encode_selected(selected, keys, answer_type)
    return _answer(answer_type, encoded, settings)


def _answer(answer_type: str, encoded: bytes, settings: Settings) -> Answer:
    _check_size(len(encoded), settings)
    return Answer(200, answer_type, encoded)


def _check_size(size: int, settings: Settings, about: str = "") -> None:
    most = settings.max_response_bytes
    if size > most:
        sentence = f"the answer has {about}{size} bytes, at most are {most}; send fewer rows"
        raise HandlerError(Fault.BAD_REQUEST, sentence)


def _numbers(traits: Traits) -> int:
    """How many a row's answer has."""
    return 1 if traits.objective == "multi:softmax" else traits.groups


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
