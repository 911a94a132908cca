"""``mme.json``: what a model's own directory says of how it is to be served.

What it sets holds for this model alone, before the container's environment and after what a request
asks for itself. A key or a value that is not known is refused, as a misspelt one would be.
"""

import functools
import json
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import orjson

from handler import outputs
from handler.errors import Fault, HandlerError
from handler.settings import OFFERED

RULES = ("mean", "vote", "first")  # how several model files answer as one
_MOST_THREADS = 1024
_MOST_ROWS = 2**31 - 1
_LEAST_MEMORY_MB, _MOST_MEMORY_MB = 64, 1024 * 1024
_MOST_SECONDS = 3600


def _key(default: Any, meaning: str, value: str) -> Any:
    return field(default=default, metadata={"help": meaning, "value": value})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What ``mme.json`` may say. docs/03-settings.md is made from this class.

    The defaults stand for what the container's settings say, or for no limit.
    """

    content_type: str = _key(
        "", "What the body of a request is that names no content type.", "a content type"
    )
    accept: str = _key(
        "", "The content type of an answer for which the client has no wish.", " or ".join(OFFERED)
    )
    output: tuple[str, ...] = _key(
        (), "The figures of a row that are answered, in this order.", "a list of output keys"
    )
    threads: int = _key(0, "Threads that one prediction uses.", f"1 to {_MOST_THREADS}")
    ensemble: str = _key(
        "", "How several model files answer as one.", " or ".join(f'"{rule}"' for rule in RULES)
    )
    max_rows: int = _key(0, "A request with more rows is refused with 400.", f"1 to {_MOST_ROWS}")
    script_memory_mb: int = _key(
        0, "Memory that the model's script may use.", f"{_LEAST_MEMORY_MB} to {_MOST_MEMORY_MB}"
    )
    script_seconds: int = _key(
        0, "Time that the model's script may take for one request.", f"1 to {_MOST_SECONDS}"
    )

    def to_json(self) -> str:
        """As text, which ``from_text`` reads."""
        return json.dumps(asdict(self))

    @staticmethod
    @functools.lru_cache(maxsize=1024)
    def from_text(text: str) -> "ModelSettings":
        """Read what ``to_json`` wrote. Models that are alike share one object."""
        fields = json.loads(text)
        return ModelSettings(**fields | {"output": tuple(fields["output"])})

    @staticmethod
    @functools.lru_cache(maxsize=1024)
    def from_json(data: bytes) -> "ModelSettings":
        """Read ``mme.json``.

        Raises:
            HandlerError: 500, it holds what it may not; the message says what it may.
        """
        try:
            document = orjson.loads(data)
        except ValueError as error:
            _refuse(f"is not JSON: {error}")
        if not isinstance(document, dict):
            _refuse("must be a JSON object")
        values: dict[str, Any] = {}
        for key, value in document.items():
            if key == "limits":
                if not isinstance(value, dict):
                    _refuse("has limits that are no JSON object")
                for limit, number in value.items():
                    values[limit] = _limit(limit, number)
            else:
                values[key] = _value(key, value)
        return ModelSettings(**values)


LIMITS = {  # of a number
    "max_rows": (1, _MOST_ROWS),
    "script_memory_mb": (_LEAST_MEMORY_MB, _MOST_MEMORY_MB),
    "script_seconds": (1, _MOST_SECONDS),
}
_KEYS = ("content_type", "accept", "output", "threads", "ensemble", "limits")


def _value(key: str, value: object) -> object:
    match key, value:
        case "content_type", str(text) if text.strip():
            return text
        case "accept", str(text):
            named = text.strip().lower()
            if named in OFFERED:
                return named
            _refuse(f"has accept {text[:40]!r}: it must be {' or '.join(OFFERED)}")
        case "output", list(keys) if keys and all(isinstance(one, str) for one in keys):
            return _output(keys)
        case "threads", _:
            return _number("threads", value, 1, _MOST_THREADS)
        case "ensemble", str(rule) if rule in RULES:
            return rule
        case "ensemble", _:
            _refuse(f"has ensemble {_shown(value)}: it must be {' or '.join(RULES)}")
        case (("content_type" | "accept" | "output"), _):
            kind = "a list of texts" if key == "output" else "a text"
            _refuse(f"has {key} {_shown(value)}: it must be {kind}")
    _refuse(f"has the unknown key {key[:40]!r}; known are {', '.join(_KEYS)}")


def _output(keys: list[str]) -> tuple[str, ...]:
    try:
        return outputs.parse(",".join(keys))
    except HandlerError as error:
        _refuse(f"has an {error.message}")


def _limit(name: str, value: object) -> int:
    if name not in LIMITS:
        _refuse(f"has the unknown limit {name[:40]!r}; known are {', '.join(LIMITS)}")
    return _number(name, value, *LIMITS[name])


def _number(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    _refuse(f"has {name} {_shown(value)}: it must be {least} to {most}")


def _shown(value: object) -> str:
    return repr(value)[:40]


def _refuse(sentence: str) -> NoReturn:
    raise HandlerError(Fault.BAD_MODEL, f"mme.json {sentence}")
