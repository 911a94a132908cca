"""SageMaker's RecordIO of protobuf records, both ways.

A frame is a magic number, a length and a record, padded to four bytes. A record maps names to
tensors: ``features`` (of a request) and ``label`` (of an answer), each ``values``, and for a sparse
row ``keys`` and ``shape``. Source: ``aialgs.data.Record`` of ``sagemaker-containers``, and dmlc's
``recordio.h``, whose writer cuts a record where the magic number is in it and leaves it out.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from handler.errors import Fault, HandlerError

FEATURES, LABEL = 1, 2  # fields of a record
_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _MAGIC)
_LENGTH_BITS = 29  # of a frame's second number; the others say which part of a record it holds
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_TENSORS = {2: "<f4", 3: "<f8", 7: "i4"}  # a value's fields; the last one's numbers are varints
_BYTES_VALUE = 9
_MOST_VARINT_BYTES = 10


class Tensor(NamedTuple):
    """Numbers under one name of a record.

    Attributes:
        values: float32, float64 or int32.
        keys: where each of them is, of a sparse tensor; else empty.
        shape: of the whole; empty where the record does not say.
    """

    values: NDArray[np.generic]
    keys: NDArray[np.uint64]
    shape: tuple[int, ...]


def read(body: bytes, field: int = FEATURES, name: str = "values") -> Iterator[Tensor]:
    """Read one tensor of each record.

    Args:
        body: frames.
        field: ``FEATURES`` or ``LABEL``.
        name: the tensor's.

    Raises:
        HandlerError: 400, a frame or record is damaged, or has no such tensor.
    """
    for number, record in enumerate(_records(body), start=1):
        try:
            yield _tensor(record, field, name.encode())
        except _DamagedError as damage:
            _refuse(f"record {number}: {damage}")


def write(rows: Iterable[Mapping[str, Sequence[float]]]) -> bytes:
    """Write a record for each row, whose labels are the row's numbers.

    Args:
        rows: by name; numbers must fit into float32.
    """
    parts: list[bytes] = []
    for row in rows:
        record = b"".join(
            _head(LABEL, name, len(values)) + struct.pack(f"<{len(values)}f", *values)
            for name, values in row.items()
        )
        parts += (_frame_head(len(record)), record, bytes(-len(record) % 4))
    return b"".join(parts)


def dense_head(count: int) -> bytes:
    """All that a frame has before the numbers, if it holds nothing but one dense float32 row."""
    head = _head(FEATURES, "values", count)
    return _frame_head(len(head) + 4 * count) + head


def _frame_head(length: int) -> bytes:
    return struct.pack("<II", _MAGIC, length)


def _head(field: int, name: str, count: int) -> bytes:
    """A map's entry with a tensor of so many float32, up to them."""
    size = 4 * count
    values = b"\x0a" + _varint(size) if count else b""
    tensor = b"\x12" + _varint(len(values) + size) + values
    key = b"\x0a" + _varint(len(name.encode())) + name.encode()
    value = b"\x12" + _varint(len(tensor) + size) + tensor
    return bytes([field << 3 | _BYTES]) + _varint(len(key) + len(value) + size) + key + value


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


class _DamagedError(Exception):
    """What is wrong in a record."""


def _refuse(sentence: str) -> NoReturn:
    raise HandlerError(Fault.BAD_REQUEST, sentence)


def _records(body: bytes) -> Iterator[bytes]:
    """What the frames hold; the parts of a record that is in several are joined."""
    at, number = 0, 0
    parts: list[bytes] = []
    while at < len(body):
        number += 1
        if len(body) < at + 8:
            _refuse(f"frame {number} is cut off")
        magic, length = struct.unpack_from("<II", body, at)
        if magic != _MAGIC:
            _refuse(f"frame {number} does not begin with RecordIO's magic number")
        part, length = length >> _LENGTH_BITS, length & ((1 << _LENGTH_BITS) - 1)
        end = at + 8 + length
        if end + -length % 4 > len(body):
            _refuse(f"frame {number} is cut off: {length} bytes are promised")
        if part > _LAST or (part in (_WHOLE, _FIRST)) == bool(parts):
            _refuse(f"frame {number} is not the part of a record that must come here")
        parts.append(body[at + 8 : end])
        if part == _WHOLE:
            yield parts.pop()
        elif part == _LAST:
            yield _MAGIC_BYTES.join(parts)
            parts.clear()
        at = end + -length % 4
    if parts:
        _refuse("the last record is cut off: its last part is missing")


