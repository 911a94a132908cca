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
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from sagemaker_inference import content_types

from handler import artifact, decode, encode, structure
from handler.artifact import Artifact
from handler.disposable import DiedError, Disposables, Job, Reply
from handler.errors import Fault, HandlerError
from handler.memory import MIB, Room, heap_bytes
from handler.model import Model, load_model
from handler.settings import Settings

OPERATION, MODEL, CONTENT_TYPE = "mme-operation", "mme-model", "mme-content-type"
# Where a model's files are, percent-encoded; and when (CLOCK_MONOTONIC) nobody waits any more.
DIRECTORY, UNTIL = "mme-directory", "mme-until"
_SMALL_BODY_BYTES, _SMALL_MODEL_BYTES, _SMALL_WORK = 16 * 1024, 256 * 1024, 2 * 10**9
_SHARD_MARK = ".shard"  # in the directory of a service that the gate loads models into
_NO_DEADLINE_SECONDS = 300.0
_HEAP_SHARE = 3  # halves of its file's size that a model takes, where malloc cannot say
_MODEL_BYTES, _NODE_BYTES = 6144, 64  # that a small model takes, and each of its nodes: measured
_CACHED_BYTES = 64 * 1024  # the most that malloc was seen to give from its cache, for one model
_SINGLE = ""  # the name under which an unmodified MMS's one model is kept


class Answer(NamedTuple):
    """What goes back: an HTTP status, the content type of the body, and the body."""

    status: int
    content_type: str
    body: bytes

    def for_gate(self) -> bytes:
        """The body with its status in front, since MMS closes the connection on any but 2xx."""
        return b"mme %d\n%b" % (self.status, self.body)


