"""Requests checked as AWS checks them, by the service's own model, which botocore carries."""

import functools
import json
import math
import re
from typing import Any, NoReturn

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from mme.local.control.errors import RequestError, unknown_operation, unreadable

SAGEMAKER, SAGEMAKER_RUNTIME = "sagemaker", "sagemaker-runtime"
# Characters; longer strings are measured only, for matching a pattern may take quadratic time.
_MATCHED = 4096
_NAMES = {"integer": "an Integer", "long": "a Long", "float": "a Float", "double": "a Double"}
# What Python's expressions have no name for, where the models' have: in a class of characters, the
# letters and digits (with the underscore, which stands beside them everywhere), spaces, ASCII.
_JAVA = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"\p{Print}": " -~",
    r"\p{ASCII}": r"[\x00-\x7f]",
    r"\z": r"\Z",
}


@functools.cache
def service(name: str = SAGEMAKER) -> ServiceModel:
    """A service's model; the first time takes a while."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@functools.cache
def operation_model(name: str, operation: str) -> OperationModel:
    """An operation of a service.

    Raises:
        RequestError: it has none of that name.
    """
    if operation not in service(name).operation_names:
        raise unknown_operation()
    return service(name).operation_model(operation)


def parse(operation: str, body: bytes) -> dict[str, Any]:
    """Read a request for SageMaker.

    Returns:
        Its fields, as far as the operation knows them: AWS ignores others, and those that are null.

    Raises:
        RequestError: it is no JSON of the operation's types, or what it says cannot be; all that
            is wrong is in the message.
    """
    fields, found = check(SAGEMAKER, operation, parse_json(body))
    if found:
        raise RequestError(message(found))
    return fields


def parse_json(body: bytes) -> dict[str, Any]:
    """Read a body.

    Raises:
        RequestError: it is no JSON, or no object.
    """
    try:
        document = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise unreadable() from None
    if isinstance(document, list):
        raise unreadable("Start of list found where not expected")
    if not isinstance(document, dict):
        raise unreadable()
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def check(name: str, operation: str, document: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Hold the fields of a request against the model of an operation.

    Args:
        name: of the service: ``sagemaker``, ``sagemaker-runtime``.
        operation: of the service.
        document: fields by name.

    Returns:
        The fields that the operation knows, and what is wrong with them.

    Raises:
        RequestError: a value is of another type than its field.
    """
    found: list[str] = []
    shape = operation_model(name, operation).input_shape
    return ({} if shape is None else _structure(shape, document, "", found)), found


def message(found: list[str]) -> str:
    """What AWS says about all that is wrong."""
    errors = "error" if len(found) == 1 else "errors"
    return f"{len(found)} validation {errors} detected: {'; '.join(found)}"


def _value(shape: Shape, value: Any, path: str, found: list[str]) -> Any:
    """Check a value; returns it with what the model knows of it."""
    if isinstance(shape, StructureShape):
        if shape.is_tagged_union or shape.is_document_type:
            return value
        return _structure(shape, value, f"{path}.", found)
    if isinstance(shape, ListShape):
        return _list(shape, value, path, found)
    if isinstance(shape, MapShape):
        return _map(shape, value, path, found)
    value = _scalar(shape, value)
    found += [_failure(value, path, rule) for rule in _broken(shape, value)]
    return value


def _failure(value: Any, path: str, rule: str) -> str:
    return f"Value '{_text(value)}' at '{path}' failed to satisfy constraint: {rule}"


