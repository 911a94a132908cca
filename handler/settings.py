"""Every environment variable of the handler, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagemaker_inference import content_types, parameters

OFFERED: tuple[str, ...] = (  # a wildcard gets the first that it fits
    content_types.JSON,
    content_types.CSV,
    "application/jsonlines",
    "application/x-recordio-protobuf",
    content_types.NPY,
)
_MOST_THREADS = 1024


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

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the environment.

        Raises:
            SettingsError: a value cannot be read.
        """
        accept = environ.get(parameters.DEFAULT_INVOCATIONS_ACCEPT_ENV, "").strip().lower()
        if accept.partition(";")[0].strip() not in ("", *OFFERED):
            raise SettingsError(
                f"{parameters.DEFAULT_INVOCATIONS_ACCEPT_ENV} is {accept!r}: "
                f"it must be {' or '.join(OFFERED)}"
            )
        base = environ.get("MME_LIBSVM_BASE", "").strip()
        if base not in ("", "0", "1"):
            raise SettingsError(f"MME_LIBSVM_BASE is {base!r}: it must be 0 or 1")
        threads = environ.get("MME_THREADS", "").strip() or "1"
        if not (threads.isascii() and threads.isdigit() and 1 <= int(threads) <= _MOST_THREADS):
            raise SettingsError(f"MME_THREADS is {threads!r}: it must be 1 to {_MOST_THREADS}")
        numbers = {
            "MME_MEMORY_RESERVE_MB": "0",
            "MME_MODEL_MEMORY_MB": "0",
            "MME_MAX_RESPONSE_BYTES": "104857600",
        }
        for variable in numbers:
            text = numbers[variable] = environ.get(variable, "").strip() or numbers[variable]
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                raise SettingsError(f"{variable} is {text!r}: it must be a number")
        return cls(
            memory_reserve_mb=int(numbers["MME_MEMORY_RESERVE_MB"]),
            model_memory_mb=int(numbers["MME_MODEL_MEMORY_MB"]),
            max_response_bytes=int(numbers["MME_MAX_RESPONSE_BYTES"]),
            default_accept=accept or content_types.JSON,
            libsvm_base=int(base or 0),
            threads=int(threads),
        )
