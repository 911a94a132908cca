"""The handler service: load, unload and invoke for many models, under two kinds of worker.

Our own worker (``handler.worker``) passes every request of the gate to ``Service.answer``, and
gives disposable processes to try a model in before it is let in (``work`` is what they do). An
unmodified Multi Model Server starts its own worker on ``handler.service:handle`` with one model
directory, and is served that one model. It is function-style because MMS swallows what a class's
``initialize`` raises, and would then report a broken model as loaded.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from sagemaker_inference import content_types

from handler import directory
from handler.answer import Answer, PassedOnError, fault_answer
from handler.artifact import Artifact
from handler.directory import Found
from handler.disposable import DiedError, Disposables, Job
from handler.errors import Fault, HandlerError
from handler.memory import MIB, Room
from handler.model import FIRST
from handler.resident import ATTRIBUTES, CONTENT_TYPE, Part, Resident, predict, resident, rule
from handler.script import ScriptModel
from handler.settings import Settings
from handler.traits import Traits
from handler.trial import OPERATION, check, described, work

MODEL = "mme-model"
# Where a model's files are, percent-encoded; and when (CLOCK_MONOTONIC) nobody waits any more.
DIRECTORY, UNTIL = "mme-directory", "mme-until"
_SMALL_BODY_BYTES, _SMALL_MODEL_BYTES, _SMALL_WORK = 16 * 1024, 256 * 1024, 2 * 10**9
_MORE_WORK = 100  # times, that contributions take of what a prediction does
_SHARD_MARK = ".shard"  # in the directory of a service that the gate loads models into
_NO_DEADLINE_SECONDS = 300.0
_SINGLE = ""  # the name under which an unmodified MMS's one model is kept


class Service:
    """The models of one worker process, by name, and what can be asked of them."""

    def __init__(self, settings: Settings) -> None:
        self._models: dict[str, Resident | ScriptModel] = {}
        self._bytes: dict[str, int] = {}  # of memory that each takes
        self.settings = settings
        self._room = Room(settings.memory_reserve_mb * MIB, settings.model_memory_mb * MIB)
        self._disposables: Disposables | None = None

    def use(self, disposables: Disposables) -> None:
        """Try models in disposable processes from now on, instead of in this one."""
        self._disposables = disposables

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
                case other:
                    raise HandlerError(Fault.BAD_REQUEST, f"unknown operation {other!r}")
        except Exception as error:  # the boundary: each becomes an answer
            return fault_answer(error)
        return Answer(200, content_types.JSON, b"{}\n")

    def takes_long(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether an ``invoke`` or ``unload`` takes more than about a millisecond."""
        resident = self._models.get(headers.get(MODEL, _SINGLE))
        if isinstance(resident, ScriptModel):
            return True
        size = resident.model.size if resident else 0
        if headers.get(OPERATION) == "unload":
            return size > _SMALL_MODEL_BYTES or self._room.enough(size)
        # The body's bytes times the model's are about rows times trees.
        chosen = resident.settings.output if resident else ()
        if ATTRIBUTES in headers or chosen or self.settings.output:  # perhaps contributions
            return len(body) * size > _SMALL_WORK // _MORE_WORK
        return len(body) > _SMALL_BODY_BYTES or len(body) * size > _SMALL_WORK

    def asks_script(self, headers: Mapping[str, str]) -> bool:
        """Whether an ``invoke`` is of a model with a script, which takes as long as it likes."""
        return headers.get(OPERATION) == "invoke" and isinstance(
            self._models.get(headers.get(MODEL, _SINGLE)), ScriptModel
        )

    def load(self, name: str, place: Path, until: float) -> int:
        """Make the model in a directory resident, in place of another of that name.

        Args:
            name: of the model.
            place: the directory of its files.
            until: CLOCK_MONOTONIC seconds; later nobody waits for it.

        Returns:
            Bytes of memory that it takes.

        Raises:
            HandlerError: the artifact cannot be served, or there is no room; the message says why.
        """
        found = self._find(place)
        if found.script is not None:
            return self._load_script(name, found, until)
        parts, size = self._prepared(found, until)
        self.unload(name)
        self._room.take(size)
        try:
            self._models[name] = resident(parts, found.settings, self.settings)
        except BaseException:
            self._room.free(size)
            raise
        self._bytes[name] = size
        return size

    def _find(self, place: Path) -> Found:
        found = directory.find(place, self.settings.program, self._room.check)
        if found.script is not None and not self.settings.allow_scripts:
            raise HandlerError(
                Fault.BAD_MODEL,
                f"it has a script, {directory.CODE}/{self.settings.program}, which is not run: set "
                "MME_ALLOW_SCRIPTS=1, or remove it",
            )
        if rule(found.settings, self.settings) == FIRST:
            return replace(found, models=found.models[:1])
        return found

    def _load_script(self, name: str, found: Found, until: float) -> int:
        model = ScriptModel.start(found.directory, name, self.settings, found.settings, until)
        self.unload(name)
        try:
            self._room.take(model.size)
        except BaseException:
            model.close()
            raise
        self._models[name], self._bytes[name] = model, model.size
        return model.size

    def _prepared(self, found: Found, until: float) -> tuple[list[Part], int]:
        """Check the files where they can do no harm, and learn how much memory they take."""
        parts, size = [], 0
        for one in found.models:
            if self._disposables is None:
                part, taken = check(one, self.settings.threads)
            else:
                part, taken = self._checked_apart(one, until)
            parts.append(part)
            size += taken
        return parts, size

    def _checked_apart(self, one: Artifact, until: float) -> tuple[Part, int]:
        job = {OPERATION: "check"} | described([one])
        answer = self._in_disposable(job, [one.data], until)
        if answer.status != 200:
            raise PassedOnError(answer)
        head, _, data = answer.body.partition(b"\n")
        said = json.loads(head)
        return (one.path.name, data or one.data, Traits.from_json(said["traits"])), said["bytes"]

    def _try(self, name: str, place: Path, headers: Mapping[str, str], body: bytes) -> Answer:
        found = self._find(place)
        if found.script is not None:
            return self._try_script(name, found, headers, body)
        job = {OPERATION: "invoke"} | described(found.models)
        job["settings"] = found.settings.to_json()
        for key in (CONTENT_TYPE, ATTRIBUTES, "accept"):
            if key in headers:
                job[key] = headers[key]
        files = b"".join(one.data for one in found.models)
        return self._in_disposable(job, [files, body], _until(headers))

    def _try_script(
        self, name: str, found: Found, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        until, own = _until(headers), found.settings
        model = ScriptModel.start(found.directory, name, self.settings, own, until)
        try:
            return Answer(
                *model.answer(headers.get(CONTENT_TYPE), headers.get("accept"), body, until)
            )
        finally:
            model.close()

    def _in_disposable(self, job: Job, files: Sequence[bytes], until: float) -> Answer:
        check = job[OPERATION] == "check"
        if self._disposables is None:
            return Answer(*work(self.settings, job, files))
        begun = time.monotonic()
        try:
            return Answer(*self._disposables.run(job, files, until, apart=not check))
        except TimeoutError:
            seconds = round(time.monotonic() - begun, 1)
            if check:
                sentence = f"the model did not load in {seconds} s"
                raise HandlerError(Fault.BAD_MODEL, sentence) from None
            sentence = f"no answer in {seconds} s: the model hangs"
            raise HandlerError(Fault.MODEL_CRASHED, sentence) from None
        except DiedError as died:
            if str(died) == "out of memory":
                raise MemoryError from None
            raise HandlerError(
                Fault.MODEL_CRASHED, f"the model crashed ({died}); save it again or remove it"
            ) from None

    def unload(self, name: str) -> None:
        """Let a model go; one that is not resident is gone already."""
        model = self._models.pop(name, None)
        if model is not None:
            if isinstance(model, ScriptModel):
                model.close()
            del model  # the last reference, unless a prediction goes on
            self._room.free(self._bytes.pop(name, 0))

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
            raise HandlerError(Fault.MODEL_NOT_FOUND, f"Model not found: {name}")
        if isinstance(model, ScriptModel):
            return self._ask_script(name, model, headers, body)
        return predict(model, headers, body, self.settings)

    def _ask_script(
        self, name: str, model: ScriptModel, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        content_type, accept = headers.get(CONTENT_TYPE), headers.get("accept")
        try:
            return Answer(*model.answer(content_type, accept, body, _until(headers)))
        finally:
            if model.dead and self._models.get(name) is model:
                self.unload(name)  # who asks next has it started again


def _directory(headers: Mapping[str, str]) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(headers[DIRECTORY])))


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
            SERVICE.load(_SINGLE, place, time.monotonic() + _NO_DEADLINE_SECONDS)
        return None
    return [_answer_one(request, index, context) for index, request in enumerate(data)]


def _answer_one(request: dict[str, Any], index: int, context: Any) -> bytes:
    received = context.get_all_request_header(index).items()
    headers = {key.lower(): value for key, value in received if isinstance(value, str)}
    body = _as_bytes(request.get("body", b""))
    if OPERATION in headers:
        answer = SERVICE.answer(headers, body)
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