def _structure(shape: StructureShape, value: Any, prefix: str, found: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        is_list = isinstance(value, list)
        raise unreadable("Start of list found where not expected" if is_list else "Expected null")
    known: dict[str, Any] = {}
    for name, member in shape.members.items():
        path = f"{prefix}{name[0].lower()}{name[1:]}"
        if value.get(name) is not None:
            known[name] = _value(member, value[name], path, found)
        elif name in shape.required_members:
            found.append(
                f"Value null at '{path}' failed to satisfy constraint: Member must not be null"
            )
    return known


def _list(shape: ListShape, value: Any, path: str, found: list[str]) -> list[Any]:
    if not isinstance(value, list):
        is_map = isinstance(value, dict)
        expected = "Start of structure or map found where not expected."
        raise unreadable(expected if is_map else "Expected list or null")
    found += [_failure(value, path, rule) for rule in _broken_length(shape, len(value))]
    if _is_nested(shape.member):
        return [
            _value(shape.member, one, f"{path}.{number}.member", found)
            for number, one in enumerate(value, 1)
        ]
    scalars = [_scalar(shape.member, one) for one in value]
    if any(_broken(shape.member, one) for one in scalars):
        found.append(_failure(value, path, f"Member must satisfy {_all_rules(shape.member)}"))
    return scalars


def _map(shape: MapShape, value: Any, path: str, found: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        is_list = isinstance(value, list)
        raise unreadable("Start of list found where not expected" if is_list else "Expected null")
    found += [_failure(value, path, rule) for rule in _broken_length(shape, len(value))]
    if any(_broken(shape.key, key) for key in value):
        found.append(_failure(value, path, f"Map keys must satisfy {_all_rules(shape.key)}"))
    if _is_nested(shape.value):
        return {
            key: _value(shape.value, one, f"{path}.{key}.member", found)
            for key, one in value.items()
        }
    scalars = {key: _scalar(shape.value, one) for key, one in value.items()}
    if any(_broken(shape.value, one) for one in scalars.values()):
        found.append(_failure(value, path, f"Map value must satisfy {_all_rules(shape.value)}"))
    return scalars


def _is_nested(shape: Shape) -> bool:
    return isinstance(shape, StructureShape | ListShape | MapShape)


def _scalar(shape: Shape, value: Any) -> Any:
    """A value that is of the type, else an error as AWS's deserializer words it."""
    kind = shape.type_name
    if isinstance(value, list):
        raise unreadable("Start of list found where not expected")
    if isinstance(value, dict):
        raise unreadable("Start of structure or map found where not expected.")
    if value is None:
        raise unreadable()
    if isinstance(value, bool):
        if kind != "boolean":
            raise _unconverted(f"{value}".upper(), kind)
    elif isinstance(value, str):
        if kind not in ("string", "blob", "character"):
            raise _unconverted("STRING", kind)
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise unreadable()  # half a character, which nothing could write down
    elif isinstance(value, int | float):
        return _number(kind, value)
    return value


def _number(kind: str, value: float) -> float:
    if kind in ("integer", "long") and value == value // 1:
        return int(value)
    if kind not in ("float", "double", "timestamp"):
        raise _unconverted("NUMBER", kind)
    try:
        value = float(value)
    except OverflowError:
        raise unreadable() from None
    if not math.isfinite(value):
        raise unreadable()
    return value


def _unconverted(found: str, kind: str) -> RequestError:
    wanted = _NAMES.get(kind, f"a {kind.capitalize()}")
    if kind == "timestamp":
        wanted = "milliseconds since epoch"
    return unreadable(f"{found}_VALUE can not be converted to {wanted}")


def _broken(shape: Shape, value: Any) -> list[str]:
    """The rules for a value that is no list, map or structure which it does not keep."""
    rules = shape.metadata
    if isinstance(value, str):
        broken = _broken_length(shape, len(value))
        if "enum" in rules and value not in rules["enum"]:
            broken.append(_enum_rule(shape))
        pattern = rules.get("pattern")
        if pattern is not None and len(value) <= _MATCHED:
            compiled = _compiled(pattern)
            if compiled is not None and compiled.fullmatch(value) is None:
                broken.append(f"Member must satisfy regular expression pattern: {pattern}")
        return broken
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    broken = []
    if "max" in rules and value > rules["max"]:
        broken.append(f"Member must have value less than or equal to {rules['max']}")
    if "min" in rules and value < rules["min"]:
        broken.append(f"Member must have value greater than or equal to {rules['min']}")
    return broken


def _broken_length(shape: Shape, length: int) -> list[str]:
    rules, broken = shape.metadata, []
    if "max" in rules and length > rules["max"]:
        broken.append(f"Member must have length less than or equal to {rules['max']}")
    if "min" in rules and length < rules["min"]:
        broken.append(f"Member must have length greater than or equal to {rules['min']}")
    return broken


def _enum_rule(shape: Shape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.metadata['enum'])}]"


def _all_rules(shape: Shape) -> str:
    """All rules of a list's or a map's elements, broken or not: so AWS names them."""
    rules, said = shape.metadata, []
    if "max" in rules:
        said.append(f"Member must have length less than or equal to {rules['max']}")
    if rules.get("min"):
        said.append(f"Member must have length greater than or equal to {rules['min']}")
    if "enum" in rules:
        said.append(_enum_rule(shape))
    if "pattern" in rules:
        said.append(f"Member must satisfy regular expression pattern: {rules['pattern']}")
    return f"constraint: [{', '.join(said)}]"


@functools.cache
def _compiled(pattern: str) -> "re.Pattern[str] | None":
    """A pattern of the model, or nothing if Python cannot have it: then it is not checked."""
    translated = pattern
    for java, python in _JAVA.items():
        translated = translated.replace(java, python)
    try:
        return re.compile(translated, re.ASCII if translated == pattern else 0)
    except re.error:
        return None


def _text(value: Any) -> str:
    """A value as Java prints it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(one) for one in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)