def _tensor(record: bytes, field: int, name: bytes) -> Tensor:
    value: bytes | None = None
    for number, wire, entry in _fields(record):
        if (number, wire) == (field, _BYTES):
            key, found = _entry(entry)
            if key == name:
                value = found  # of entries with one name the last counts
    if value is None:
        maps = {FEATURES: "features", LABEL: "label"}
        raise _DamagedError(f"{maps[field]} has no {name.decode()!r}")
    kind, parts = 0, list[bytes]()
    for number, wire, payload in _fields(value):
        if wire == _BYTES and (number in _TENSORS or number == _BYTES_VALUE):
            if number != kind:  # of the kinds of value the last counts
                kind, parts = number, []
            parts.append(payload)
    if kind not in _TENSORS:
        raise _DamagedError(f"{name.decode()!r} is not a tensor of numbers")
    return _numbers(_TENSORS[kind], _joined(parts))


def _entry(entry: bytes) -> tuple[bytes, bytes]:
    """A map's entry: its name and its value, which is empty if it has none."""
    key, values = b"", list[bytes]()
    for number, wire, payload in _fields(entry):
        if (number, wire) == (1, _BYTES):
            key = payload
        elif (number, wire) == (2, _BYTES):
            values.append(payload)
    return key, _joined(values)


def _numbers(kind: str, tensor: bytes) -> Tensor:
    values, keys, shape = list[bytes](), list[bytes](), list[bytes]()
    single = {"<f4": _FIXED32, "<f8": _FIXED64, "i4": _VARINT}[kind]
    for number, wire, payload in _fields(tensor):
        if number == 1 and wire in (_BYTES, single):
            if wire == _BYTES and single != _VARINT and len(payload) % int(kind[-1]):
                raise _DamagedError("a number is cut off")
            values.append(payload)
        elif number in (2, 3) and wire in (_BYTES, _VARINT):
            (keys if number == 2 else shape).append(payload)
    data = _joined(values)
    if single == _VARINT:
        numbers = _varints(data).astype(np.uint32).view(np.int32)
    else:
        numbers = np.frombuffer(data, kind)
    sizes = tuple(_varints(_joined(shape)).tolist())
    return Tensor(numbers, _varints(_joined(keys)), sizes)


def _joined(parts: list[bytes]) -> bytes:
    """A field that comes several times is one whose bytes are joined: protobuf's own rule."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and bytes of each field; unknown ones are the caller's to skip."""
    at, size = 0, len(message)
    while at < size:
        tag, at = _read_varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not number or tag >> 32:
            raise _DamagedError("a field has no number that may be")
        if wire == _BYTES:
            length, at = _read_varint(message, at)
            end = at + length
        elif wire == _VARINT:
            _, end = _read_varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            end = at + (4 if wire == _FIXED32 else 8)
        else:
            raise _DamagedError("a field is of a type that is not read")
        if end > size:
            raise _DamagedError("a field is cut off")
        yield number, wire, message[at:end]
        at = end


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    if at < len(message) and (byte := message[at]) < 0x80:
        return byte, at + 1
    number = 0
    for place, byte in enumerate(message[at : at + _MOST_VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at + place + 1
    raise _DamagedError("a number is cut off")


def _varints(data: bytes) -> NDArray[np.uint64]:
    """Numbers of seven bits a byte, all at once."""
    digits = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(digits < 0x80)
    if len(ends) == len(digits):
        return digits.astype(np.uint64)
    starts = np.concatenate(([0], ends[:-1] + 1))
    longest = np.max(ends - starts, initial=0)
    if not len(ends) or ends[-1] != len(digits) - 1 or longest >= _MOST_VARINT_BYTES:
        raise _DamagedError("a number is cut off")
    place = np.arange(len(digits)) - np.repeat(starts, ends - starts + 1)
    parts = (digits & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    numbers: NDArray[np.uint64] = np.bitwise_or.reduceat(parts, starts)
    return numbers
