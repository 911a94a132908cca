"""Universal Binary JSON as XGBoost has it, read strictly: no length may pass the file's end.

Source: https://ubjson.org/type-reference/ and XGBoost's ``UBJReader``. XGBoost's own reader takes a
length from the file at its word, and then crashes or allocates until it is killed.
"""

import contextlib
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from handler.formats import FormatError

MAX_DEPTH = 64  # a model has eight levels

_NUMBERS = {
    ord("i"): struct.Struct(">b"),
    ord("U"): struct.Struct(">B"),
    ord("I"): struct.Struct(">h"),
    ord("l"): struct.Struct(">i"),
    ord("L"): struct.Struct(">q"),
    ord("d"): struct.Struct(">f"),
    ord("D"): struct.Struct(">d"),
}
_DTYPES = {mark: np.dtype(number.format) for mark, number in _NUMBERS.items()}
_EMPTY = {dtype: np.empty(0, dtype) for dtype in _DTYPES.values()}
_FLOATS = {mark: number for mark, number in _NUMBERS.items() if mark in b"dD"}
_WHOLE = {mark: number for mark, number in _NUMBERS.items() if mark not in _FLOATS}
_CONSTANTS = {ord("T"): True, ord("F"): False, ord("Z"): None}
_WRITTEN = {value: bytes((mark,)) for mark, value in _CONSTANTS.items()}
_LENGTH = struct.Struct(">cq")
_length = _LENGTH.unpack_from
_COUNTER = struct.Struct(">q")
_count = _COUNTER.unpack_from
_OBJECT, _ARRAY, _STRING, _CHAR = b"{[SC"
_END_OBJECT, _END_ARRAY, _TYPE, _COUNT = b"}]$#"


class UbjError(FormatError):
    """The bytes are not UBJ; the message says where and why."""

    def __init__(self, why: str) -> None:
        super().__init__(f"damaged: {why}")


def loads(data: bytes) -> Any:
    """Read one value that is all of ``data``.

    Returns:
        dict, list, str, int, float, bool or None as in JSON; an array of one type as a numpy array
        (big-endian, read-only, over ``data``).

    Raises:
        UbjError: the bytes end early, go on after the value, or are not UBJ.
    """
    try:
        value, at = _value(data, 0, 0)
    except (IndexError, struct.error):
        raise UbjError("it ends early") from None
    except UnicodeDecodeError:
        raise UbjError("a text in it is not UTF-8") from None
    if at != len(data):
        raise UbjError(f"{len(data) - at} bytes follow its end")
    return value


def dumps(document: Any) -> bytes:
    """Write what ``loads`` returns, as XGBoost writes it.

    Args:
        document: as of JSON; a number takes the smallest type that holds it, a numpy array of a
            type that UBJ has becomes an array of that type, in whatever order its bytes are.

    Raises:
        TypeError: there is something in it that UBJ has not.
    """
    parts: list[bytes] = []
    _write(document, parts.append)
    return b"".join(parts)


def _write(value: Any, put: Callable[[bytes], None]) -> None:
    match value:
        case str():
            put(b"S" + _text(value))
        case np.ndarray():
            array = value.astype(value.dtype.newbyteorder(">"), copy=False)
            put(b"[$" + _mark(array.dtype) + b"#" + _LENGTH.pack(b"L", len(array)))
            put(array.tobytes())
        case None | bool():
            put(_WRITTEN[value])
        case int() | float():
            put(_number(value))
        case list() | tuple():
            put(b"[#" + _LENGTH.pack(b"L", len(value)))
            for item in value:
                _write(item, put)
        case dict():
            put(b"{")
            for key, item in value.items():
                put(_text(key))
                _write(item, put)
            put(b"}")
        case _:
            raise TypeError(f"UBJ has no {type(value).__name__}")


def _mark(dtype: "np.dtype[Any]") -> bytes:
    for mark, known in _DTYPES.items():
        if known == dtype:
            return bytes((mark,))
    raise TypeError(f"UBJ has no array of {dtype}")


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _LENGTH.pack(b"L", len(encoded)) + encoded


def _number(value: float) -> bytes:
    """A number in the smallest type that has it; what no type has exactly is NaN."""
    for mark, form in (_WHOLE if isinstance(value, int) else _FLOATS).items():
        with contextlib.suppress(struct.error, OverflowError):
            packed = form.pack(value)
            if form.unpack(packed)[0] == value:
                return bytes((mark,)) + packed
    if math.isnan(value):
        return b"D" + _NUMBERS[ord("D")].pack(value)
    raise TypeError(f"UBJ has no integer as large as {value}")


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    mark = data[at]
    at += 1
    if mark == _STRING:
        return _string(data, at)
    if mark == _ARRAY:
        return _array(data, at, depth + 1)
    if mark == _OBJECT:
        return _object(data, at, depth + 1)
    if mark in _NUMBERS:
        number = _NUMBERS[mark]
        return number.unpack_from(data, at)[0], at + number.size
    if mark in _CONSTANTS:
        return _CONSTANTS[mark], at
    if mark == _CHAR:
        return chr(data[at]), at + 1
    raise UbjError(f"byte {at - 1} is not the mark of a value: {mark}")


