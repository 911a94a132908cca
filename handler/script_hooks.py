"""A user's hooks, as ``sagemaker_inference`` runs them, inside the process of the script.

Its ``Transformer`` calls them, so scripts written for it work as they are. Here are the hooks that
a script may leave out, and what becomes of all that can go wrong in one.
"""

import json
import logging
import os
import sys
import traceback
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import numpy as np
from mms.context import Context, RequestProcessor  # type: ignore[import-untyped]  # it has no types
from numpy.lib.recfunctions import structured_to_unstructured
from sagemaker_inference import content_types, decoder, encoder, environment
from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
from sagemaker_inference.errors import (
    BaseInferenceToolkitError,
    GenericInferenceToolkitError,
    UnsupportedFormatError,
)
from sagemaker_inference.transformer import Transformer

from handler.errors import Fault
from handler.script_process import fault_body

Answer = tuple[int, str, bytes]

_HOOKS = (
    *("pre_model_fn", "model_fn", "model_warmup_fn"),
    *("transform_fn", "input_fn", "predict_fn", "output_fn"),
)
_BODY, _IMPORT = "body", "import"  # where the toolkit can be before the first hook
_LEAST_STATUS, _MOST_STATUS = 400, 598  # that a script may answer; the gate has its own use of 599
_MOST_CHARACTERS, _MOST_TYPE_CHARACTERS = 500, 200  # of a message, and of a content type
_OURS = (Fault.BAD_REQUEST, Fault.NOT_ACCEPTABLE, Fault.UNSUPPORTED_MEDIA_TYPE, Fault.BAD_MODEL)
_TYPES = {fault.status: fault.type for fault in _OURS}


def _npy_to_numpy(data: bytes) -> Any:
    return np.load(BytesIO(data), allow_pickle=False)


# The toolkit's own unpickles what a client sends, which is to run it.
decoder._decoder_map[content_types.NPY] = _npy_to_numpy


class Script:
    """One artifact's script: loads its model, answers requests.

    Args:
        asked: what the server says of it: the ``directory`` of the artifact, the ``name`` of the
            model, the ``program`` in the folder ``code``, its limits ``memory_mb`` and
            ``most_bytes`` (of an answer).
    """

    def __init__(self, asked: dict[str, Any]) -> None:
        self._directory, self._program = asked["directory"], asked["program"]
        self._memory_mb, self._most_bytes = asked["memory_mb"], asked["most_bytes"]
        self._called = f"code/{self._program}"
        self._transformer = _Transformer(_Defaults(self._called))
        self._context = Context(asked["name"], self._directory, {}, 1, None, "")

    def load(self) -> list[str] | None:
        """Import the script and have it load its model.

        Returns:
            None when all is well; else the name of a ``Fault`` and a sentence.
        """
        logging.basicConfig(format="%(message)s", level=logging.INFO)  # as MMS has it for scripts
        code = Path(self._directory, "code")
        os.chdir(self._directory)
        sys.path.insert(0, str(code))
        sys.argv = [str(code / self._program)]
        sys.dont_write_bytecode = True  # the artifact stays as it is
        if self._program.removesuffix(".py") in sys.modules:
            sentence = f"{self._called} has the name of a module that is in use; call it otherwise"
            return [Fault.BAD_MODEL.name, sentence]
        self._context.request_processor = [RequestProcessor({})]
        self._transformer.stage = _IMPORT
        try:
            self._transformer.validate_and_initialize(self._directory, self._context)
        except Exception as error:
            _log_traceback()
            # Its own limit is what it met: no unload of another model would help it.
            why = self._no_memory("to load") if _is_memory(error) else self._why_not(error)
            return [Fault.BAD_MODEL.name, why]
        return None

    def _why_not(self, error: Exception) -> str:
        if isinstance(error, _NoModelFnError):
            return str(error)
        if self._transformer.stage == _IMPORT:
            return f"{self._called} does not load: {_last_line(error)}"
        return f"{self._transformer.stage} of {self._called} failed: {_last_line(error)}"

    def answer(self, asked: dict[str, Any], body: bytes) -> Answer:
        """Answer one request; all that a hook raises is an answer too.

        Args:
            asked: ``content_type`` and ``accept``, each a text or None.
            body: the client's.
        """
        properties = {"Content-Type": asked["content_type"], "Accept": asked["accept"]}
        processor = RequestProcessor({name: text for name, text in properties.items() if text})
        self._context.request_processor = [processor]
        self._context.request_ids = {0: str(asked["number"])}
        self._transformer.stage = _BODY
        try:
            result = self._transformer.transform([{"body": body}], self._context)[0]
            data = _as_bytes(result, self._transformer.stage)
            kind = _content_type(processor.get_response_header("content-type"), asked["accept"])
        except Exception as error:
            return self._fault(error)
        if len(data) > self._most_bytes:
            most = self._most_bytes
            sentence = f"the answer has {len(data)} bytes, at most are {most}; send fewer rows"
            return _faulty(Fault.BAD_REQUEST.status, sentence)
        status = processor.get_response_status_code()
        return status if _may_answer(status) else 200, kind, data

    def _fault(self, error: Exception) -> Answer:
        """What a client is told: the exception's own line at most; the rest is for the log."""
        stage = self._transformer.stage
        if isinstance(error, UnicodeDecodeError) and stage == _BODY:
            return _faulty(Fault.BAD_REQUEST.status, "the body is not UTF-8")
        if isinstance(error, UnsupportedFormatError):
            fault = Fault.NOT_ACCEPTABLE if stage == "output_fn" else Fault.UNSUPPORTED_MEDIA_TYPE
            return _faulty(fault.status, _first_line(error))
        status = Fault.BAD_MODEL.status
        if _is_memory(error):
            sentence = self._no_memory("for this request")
        elif isinstance(error, BaseInferenceToolkitError):
            given = getattr(error, "status_code", None)
            status = given if _may_answer(given) else status
            sentence = str(getattr(error, "message", ""))[:_MOST_CHARACTERS]
        else:
            sentence = _last_line(error)
        if status >= Fault.BAD_MODEL.status:
            _log_traceback()
        return _faulty(status, sentence)

    def _no_memory(self, what: str) -> str:
        return (
            f"{self._called} wants more memory {what} than its {self._memory_mb} MB; raise "
            "script_memory_mb in mme.json, or MME_SCRIPT_MEMORY_MB"
        )


