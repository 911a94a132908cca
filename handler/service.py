"""The handler service: load, unload and invoke for many models, under two kinds of worker.

Our own worker (``handler.worker``) passes every request of the gate to ``Service.answer``. An
unmodified Multi Model Server starts its own worker on ``handler.service:handle`` with one model
directory, and is served that one model. It is function-style because MMS swallows what a class's
``initialize`` raises, and would then report a broken model as loaded.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sagemaker_inference import content_types

from handler import artifact, decode, encode
from handler.errors import Fault, HandlerError
from handler.memory import Freed
from handler.model import Model, load_model
from handler.settings import Settings

OPERATION, MODEL, CONTENT_TYPE = "mme-operation", "mme-model", "mme-content-type"
_SMALL_BODY_BYTES, _SMALL_MODEL_BYTES, _SMALL_WORK = 16 * 1024, 256 * 1024, 2 * 10**9
_SHARD_MARK = ".shard"  # in the directory of a service that the gate loads models into
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
        self._freed = Freed()
        self._settings = settings

    def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request of the gate; every fault is an answer, nothing is raised.

        Args:
            headers: lower-case names; ``mme-operation`` is ``load`` (the body is the directory's
                path), ``unload`` or ``invoke`` (the body is the client's), ``mme-model`` the name.
            body: bytes, as the operation takes them.
        """
        name = headers.get(MODEL, _SINGLE)
        try:
            match headers.get(OPERATION):
                case "invoke":
                    content_type, accept = headers.get(CONTENT_TYPE), headers.get("accept")
                    return self.invoke(name, content_type, accept, body)
                case "load":
                    self.load(name, Path(os.fsdecode(body)))
                case "unload":
                    self.unload(name)
                case other:
                    raise HandlerError(Fault.BAD_REQUEST, f"unknown operation {other!r}")
        except Exception as error:  # the boundary: each becomes an answer
            return fault_answer(error)
        return Answer(200, content_types.JSON, b"{}\n")

    def takes_long(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the answer to a request of the gate takes more than about a millisecond."""
        operation = headers.get(OPERATION)
        if operation == "load":
            return artifact.size(os.fsdecode(body)) > _SMALL_MODEL_BYTES
        model = self._models.get(headers.get(MODEL, _SINGLE))
        size = model.size if model else 0
        if operation == "unload":
            return size > _SMALL_MODEL_BYTES or self._freed.enough(size)
        # The body's bytes times the model's are about rows times trees.
        return len(body) > _SMALL_BODY_BYTES or len(body) * size > _SMALL_WORK

    def load(self, name: str, directory: Path) -> None:
        """Make the model in ``directory`` resident, in place of another of that name.

        Raises:
            HandlerError: the artifact cannot be served; the message says why.
        """
        self._models[name] = load_model(artifact.find(directory), self._settings.threads)

    def unload(self, name: str) -> None:
        """Let a model go; one that is not resident is gone already."""
        model = self._models.pop(name, None)
        if model is not None:
            size = model.size
            del model  # the last reference, unless a prediction goes on
            self._freed.add(size)

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
        answer_type = encode.negotiate(accept, self._settings.default_accept)
        rows = decode.decode(body, content_type, model.num_features, self._settings.libsvm_base)
        return Answer(200, answer_type, encode.encode(model.predict(rows), answer_type))


def fault_answer(error: Exception) -> Answer:
    """The answer for whatever went wrong: one sentence, never a traceback."""
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
            SERVICE.load(_SINGLE, directory)
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
