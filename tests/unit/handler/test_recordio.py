"""SageMaker's records: read and written as Google's own protobuf does."""

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from handler import recordio
from handler.decode import Columns, decode
from handler.errors import Fault, HandlerError
from handler.recordio import FEATURES, LABEL
from tests.unit.handler.records import MAGIC, Record, framed

KINDS = ("float32_tensor", "float64_tensor", "int32_tensor")
numbers, finite = st.floats(width=32), st.floats(width=32, allow_infinity=False)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
wholes = st.integers(0, 2**64 - 1)


def read(body: bytes, field: int = FEATURES, name: str = "values") -> list[recordio.Tensor]:
    return list(recordio.read(body, field, name))


def expected(record: bytes) -> tuple[list[Any], list[int], tuple[int, ...]] | None:
    """The tensor as Google's reader has it; None if there is none, or it is damaged."""
    message = Record()
    try:
        message.ParseFromString(record)
    except DecodeError:
        return None
    if "values" not in message.features:
        return None
    value = message.features["values"]
    kind = value.WhichOneof("value")
    if kind not in KINDS:
        return None
    tensor = getattr(value, kind)
    return list(tensor.values), list(tensor.keys), tuple(tensor.shape)


def same(tensor: recordio.Tensor, other: tuple[list[Any], list[int], tuple[int, ...]]) -> None:
    np.testing.assert_array_equal(tensor.values.tolist(), other[0])
    assert tensor.keys.tolist() == other[1]
    assert tensor.shape == other[2]


@given(
    st.sampled_from(KINDS),
    st.data(),
    st.lists(wholes, max_size=5),
    st.lists(wholes, max_size=3),
    st.booleans(),
)
def test_read(
    kind: str, data: st.DataObject, keys: list[int], shape: list[int], label: bool
) -> None:
    """Whatever is in a record that Google's library writes is read."""
    value = {"float64_tensor": st.floats(), "int32_tensor": st.integers(-(2**31), 2**31 - 1)}
    values = data.draw(st.lists(value.get(kind, numbers), max_size=40))
    record = Record(uid="é" * 9)
    tensor = getattr(record.features["values"], kind)
    tensor.SetInParent()
    tensor.values.extend(values)
    tensor.keys.extend(keys)
    tensor.shape.extend(shape)
    record.features["other"].float32_tensor.values.extend([1])
    if label:
        record.label["values"].float32_tensor.values.append(7)
    body = framed(record.SerializeToString()) * 2
    for found in read(body):
        same(found, (values, keys, tuple(shape)))
    assert len(read(body)) == 2


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A record of all kinds of field, damaged."""
    record = Record(metadata="m")
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=2)):
        tensor = getattr(record.features["values"], kind)
        tensor.values.extend(draw(st.lists(st.integers(-3, 300), max_size=4)))
        tensor.keys.extend(draw(st.lists(st.integers(0, 300), max_size=3)))
    record.label["values"].int32_tensor.values.append(7)
    data = record.SerializeToString()
    data += draw(st.sampled_from([b"", data]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.one_of(st.binary(max_size=2), st.sampled_from([data[:20], b"\x80\x01"])))
        data = data[:at] + new + data[at + draw(st.integers(0, 2)) :]
    return data


@given(damaged())
@settings(deadline=None, max_examples=500)
def test_damaged(record: bytes) -> None:
    """A damaged record is refused, or is read as Google's reader does: never as something else."""
    try:
        (found,) = read(framed(record))
    except HandlerError as refused:
        error = refused
    else:
        error = None
    if error is not None:
        assert error.fault is Fault.BAD_REQUEST
        assert error.message.startswith("record 1: ")
        return
    other = expected(record)
    if other is not None:
        same(found, other)
    else:  # it reads the labels too, and refuses them
        with pytest.raises(DecodeError):
            Record().ParseFromString(record)


@given(st.lists(finite, min_size=3, max_size=3), st.integers(0, 2), st.booleans())
def test_parts(row: list[float], place: int, twice: bool) -> None:
    """Where a record has the magic number in it, its parts are joined around one."""
    magic = struct.pack("<I", MAGIC)
    record = Record()
    row[place] = struct.unpack("<f", magic)[0]
    if twice:
        row[place - 1] = row[place]
    record.features["values"].float32_tensor.values.extend(row)
    parts = record.SerializeToString().split(magic)
    kinds = [1, *[2] * (len(parts) - 2), 3]
    body = b"".join(framed(part, kind) for part, kind in zip(parts, kinds, strict=True))
    rows = decode(body * 2, "application/x-recordio-protobuf", Columns(3))
    np.testing.assert_array_equal(rows, np.array([row, row], np.float32))


@given(
    st.lists(
        st.dictionaries(names, st.lists(numbers, max_size=70), max_size=3), min_size=0, max_size=4
    )
)
def test_write(rows: list[dict[str, list[float]]]) -> None:
    """What is written is what Google's library makes of the same rows, a record each."""
    at, body = 0, recordio.write(rows)
    for row in rows:
        magic, length = struct.unpack_from("<II", body, at)
        record = Record()
        record.ParseFromString(body[at + 8 : at + 8 + length])
        assert magic == MAGIC
        expected = Record()
        for name, values in row.items():
            tensor = expected.label[name].float32_tensor
            tensor.SetInParent()
            tensor.values.extend(values)
        for name in row:
            tensors = (found.label[name].float32_tensor for found in (record, expected))
            one, other = (tensor.SerializeToString() for tensor in tensors)
            assert one == other
        assert record.label.keys() == expected.label.keys()
        assert length == expected.ByteSize()
        at += 8 + length + -length % 4
    assert at == len(body)


@given(st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=4))
def test_read_what_is_written(rows: list[list[float]]) -> None:
    """Labels are read as they were written."""
    body = recordio.write([{"score": row, "other": [1]} for row in rows])
    found = [tensor.values for tensor in read(body, LABEL, "score")]
    np.testing.assert_array_equal(np.array(found).reshape(-1, 2), np.array(rows).reshape(-1, 2))


def test_no_features() -> None:
    """An answer is no request: its records have labels alone."""
    with pytest.raises(HandlerError, match="record 1: features has no 'values'"):
        read(recordio.write([{"score": [1]}]))


@pytest.mark.parametrize("count", [1, 3, 31, 32, 5000])
def test_dense_head(count: int) -> None:
    """All before the numbers of a dense row is as Google's library writes it."""
    record = Record()
    record.features["values"].float32_tensor.values.extend([0] * count)
    assert (
        recordio.dense_head(count) + bytes(4 * count)
        == framed(record.SerializeToString())[: 8 + record.ByteSize()]
    )


def test_rows_alike_but_one() -> None:
    """Among records of one length, one that is another is read as what it is."""
    rows = []
    for name in ("values", "values", "valuez"):
        record = Record()
        record.features[name].float32_tensor.values.extend([1, 2, 3])
        rows.append(framed(record.SerializeToString()))
    content_type = "application/x-recordio-protobuf"
    assert decode(b"".join(rows[:2]), content_type, Columns(3)).tolist() == [[1, 2, 3]] * 2
    with pytest.raises(HandlerError, match="record 3: features has no 'values'"):
        decode(b"".join(rows), content_type, Columns(3))