class _NoModelFnError(Exception):
    """The script has no ``model_fn``."""


class _Transformer(Transformer):  # type: ignore[misc]  # the toolkit is untyped
    """The toolkit's, but it tells where it is, and exceptions come out of it as they are."""

    stage = ""  # the hook that was called last

    def _run_handler_function(self, func: Any, *argv: Any) -> Any:
        self.stage = next(hook for hook in _HOOKS if getattr(self, f"_{hook}") is func)
        return super()._run_handler_function(func, *argv)

    @staticmethod
    def handle_error(_context: Any, _inference_exception: Any, _trace: str) -> Any:
        raise  # what is being handled: the usual answer would have the traceback


class _Defaults(DefaultInferenceHandler):  # type: ignore[misc]  # the toolkit is untyped
    """What a script may leave out."""

    def __init__(self, called: str) -> None:
        self._called = called
        self._decoded: Any = None  # rows that no hook of the user's has seen yet

    def default_model_fn(self, _model_dir: str, _context: Any = None) -> Any:
        sentence = f"{self._called} has no model_fn, which every script needs to load its model"
        raise _NoModelFnError(sentence)

    def default_input_fn(self, body: Any, content_type: str | None, _context: Any = None) -> Any:
        kind = (content_type or "").partition(";")[0].strip().lower()
        if kind not in decoder._decoder_map:
            known = ", ".join(decoder._decoder_map)
            sentence = f"{content_type} is not read without an input_fn; {known} are"
            raise GenericInferenceToolkitError(Fault.UNSUPPORTED_MEDIA_TYPE.status, sentence)
        try:
            if kind in content_types.UTF8_TYPES and isinstance(body, bytes):
                body = body.decode()  # the toolkit knows it only without parameters
            self._decoded = decoder.decode(body, kind)
        except MemoryError:
            raise
        except Exception as error:
            cause = " ".join(str(error).split())
            _refuse(f"the body is not {kind}: {cause}")
        return self._decoded

    def default_predict_fn(self, data: Any, model: Any, _context: Any = None) -> Any:
        clients, self._decoded = data is self._decoded, None
        xgboost = sys.modules.get("xgboost")
        booster = xgboost is not None and isinstance(model, xgboost.Booster)
        features = model.num_features() if booster else getattr(model, "n_features_in_", None)
        rows = _table(data, features) if isinstance(data, np.ndarray) else data
        if clients and isinstance(rows, np.ndarray):
            if rows.dtype.kind not in "biuf":
                _refuse("the body has what is not a number")
            if features and rows.shape[1] != features:
                _refuse(f"rows have {rows.shape[1]} columns; the model takes {features}")
        if xgboost is None or not booster or isinstance(rows, xgboost.DMatrix):
            return model.predict(rows)
        names = model.feature_names if rows is not data or clients else None
        return model.predict(xgboost.DMatrix(rows, feature_names=names))

    def default_output_fn(self, prediction: Any, accept: str, _context: Any = None) -> Any:
        for wish in accept.split(","):
            kind = _without_wildcard(wish)
            if kind in encoder.SUPPORTED_CONTENT_TYPES:
                return encoder.encode(prediction, kind), kind
        known = ", ".join(encoder._encoder_map)
        sentence = f"{accept} cannot be given without an output_fn; {known} can"
        raise GenericInferenceToolkitError(Fault.NOT_ACCEPTABLE.status, sentence)