def _string(data: bytes, at: int) -> tuple[str, int]:
    size, at = _size(data, at, 1)
    return data[at : at + size].decode(), at + size


def _size(data: bytes, at: int, item_bytes: int) -> tuple[int, int]:
    """A length, which the file must be long enough for, and the place after it."""
    mark, size = _length(data, at)
    if mark != b"L":
        raise UbjError(f"byte {at} does not begin a length")
    at += _LENGTH.size
    if size < 0:
        raise UbjError(f"a length of {size} at byte {at}")
    if at + size * item_bytes > len(data):
        raise UbjError(f"a length of {size} at byte {at}: beyond the file, it ends early")
    return size, at


def _object(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    if depth > MAX_DEPTH:
        raise UbjError(f"it is nested deeper than {MAX_DEPTH}")
    found = {}
    while data[at] != _END_OBJECT:
        mark, size = _length(data, at)
        start = at + _LENGTH.size
        at = start + size
        if mark != b"L" or size < 0 or at >= len(data):
            _size(data, start - _LENGTH.size, 1)  # says what is wrong
        key = data[start:at].decode()
        if data[at] == _ARRAY:
            found[key], at = _array(data, at + 1, depth + 1)
        else:
            found[key], at = _value(data, at, depth)
    return found, at + 1


def _array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise UbjError(f"it is nested deeper than {MAX_DEPTH}")
    if data[at] == _TYPE:
        dtype = _DTYPES.get(data[at + 1])
        if dtype is None or data[at + 2] != _COUNT:
            raise UbjError(f"an array of no known type at byte {at}")
        size, at = _size(data, at + 3, dtype.itemsize)
        array = np.frombuffer(data, dtype, size, at) if size else _EMPTY[dtype]
        return array, at + size * dtype.itemsize
    found: list[Any] = []
    if data[at] == _COUNT:
        size, at = _size(data, at + 1, 1)
        form: _Form = []
        while len(found) < size:
            alike = _alike(data, at, form) if form else None
            if alike is not None:
                value, at = alike
            else:
                start = at
                value, at = _value(data, at, depth)
                if data[start] == _OBJECT and size > 2:
                    form = _form(value)
            found.append(value)
        return found, at
    while data[at] != _END_ARRAY:
        value, at = _value(data, at, depth)
        found.append(value)
    return found, at + 1


# Objects in an array are mostly alike, as the trees of a model are: the same keys in the same order
# before arrays of the same types. The second is read by the bytes that came before each of the
# first's arrays; what is between those is read as any value is.
# For each field its key, the bytes up to an array's length, or to the value that is no array, how
# many these are, and an array's type and bytes an item.
_Form = list[tuple[str, bytes, int, "np.dtype[Any] | None", int]]


def _form(value: dict[str, Any]) -> _Form:
    form: _Form = []
    for key, item in value.items():
        name = key.encode()
        head = _LENGTH.pack(b"L", len(name)) + name
        if isinstance(item, np.ndarray):
            mark = next(mark for mark, dtype in _DTYPES.items() if dtype == item.dtype)
            head += bytes((_ARRAY, _TYPE, mark, _COUNT)) + b"L"
            form.append((key, head, len(head), item.dtype, item.dtype.itemsize))
        else:
            form.append((key, head, len(head), None, 0))
    return form


def _alike(data: bytes, at: int, form: _Form) -> tuple[dict[str, Any], int] | None:
    """Read an object of a form, or None if it is another."""
    if data[at] != _OBJECT:
        return None
    at += 1
    found = {}
    whole = len(data)
    for key, head, head_bytes, dtype, item_bytes in form:
        if not data.startswith(head, at):
            return None
        at += head_bytes
        if dtype is None:
            found[key], at = _value(data, at, 2)
            continue
        (size,) = _count(data, at)
        at += _COUNTER.size
        end = at + size * item_bytes
        if size <= 0 or end > whole:
            if size:
                return None  # to be read again by who says what is wrong
            found[key] = _EMPTY[dtype]
        else:
            found[key] = np.frombuffer(data, dtype, size, at)
            at = end
    return (found, at + 1) if data[at] == _END_OBJECT else None
