"""What pickles and joblib files hold of NumPy: arrays of labels, and single numbers.

Of the bytes in the file numpy makes plain Python values; no type, shape or length gets to numpy
before it has been checked against the bytes that there are.
"""

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from handler.formats import FormatError
from handler.formats.pickle_machine import Made, Named, bytes_left, damaged

Label = str | int | float | bool

WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
DTYPE = "numpy.dtype"
SCALAR = "numpy._core.multiarray.scalar"
RECONSTRUCT = "numpy._core.multiarray._reconstruct"
FROM_BUFFER = "numpy._core.numeric._frombuffer"

_BYTES, _BYTEARRAY, _ENCODE = "builtins.bytes", "builtins.bytearray", "_codecs.encode"
_TYPE = re.compile(r"[<>|=]?([biufcmMSUVO])(\d{0,9})")
_PLAIN_KINDS = "biufSU"
_ORDERS = ("<", ">", "=", "|")
_MOST_DIMENSIONS = 64  # numpy's own limit
_INT_BITS = 64
_MOST_BYTES = 16 * 1024**2  # of texts; a pickle can say one of a megabyte again in two bytes


def octets(value: Any) -> bytes:
    """The bytes of what a pickle says are some, in the words of any protocol and of Python 2.

    Raises:
        FormatError: it says something else.
    """
    if isinstance(value, Made) and value.name in (_BYTES, _BYTEARRAY):
        value = value.args[0] if value.args else b""
    if isinstance(value, Made) and value.name == _ENCODE:
        value = value.args[0] if value.args else None
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            raise damaged("its bytes are a text") from None
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise damaged("something stands where bytes should")


def read_wrapped(wrapper: Made, stream: BytesIO, nested: Callable[[], Any]) -> None:
    """Read the array that follows a joblib wrapper's state, and make the wrapper that array.

    Args:
        wrapper: whose state has just been set.
        stream: stands where the array begins, and then where it ends.
        nested: reads a pickle from the stream, which is how joblib writes arrays of objects.

    Raises:
        FormatError: the wrapper is not what joblib writes, or the array is not there.
    """
    state = wrapper.state
    if not isinstance(state, Made):
        raise damaged("an array in it has no shape")
    shape, dtype = _shape(state.get("shape")), state.get("dtype")
    kind, item_bytes, _ = _type(dtype)
    if kind == "O":
        array = nested()
        if not isinstance(array, Made) or array.name == WRAPPER:
            raise damaged("an array in it is none")
        wrapper.name, wrapper.args, wrapper.state = array.name, array.args, array.state
        return
    if state.get("numpy_array_alignment_bytes") is not None:  # joblib 1.2 and later
        stream.read(int.from_bytes(stream.read(1), "little"))
    size = _count(shape) * item_bytes
    if size > bytes_left(stream):
        raise damaged("it ends early")
    wrapper.name, wrapper.args = RECONSTRUCT, ()
    wrapper.state = (1, shape, dtype, state.get("order") == "F", stream.read(size))


def labels(value: Any) -> tuple[Label, ...]:
    """The items of an array or list of classes, in their order.

    Raises:
        FormatError: there is no such array, or an item is nothing that an answer could show.
    """
    if isinstance(value, list | tuple):
        items = value
    elif isinstance(value, Made) and value.name == FROM_BUFFER and len(value.args) > 2:
        items = _items(value.args[2], value.args[1], value.args[0])
    elif isinstance(value, Made) and value.name == RECONSTRUCT and isinstance(value.state, tuple):
        # The oldest numpy's state has no version before these four.
        shape, dtype, _fortran, content = (None, None, None, None, *value.state)[-4:]
        items = _items(shape, dtype, content)
    else:
        raise damaged("its classes are no array")
    check_bulk(items)
    return tuple(label(item) for item in items)


def check_bulk(items: Sequence[Any]) -> None:
    """Check that labels or names, each taken as often as it is said, are no more than any model's.

    Raises:
        FormatError: they are.
    """
    if sum(map(_bulk, items)) > _MOST_BYTES:
        raise FormatError(
            f"a pickle with more than {_MOST_BYTES} bytes of labels or names; "
            "save the booster with save_model"
        )


def _bulk(value: Any) -> int:
    for name in (SCALAR, _ENCODE):
        if isinstance(value, Made) and value.name == name and value.args:
            value = value.args[0 if name == _ENCODE else -1]
    return len(value) if isinstance(value, str | bytes | bytearray) else 1


def label(value: Any) -> Label:
    """A number or text as Python's own.

    Raises:
        FormatError: it is neither, or one that JSON cannot hold.
    """
    value = number(value)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, float | bool):
        return value
    if isinstance(value, int) and value.bit_length() <= _INT_BITS:
        return value
    if isinstance(value, str) and is_text(value):
        return value
    raise _unshown(type(value).__name__)


def number(value: Any) -> Any:
    """What one of numpy's scalars holds; any other value as it is."""
    if isinstance(value, Made) and value.name == SCALAR and len(value.args) > 1:
        return _items((1,), value.args[0], value.args[1])[0]
    return value


def is_text(value: Any) -> bool:
    """Whether this is a text that can be written as UTF-8."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _items(shape: Any, dtype: Any, content: Any) -> list[Any]:
    count, (kind, item_bytes, spelled) = _count(_shape(shape)), _type(dtype)
    if len(shape) != 1:
        raise damaged("its classes are a table")
    if kind == "O":
        if not isinstance(content, list) or len(content) != count:
            raise damaged("an array in it has other items than its shape says")
        return content
    if kind not in _PLAIN_KINDS:
        raise _unshown(spelled)
    data = octets(content)
    if not item_bytes or len(data) != count * item_bytes:
        raise damaged("an array in it has other bytes than its shape says")
    try:
        items: list[Any] = np.frombuffer(data, spelled).tolist()
    except (TypeError, ValueError, SystemError):  # f3 and the like; the last for no characters
        raise damaged(f"an array in it cannot be of type {spelled}") from None
    return items


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise damaged("an array in it has no shape")
    for size in shape:
        if not isinstance(size, int) or size < 0 or size.bit_length() > _INT_BITS:
            raise damaged("an array in it has no shape")
    return shape


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _type(dtype: Any) -> tuple[str, int, str]:
    """The kind of a type, its bytes an item, and how numpy spells it."""
    name = dtype.args[0] if isinstance(dtype, Made) and dtype.name == DTYPE and dtype.args else None
    if isinstance(name, Named):
        raise _unshown(name.name)
    match = _TYPE.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise damaged("an array in it has no type")
    kind, size = match[1], int(match[2] or 0)
    state = dtype.state
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
    if order not in _ORDERS:
        raise damaged("an array in it has no order of bytes")
    return kind, size * 4 if kind == "U" else size, f"{order}{kind}{size}"


def _unshown(kind: str) -> FormatError:
    return FormatError(
        f"a model whose classes are of a type that no answer can show ({kind[:40]}); "
        "save the booster with save_model"
    )
