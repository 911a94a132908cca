"""SageMaker's records by Google's own protobuf: what the container's reader is compared with."""

import struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MAGIC = 0xCED7230A
_FIELD = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED
_NUMBERS = {
    "Float32Tensor": _FIELD.TYPE_FLOAT,
    "Float64Tensor": _FIELD.TYPE_DOUBLE,
    "Int32Tensor": _FIELD.TYPE_INT32,
}


def _record_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="records.proto", package="aialgs.data")
    for name, number in _NUMBERS.items():
        tensor = file.message_type.add(name=name)
        for place, field in enumerate(("values", "keys", "shape"), start=1):
            kind = _FIELD.TYPE_UINT64 if place > 1 else number
            added = tensor.field.add(name=field, number=place, type=kind, label=_MANY)
            added.options.packed = True
    data = file.message_type.add(name="Bytes")
    data.field.add(name="value", number=1, type=_FIELD.TYPE_BYTES, label=_MANY)
    data.field.add(name="content_type", number=2, type=_FIELD.TYPE_STRING, label=_ONE)
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    kinds = {"float32_tensor": 2, "float64_tensor": 3, "int32_tensor": 7, "bytes": 9}
    for name, place in kinds.items():
        of = ".aialgs.data." + "".join(word.capitalize() for word in name.split("_"))
        added = value.field.add(name=name, number=place, type=_FIELD.TYPE_MESSAGE, label=_ONE)
        added.type_name, added.oneof_index = of, 0
    record = file.message_type.add(name="Record")
    for place, name in enumerate(("features", "label"), start=1):
        entry = record.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_ONE)
        added = entry.field.add(name="value", number=2, type=_FIELD.TYPE_MESSAGE, label=_ONE)
        added.type_name = ".aialgs.data.Value"
        added = record.field.add(name=name, number=place, type=_FIELD.TYPE_MESSAGE, label=_MANY)
        added.type_name = f".aialgs.data.Record.{entry.name}"
    for place, name in enumerate(("uid", "metadata", "configuration"), start=3):
        record.field.add(name=name, number=place, type=_FIELD.TYPE_STRING, label=_ONE)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aialgs.data.Record"))


Record = _record_class()


def framed(record: bytes, part: int = 0) -> bytes:
    """A record, or a part of one, in RecordIO's frame."""
    head = struct.pack("<II", MAGIC, part << 29 | len(record))
    return head + record + bytes(-len(record) % 4)
