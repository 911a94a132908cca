"""Every limit of the local endpoint, in one place; the values are the platform's."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

_LEAST, _MOST = 0.1, 1e12


class SettingsError(Exception):
    """An environment variable holds what it cannot mean; the message says what it may."""


def _setting(variable: str, default: int, help_text: str) -> Any:
    return field(default=default, metadata={"variable": variable, "help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment may change. docs/03-settings.md is made from this class."""

    port: float = _setting("MME_LOCAL_PORT", 4599, "Where it listens, if `--port` does not say.")
    invoke_seconds: float = _setting(
        "MME_LOCAL_INVOKE_SECONDS",
        60,
        "An invocation is answered within this time; one whose model is not loaded by then gets "
        "ModelNotReadyException, while the load goes on.",
    )
    load_seconds: float = _setting(
        "MME_LOCAL_LOAD_SECONDS", 360, "A container loads or unloads a model within this time."
    )
    failure_seconds: float = _setting(
        "MME_LOCAL_FAILURE_SECONDS",
        10,
        "A load that failed is remembered for so long: requests for the model get its error, and "
        "only afterwards the load is tried again.",
    )
    ping_seconds: float = _setting(
        "MME_LOCAL_PING_SECONDS",
        5,
        "Between two looks at a container: `GET /ping` and `GET /models`, and at its memory.",
    )
    max_body_bytes: float = _setting(
        "MME_LOCAL_MAX_BODY_BYTES", 6_291_456, "A larger body of an invocation is refused with 413."
    )
    floor_seconds: float = _setting(
        "MME_LOCAL_FLOOR_SECONDS",
        0,
        "A model stays loaded for so long at least, which the platform does not promise: a cure "
        "against thrashing where too many models are asked for.",
    )
    instance_memory_mb: float = _setting(
        "MME_LOCAL_INSTANCE_MEMORY_MB",
        0,
        "An instance's memory, instead of what its type has; 0 takes the type's.",
    )
    minute_seconds: float = _setting(
        "MME_LOCAL_MINUTE_SECONDS",
        60,
        "The minute of automatic scaling: policies are looked at, and invocations counted, over "
        "this time.",
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            SettingsError: a value is no number, or negative.
        """
        values: dict[str, float] = {}
        for setting in fields(cls):
            variable = setting.metadata["variable"]
            if text := environ.get(variable, "").strip():
                try:
                    values[setting.name] = float(text)
                except ValueError:
                    raise SettingsError(f"{variable} is {text!r}: it must be a number") from None
                least = 0 if setting.default == 0 else _LEAST
                if not least <= values[setting.name] < _MOST:
                    raise SettingsError(f"{variable} is {text!r}: it must be {least} or more")
        return cls(**values)