class Service:
    """The models of one worker process, by name, and what can be asked of them."""

    def __init__(self, settings: Settings) -> None:
        self._models: dict[str, Model] = {}
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
                    content_type, accept = headers.get(CONTENT_TYPE), headers.get("accept")
                    return self.invoke(name, content_type, accept, body)
                case "load":
                    size = self.load(name, _directory(headers), _until(headers))
                    return Answer(200, content_types.JSON, b'{"bytes": %d}\n' % size)
                case "try":
                    return self._try(_directory(headers), headers, body)
                case "unload":
                    self.unload(name)
                case other:
                    raise HandlerError(Fault.BAD_REQUEST, f"unknown operation {other!r}")
        except Exception as error:  # the boundary: each becomes an answer
            return fault_answer(error)
        return Answer(200, content_types.JSON, b"{}\n")

    def takes_long(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether an ``invoke`` or ``unload`` takes more than about a millisecond."""
        model = self._models.get(headers.get(MODEL, _SINGLE))
        size = model.size if model else 0
        if headers.get(OPERATION) == "unload":
            return size > _SMALL_MODEL_BYTES or self._room.enough(size)
        # The body's bytes times the model's are about rows times trees.
        return len(body) > _SMALL_BODY_BYTES or len(body) * size > _SMALL_WORK

    def load(self, name: str, directory: Path, until: float) -> int:
        """Make the model in ``directory`` resident, in place of another of that name.

        Args:
            name: of the model.
            directory: where its file is.
            until: CLOCK_MONOTONIC seconds; later nobody waits for it.

        Returns:
            Bytes of memory that it takes.

        Raises:
            HandlerError: the artifact cannot be served, or there is no room; the message says why.
        """
        found = artifact.find(directory, admit=self._room.check)
        size = self._tried(found, until)
        self.unload(name)
        self._room.take(size)
        try:
            self._models[name] = load_model(found, self.settings.threads)
        except BaseException:
            self._room.free(size)
            raise
        self._bytes[name] = size
        return size

    def _tried(self, found: Artifact, until: float) -> int:
        """Check the model where it can do no harm, and learn how much memory it takes."""
        if self._disposables is None:
            return check(found, self.settings.threads)
        job = {OPERATION: "check"} | described(found)
        answer = self._in_disposable(job, [found.data], until)
        if answer.status != 200:
            raise _PassedOnError(answer)
        return int(json.loads(answer.body)["bytes"])

    def _try(self, directory: Path, headers: Mapping[str, str], body: bytes) -> Answer:
        found = artifact.find(directory, admit=self._room.check)
        job = {OPERATION: "invoke"} | described(found)
        job |= {key: headers[key] for key in (CONTENT_TYPE, "accept") if key in headers}
        return self._in_disposable(job, [found.data, body], _until(headers))

    def _in_disposable(self, job: Job, files: Sequence[bytes], until: float) -> Answer:
        check = job[OPERATION] == "check"
        if self._disposables is None:
            return Answer(*work(job, files))
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
            del model  # the last reference, unless a prediction goes on
            self._room.free(self._bytes.pop(name, 0))

    def invoke(
        self, name: str, content_type: str | None, accept: str | None, body: bytes
    ) -> Answer:
        """Decode the rows, predict, encode.

        Raises:
            HandlerError: 404 when the model is not resident, 4xx for the client's mistakes.
        """
        model = self._models.get(name)
        if model is None:
            raise HandlerError(Fault.MODEL_NOT_FOUND, f"Model not found: {name}")
        return predict(model, content_type, accept, body, self.settings)


def predict(
    model: Model, content_type: str | None, accept: str | None, body: bytes, settings: Settings
) -> Answer:
    """Decode the rows, predict, encode.

    Raises:
        HandlerError: 4xx for the client's mistakes.
    """
    answer_type = encode.negotiate(accept, settings.default_accept)
    rows = decode.decode(body, content_type, model.num_features, settings.libsvm_base)
    encoded = encode.encode(model.predict(rows), answer_type)
    if len(encoded) > settings.max_response_bytes:
        most = settings.max_response_bytes
        sentence = f"the answer has {len(encoded)} bytes, at most are {most}; send fewer rows"
        raise HandlerError(Fault.BAD_REQUEST, sentence)
    return Answer(200, answer_type, encoded)


def check(found: Artifact, threads: int = 1) -> int:
    """Check a model's file as a whole, load it and predict once, and let it go.

    Returns:
        Bytes of memory that the model takes.

    Raises:
        HandlerError: it cannot be served; the message says why.
    """
    if found.version is None:
        artifact.check_rewritten(found)
    nodes = structure.check(found)
    before = heap_bytes()
    model = load_model(found, threads)
    after = heap_bytes()
    if before is None or after is None:
        return model.size * _HEAP_SHARE // 2
    # What earlier models left in malloc's cache and this one was given does not show in the heap.
    unseen = _MODEL_BYTES + _NODE_BYTES * nodes - (after - before)
    return max(model.size // 2, after - before + min(max(0, unseen), _CACHED_BYTES))


def work(job: Job, files: Sequence[bytes]) -> Reply:
    """Do the job of a disposable process: check a model, or have it answer one request.

    Raises:
        MemoryError: it takes too much.
    """
    version = json.loads(job["version"])
    found = Artifact(Path(job["file"]), artifact.Format(job["format"]), version, files[0])
    settings = SERVICE.settings
    try:
        if job[OPERATION] == "check":
            body = b'{"bytes": %d}\n' % check(found, settings.threads)
            return 200, content_types.JSON, body
        model = load_model(found, settings.threads)
        return predict(model, job.get(CONTENT_TYPE), job.get("accept"), files[1], settings)
    except MemoryError:
        raise
    except Exception as error:
        return fault_answer(error)


class _PassedOnError(Exception):
    """An answer that is a fault already."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def described(found: Artifact) -> dict[str, str]:
    """What a job of a disposable process says of its model."""
    return {
        "file": found.path.name,
        "format": found.format.value,
        "version": json.dumps(found.version),
    }


def _directory(headers: Mapping[str, str]) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(headers[DIRECTORY])))


def _until(headers: Mapping[str, str]) -> float:
    return float(headers[UNTIL]) if UNTIL in headers else time.monotonic() + _NO_DEADLINE_SECONDS


def fault_answer(error: Exception) -> Answer:
    """The answer for whatever went wrong: one sentence, never a traceback."""
    if isinstance(error, _PassedOnError):
        return error.answer
    if isinstance(error, MemoryError):
        error = HandlerError(Fault.OUT_OF_MEMORY, "not enough memory; unload models and try again")
    elif not isinstance(error, HandlerError):
        cause = str(error).partition("\n")[0]
        sentence = f"the model failed: {type(error).__name__}: {cause}"
        error = HandlerError(Fault.BAD_MODEL, sentence)
    return Answer(error.fault.status, content_types.JSON, error.body())


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
        directory = Path(context.system_properties["model_dir"])
        if not (directory / _SHARD_MARK).exists():
            SERVICE.load(_SINGLE, directory, time.monotonic() + _NO_DEADLINE_SECONDS)
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
        answer = SERVICE.invoke(_SINGLE, headers.get("content-type"), headers.get("accept"), body)
    except Exception as error:  # MMS would answer 503 whatever it is
        answer = fault_answer(error)
    context.set_response_status(answer.status, _PHRASE.get(answer.status, "Error"), index)
    context.set_response_content_type(index, answer.content_type)
    return answer.body


_PHRASE = {200: "OK"} | {fault.status: fault.type.removesuffix("Exception") for fault in Fault}


def _as_bytes(body: Any) -> bytes:
    """The body as it was sent, or the same value written again where MMS decoded it."""
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body).encode()
