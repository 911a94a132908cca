"""The handler service: load, unload and invoke for many models, under two kinds of worker.

Our own worker (``handler.worker``) passes every request of the gate to ``Service.answer``, and
gives disposable processes to try models in (``handler.admission``). An unmodified Multi Model
Server starts its own worker on ``handler.service:handle`` with one model directory, and is served
that one model. It is function-style because MMS swallows what a class's ``initialize`` raises, and
would then report a broken model as loaded.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_inference import content_types

from handler import envelope, forest
from handler.admission import Admission
from handler.answer import Answer, fault_answer
from handler.directory import Found
from handler.envelope import (
    ACCEPT,
    ATTRIBUTES,
    CONTENT_TYPE,
    DIRECTORY,
    MODEL,
    OPERATION,
    UNTIL,
    EnvelopeError,
)
from handler.errors import Fault, HandlerError
from handler.forest import Forest
from handler.memory import MIB, Room
from handler.resident import Resident, memory_of, predict, quick, resident
from handler.script import ScriptModel
from handler.settings import Settings
from handler.trial import described

_SMALL_BODY_BYTES, _SMALL_MODEL_BYTES, _SMALL_WORK = 16 * 1024, 256 * 1024, 2 * 10**9
_SMALL_TEXT_BYTES = 64 * 1024  # of plain rows, which a forest reads in a third of a millisecond
_MORE_WORK = 100  # times, that contributions take of what a prediction does
_SHARD_MARK = ".shard"  # in the directory of a service that the gate loads models into
_NO_DEADLINE_SECONDS = 300.0
_SINGLE = ""  # the name under which an unmodified MMS's one model is kept


class Service:
    """The models of one worker process, by name, and what can be asked of them."""

    def __init__(self, settings: Settings) -> None:
        self._models: dict[str, Forest | Resident | ScriptModel] = {}
        self._for_xgboost: set[str] = set()  # models of which a forest was asked what it cannot
        self.settings = settings
        self._room = Room(settings.memory_reserve_mb * MIB, settings.model_memory_mb * MIB)
        self.admission = Admission(settings, self._room)

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request of the gate; every fault is an answer, nothing is raised.

        Args:
            headers: lower-case names; ``mme-operation`` is ``load``, ``unload``, ``invoke`` or
                ``try`` (invoke in a process of its own), ``mme-model`` the name; ``load`` and
                ``try`` have the model's ``mme-directory``.
            body: the client's.
        """
        name = headers.get(MODEL, _SINGLE)
        try:
            match headers.get(OPERATION):
                case "invoke":
                    return self.invoke(name, headers, body)
                case "load":
                    size = self.load(name, _directory(headers), _until(headers))
                    return Answer(200, content_types.JSON, b'{"bytes": %d}\n' % size)
                case "try":
                    return self._try(name, _directory(headers), headers, body)
                case "unload":
                    self.unload(name)
                    self._for_xgboost.discard(name)
                case other:
                    raise HandlerError(Fault.BAD_REQUEST, f"unknown operation {other!r}")
        except Exception as error:  # the boundary: each becomes an answer
            return fault_answer(error)
        return Answer(200, content_types.JSON, b"{}\n")

    def quick(self, name: str, content_type: str, accept: str, body: bytes) -> bytes | None:
        """Answer an ``invoke`` as ``answer`` would, for the gate, if it takes some microseconds.

        Args:
            name: of the model.
            content_type: as the client sent it; empty for none.
            accept: likewise.
            body: the client's.
        """
        model = self._models.get(name)
        if type(model) is not Forest or len(body) > _SMALL_TEXT_BYTES:
            return None
        if len(body) * (model.size + model.note.work) > _SMALL_WORK:
            return None
        try:
            encoded = quick(model, content_type, accept, body)
        except Exception:  # ``answer`` will meet it again, and say what it is
            return None
        if encoded is None or len(encoded) > self.settings.max_response_bytes:
            return None
        return b"mme 200\n" + encoded

    def takes_long(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether an ``invoke`` or ``unload`` takes more than about a millisecond."""
        model = self._models.get(headers.get(MODEL, _SINGLE))
        if model is None:
            return False
        if isinstance(model, ScriptModel):
            return True
        size = model.size if isinstance(model, Forest) else model.model.size
        if headers.get(OPERATION) == "unload":
            return size > _SMALL_MODEL_BYTES or self._room.enough(size)
        # The body's bytes times the model's are about rows times trees.
        work = len(body) * (size + model.note.work)
        if ATTRIBUTES in headers or model.note.settings.output or self.settings.output:
            return work > _SMALL_WORK // _MORE_WORK  # perhaps contributions
        plain = isinstance(model, Forest) and headers.get(CONTENT_TYPE) in model.note.texts
        most = _SMALL_TEXT_BYTES if plain else _SMALL_BODY_BYTES
        return len(body) > most or work > _SMALL_WORK

    def asks_script(self, headers: Mapping[str, str]) -> bool:
        """Whether an ``invoke`` is of a model with a script, which takes as long as it likes."""
        return headers.get(OPERATION) == "invoke" and isinstance(
            self._models.get(headers.get(MODEL, _SINGLE)), ScriptModel
        )

    def load(self, name: str, place: Path, until: float, *, by_xgboost: bool = False) -> int:
        """Make the model in a directory resident, in place of another of that name.

        Args:
            name: of the model.
            place: the directory of its files.
            until: CLOCK_MONOTONIC seconds; later nobody waits for it.
            by_xgboost: it is never a forest, for nobody would load it again.

        Returns:
            Bytes of memory that it takes.

        Raises:
            HandlerError: the artifact cannot be served, or there is no room; the message says why.
        """
        found = self.admission.find(place)
        if found.script is not None:
            return self._load_script(name, found, until)
        with_forest = not by_xgboost and name not in self._for_xgboost
        parts, size = self.admission.prepared(found, until, with_forest)
        self.unload(name)
        self._room.take(size)
        try:
            model = resident(parts, found.settings, self.settings, size, with_forest=with_forest)
        except BaseException:
            self._room.free(size)
            raise
        self._register(name, model)
        taken = memory_of(model)  # it was counted as XGBoost's, if it had to be put right first
        if size > taken:
            self._room.free(size - taken)
        return taken

    def _load_script(self, name: str, found: Found, until: float) -> int:
        model = ScriptModel.start(found.directory, name, self.settings, found.settings, until)
        self.unload(name)
        try:
            self._room.take(model.size)
        except BaseException:
            model.close()
            raise
        self._register(name, model)
        return model.size

    def _register(self, name: str, model: Forest | Resident | ScriptModel) -> None:
        old, self._models[name] = self._models.get(name), model
        if old is not None:  # of a load that came to its end after nobody waited for it
            size = _ended(old)
            del old
            self._room.free(size)

    def _try(self, name: str, place: Path, headers: Mapping[str, str], body: bytes) -> Answer:
        found = self.admission.find(place)
        if found.script is not None:
            return self._try_script(name, found, headers, body)
        job = {OPERATION: "invoke"} | described(found.models)
        job["settings"] = found.settings.to_json()
        for key in (CONTENT_TYPE, ATTRIBUTES, ACCEPT):
            if key in headers:
                job[key] = headers[key]
        files = b"".join(one.data for one in found.models)
        return self.admission.in_disposable(job, [files, body], _until(headers))

    def _try_script(
        self, name: str, found: Found, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        until, own = _until(headers), found.settings
        model = ScriptModel.start(found.directory, name, self.settings, own, until)
        try:
            return Answer(
                *model.answer(headers.get(CONTENT_TYPE), headers.get(ACCEPT), body, until)
            )
        finally:
            model.close()

    def unload(self, name: str) -> None:
        """Let a model go; one that is not resident is gone already."""
        model = self._models.pop(name, None)
        if model is not None:
            size = _ended(model)
            del model  # the last reference, unless a prediction goes on
            self._room.free(size)

    def invoke(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Decode the rows, predict, encode.

        Args:
            name: of the model.
            headers: ``mme-content-type``, ``accept``, ``mme-attributes``, each where the client
                has sent it.
            body: the client's.

        Raises:
            HandlerError: 404 when the model is not resident, 4xx for the client's mistakes.
        """
        model = self._models.get(name)
        if model is None:
            raise _not_found(name)
        if isinstance(model, ScriptModel):
            return self._ask_script(name, model, headers, body)
        try:
            return predict(model, headers, body, self.settings)
        except forest.XgboostAloneError:
            # As if it were not here: it is loaded again, from its files, and XGBoost has it then.
            self._for_xgboost.add(name)
            if self._models.get(name) is model:
                self.unload(name)
            raise _not_found(name) from None

    def _ask_script(
        self, name: str, model: ScriptModel, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        content_type, accept = headers.get(CONTENT_TYPE), headers.get(ACCEPT)
        try:
            return Answer(*model.answer(content_type, accept, body, _until(headers)))
        finally:
            if model.dead and self._models.get(name) is model:
                self.unload(name)  # who asks next has it started again


def _ended(model: Forest | Resident | ScriptModel) -> int:
    """End what a model has running; bytes of memory that it took."""
    if isinstance(model, ScriptModel):
        model.close()
        return model.size
    return memory_of(model)


def _not_found(name: str) -> HandlerError:
    return HandlerError(Fault.MODEL_NOT_FOUND, f"Model not found: {name}")


def _directory(headers: Mapping[str, str]) -> Path:
    return Path(headers[DIRECTORY])


def _until(headers: Mapping[str, str]) -> float:
    return float(headers[UNTIL]) if UNTIL in headers else time.monotonic() + _NO_DEADLINE_SECONDS


# The one of this process, whichever worker runs it.
SERVICE = Service(Settings.from_environ(os.environ))


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[bytes] | None:
    """Multi Model Server's entry point, called by its own worker.

    Args:
        data: None when the worker starts, else a batch of requests; each has its body as bytes,
            or as text or parsed JSON where ``decode_input_request`` is on.
        context: MMS's context: the model's directory, request headers, response status.

    Returns:
        One body a request; None when the worker starts.

    Raises:
        HandlerError: the model in the directory cannot be served.
    """
    if data is None:
        place = Path(context.system_properties["model_dir"])
        if not (place / _SHARD_MARK).exists():
            until = time.monotonic() + _NO_DEADLINE_SECONDS
            SERVICE.load(_SINGLE, place, until, by_xgboost=True)
        return None
    return [_answer_one(request, index, context) for index, request in enumerate(data)]


def _answer_one(request: dict[str, Any], index: int, context: Any) -> bytes:
    received = context.get_all_request_header(index).items()
    headers = {key.lower(): value for key, value in received if isinstance(value, str)}
    body = _as_bytes(request.get("body", b""))
    if headers.get("content-type") == envelope.MEDIA_TYPE:
        try:
            answer = SERVICE.answer(*envelope.unseal(body))
        except EnvelopeError as error:
            answer = fault_answer(error)
        context.set_response_content_type(index, answer.content_type)
        return answer.for_gate()
    try:
        for theirs, ours in _CLIENTS_HEADERS:
            if theirs in headers:
                headers[ours] = headers[theirs]
        answer = SERVICE.invoke(_SINGLE, headers, body)
    except Exception as error:  # MMS would answer 503 whatever it is
        answer = fault_answer(error)
    context.set_response_status(answer.status, _PHRASE.get(answer.status, "Error"), index)
    context.set_response_content_type(index, answer.content_type)
    return answer.body


_CLIENTS_HEADERS = (
    ("content-type", CONTENT_TYPE),
    ("x-amzn-sagemaker-custom-attributes", ATTRIBUTES),
)
_PHRASE = {200: "OK"} | {fault.status: fault.type.removesuffix("Exception") for fault in Fault}


def _as_bytes(body: Any) -> bytes:
    """The body as it was sent, or the same value written again where MMS decoded it."""
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body).encode()
