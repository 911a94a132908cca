"""Every environment variable of the handler, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sagemaker_inference import content_types, parameters

OFFERED: tuple[str, ...] = (  # a wildcard gets the first that it fits
    content_types.JSON,
    content_types.CSV,
    "application/jsonlines",
    "application/x-recordio-protobuf",
    content_types.NPY,
)
KEYS = (  # what can be selected of a prediction
    *("predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores"),
    *("predicted_score", "contributions", "leaf_indices"),
)
_BOUNDS = {
    "MME_LIBSVM_BASE": (0, 1),
    "MME_THREADS": (1, 1024),
    "MME_SCRIPT_MEMORY_MB": (64, 1024 * 1024),
}


class SettingsError(Exception):
    """An environment variable holds what it cannot mean; the message says what it may."""


def _setting(variable: str, default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"variable": variable, "help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment may change. docs/03-settings.md is made from this class."""

    default_accept: str = _setting(
        parameters.DEFAULT_INVOCATIONS_ACCEPT_ENV,
        content_types.JSON,
        "The content type of an answer for which the client has no wish.",
    )
    libsvm_base: int = _setting(
        "MME_LIBSVM_BASE",
        0,
        "The index of the first feature in `text/libsvm`: 0, as XGBoost's own reader has it, or 1.",
    )
    threads: int = _setting(
        "MME_THREADS",
        1,
        "Threads that one prediction uses; 1 is best where many models are asked at once.",
    )
    forest: bool = _setting(
        "MME_FOREST",
        True,
        "`false` has XGBoost itself hold and ask all models, with the same answers: ten times the "
        "memory, and slower.",
    )
    max_response_bytes: int = _setting(
        "MME_MAX_RESPONSE_BYTES",
        100 * 1024 * 1024,
        "A request whose answer would be larger is refused with 400.",
    )
    memory_reserve_mb: int = _setting(
        "MME_MEMORY_RESERVE_MB",
        0,
        "Memory that stays free: a model that would take of it is refused with 507, so that the "
        "platform unloads others; 0 reserves 64 MB and a sixteenth of the container's limit.",
    )
    model_memory_mb: int = _setting(
        "MME_MODEL_MEMORY_MB",
        0,
        "Memory for models: one that would take more is refused with 507, as on a smaller "
        "instance; 0 lets them take what the container's limit leaves.",
    )
    output: tuple[str, ...] = _setting(
        "SAGEMAKER_INFERENCE_OUTPUT",
        (),
        "The figures of a row that are answered, such as `predicted_label,probability`, instead of "
        "the prediction alone.",
    )
    ensemble: bool = _setting(
        "SAGEMAKER_INFERENCE_ENSEMBLE",
        True,
        "`false` takes the first of several model files in an artifact, instead of asking all.",
    )
    batch: bool = _setting(
        "SAGEMAKER_BATCH",
        False,
        "Set by batch transform: an answer for which the client has no wish is then `text/csv`, "
        "unless `SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT` says otherwise.",
    )
    allow_scripts: bool = _setting(
        "MME_ALLOW_SCRIPTS",
        False,
        "`true` or `1` runs the script that an artifact brings in `code/`, in a process of its "
        "own; else an artifact with one is refused.",
    )
    program: str = _setting(
        "SAGEMAKER_PROGRAM", "inference.py", "The script's file in `code/` of an artifact."
    )
    script_memory_mb: int = _setting(
        "MME_SCRIPT_MEMORY_MB", 1024, "Memory that each model's script may use."
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            SettingsError: a value cannot be read.
        """
        values: dict[str, Any] = {}
        for setting in fields(cls):
            variable = setting.metadata["variable"]
            if text := environ.get(variable, "").strip():
                values[setting.name] = _read(variable, text, setting.default)
        if values.get("batch"):
            values.setdefault("default_accept", content_types.CSV)
        return cls(**values)


def _read(variable: str, text: str, default: object) -> object:
    match variable, default:
        case parameters.DEFAULT_INVOCATIONS_ACCEPT_ENV, _:
            accept = text.lower()
            if accept.partition(";")[0].strip() in OFFERED:
                return accept
            raise SettingsError(f"{variable} is {accept!r}: it must be {' or '.join(OFFERED)}")
        case "SAGEMAKER_INFERENCE_OUTPUT", _:
            return _read_output(variable, text)
        case "SAGEMAKER_PROGRAM", _:
            return _read_program(variable, text)
        case _, bool():
            if text.lower() not in ("true", "false", "1", "0"):
                raise SettingsError(f"{variable} is {text!r}: it must be true or false")
            return text.lower() in ("true", "1")
    return _read_number(variable, text)


def _read_output(variable: str, text: str) -> tuple[str, ...]:
    keys = tuple(dict.fromkeys(key for part in text.split(",") if (key := part.strip().lower())))
    for key in keys:
        if key not in KEYS:
            sentence = f"{variable} has {key[:40]!r}: it must be of {', '.join(KEYS)}"
            raise SettingsError(sentence)
    return keys


def _read_program(variable: str, text: str) -> str:
    if "/" in text or not text.endswith(".py") or text.startswith("."):
        sentence = (
            f"{variable} is {text!r}: it must be a Python file in code/, such as inference.py"
        )
        raise SettingsError(sentence)
    return text


def _read_number(variable: str, text: str) -> int:
    lowest, highest = _BOUNDS.get(variable, (0, 10**9 - 1))
    if text.isascii() and text.isdigit() and lowest <= int(text) <= highest:
        return int(text)
    if variable == "MME_LIBSVM_BASE":
        raise SettingsError(f"{variable} is {text!r}: it must be 0 or 1")
    raise SettingsError(f"{variable} is {text!r}: it must be a number, {lowest} to {highest}")