def _refuse(sentence: str) -> NoReturn:
    raise GenericInferenceToolkitError(Fault.BAD_REQUEST.status, sentence)


def _table(data: Any, features: int | None) -> Any:
    """Rows and columns; what the toolkit reads has one dimension if it has one row or column."""
    if data.dtype.names:  # CSV with whole numbers in some columns and others in others
        data = structured_to_unstructured(data)
    if data.ndim > 1:
        return data
    return data.reshape(-1, 1) if features == 1 else data.reshape(1, -1)


def _without_wildcard(wish: str) -> str:
    """The type that a media range names; the usual one for any."""
    kind = wish.partition(";")[0].strip().lower()
    return str(environment.Environment().default_accept) if kind == content_types.ANY else kind


def _content_type(given: object, accept: str | None) -> str:
    """The answer's content type: what a hook returned with it, or what the client accepts."""
    if given == accept and isinstance(given, str) and any(mark in given for mark in ",;*"):
        given = _without_wildcard(given.partition(",")[0])
    if (
        isinstance(given, str)
        and given.isascii()
        and given.isprintable()
        and 0 < len(given) <= _MOST_TYPE_CHARACTERS
    ):
        return given
    raise TypeError(f"output_fn or transform_fn returned {given!r:.60} as the content type")


def _as_bytes(result: object, hook: str) -> bytes:
    """What a hook returned, as Multi Model Server would send it."""
    if isinstance(result, str):
        return result.encode()
    if isinstance(result, bytes | bytearray | memoryview):
        return bytes(result)
    if result is not None:
        try:
            return json.dumps(result, indent=2).encode()
        except (TypeError, ValueError):
            pass
    kind = type(result).__name__
    raise TypeError(f"{hook} returned {kind}; it must be str, bytes, or what JSON can hold")


def _may_answer(status: object) -> TypeGuard[int]:
    return isinstance(status, int) and _LEAST_STATUS <= status <= _MOST_STATUS


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "bad_alloc" in _first_line(error)  # XGBoost's


def _first_line(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:
        return "it cannot be shown"
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _last_line(error: Exception) -> str:
    """How a traceback ends, but for what a long message has in further lines."""
    kind, line = type(error).__name__, _first_line(error)
    return f"{kind}: {line}"[:_MOST_CHARACTERS] if line else kind


def _faulty(status: int, sentence: str) -> Answer:
    try:
        usual = HTTPStatus(status).phrase.replace(" ", "").replace("-", "") + "Exception"
    except ValueError:
        usual = "ScriptException"
    body = fault_body(status, _TYPES.get(status, usual), sentence)
    return status, content_types.JSON, body


def _log_traceback() -> None:
    try:
        traceback.print_exc()
    except Exception:  # the script has closed what it goes to
        return
