"""Rows from NumPy's own file format: numbers only, and nothing in it is evaluated or unpickled."""

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handler.decode import cells
from handler.decode.cells import Floats
from handler.decode.columns import Columns
from handler.decode.mistakes import refuse, shown, wrong_width

_MAGIC = b"\x93NUMPY"
_MOST_HEADER_BYTES = 4096  # of a plain array it is 118 at most, unless padded
# The header is a dictionary as Python writes it; "2L" is how Python 2 wrote numbers.
_S = r"[ \t\n\r\f]*"
_COUNT = rf"(?:0|[1-9][0-9]{{0,17}})L?{_S}"
_ITEM = re.compile(
    rf"""{_S}('descr'|"descr"|'fortran_order'|"fortran_order"|'shape'|"shape"){_S}:{_S}"""
    rf"""('[^']*'|"[^"]*"|True|False|\({_S}(?:(?:{_COUNT},{_S})+(?:{_COUNT})?)?\))"""
    rf"""{_S}(?:,|\Z){_S}"""
)
_TYPE = re.compile(r"[<>|=]?(?:f[248]|[iu][1248]|b1)")


class _Header(NamedTuple):
    kind: np.dtype[np.generic]
    fortran_order: bool
    shape: tuple[int, ...]


def read(body: bytes, columns: Columns) -> Floats:
    """The rows of a two-dimensional array, or the one of a one-dimensional.

    Raises:
        HandlerError: 400, the array is not of numbers, or not of the model's columns.
    """
    header, start = _read_header(body)
    shape, count = header.shape, columns.count
    if len(shape) not in (1, 2):
        refuse(f"the array has {len(shape)} dimensions; send rows and columns, or one row")
    rows, width = (1, *shape)[-2:]
    if width != count:
        wrong_width(1, width, count)
    if not rows:
        refuse("the array has no rows; send at least one")
    size = rows * width * header.kind.itemsize
    if len(body) - start != size:
        refuse(
            f"the array has {len(body) - start} bytes of data, its header promises {size}: "
            f"{rows} rows of {width} columns of {header.kind.itemsize}"
        )
    flat = np.frombuffer(body, header.kind, offset=start)
    array = flat.reshape((rows, width), order="F" if header.fortran_order else "C")
    return _float32(array)


def _float32(array: NDArray[np.generic]) -> Floats:
    if array.dtype.kind == "b":
        array = array.view(np.uint8) != 0
    if array.dtype.kind in "iu":  # whole numbers go by 64 bits, as they do in text
        array = array.astype(np.float64)
    with cells.quiet():
        floats: Floats = array.astype(np.float32, order="C")
    return floats


def _read_header(body: bytes) -> tuple[_Header, int]:
    """What the header says, and where the data begins."""
    if not body.startswith(_MAGIC):
        refuse("the body is not an array as numpy.save writes it")
    version, size = body[6:8], 2 if body[6:7] == b"\1" else 4
    if version not in (b"\1\0", b"\2\0", b"\3\0") or len(body) < 8 + size:
        refuse(f"version {'.'.join(map(str, version))} of NumPy's format is not read")
    length, start = int.from_bytes(body[8 : 8 + size], "little"), 8 + size
    if length > _MOST_HEADER_BYTES:
        refuse(f"the array's header has {length} bytes, at most are {_MOST_HEADER_BYTES}")
    if len(body) < start + length:
        refuse("the array's header is cut off")
    text = body[start : start + length].decode("latin-1")
    return _parse_header(text, python2=version != b"\3\0"), start + length


def _parse_header(text: str, python2: bool) -> _Header:
    inner = text.removesuffix("\n").strip(" \t")
    if not (inner.startswith("{") and inner.endswith("}")):
        refuse(f"the array's header is {shown(inner)}, not a dictionary")
    inner, found, at = inner[1:-1], dict[str, str](), 0
    while (item := _ITEM.match(inner, at)) and (key := item[1][1:-1]) not in found:
        found[key] = item[2]
        at = item.end()
    if inner[at:] or len(found) != 3:
        refuse(f"the array's header has {shown(inner[at:] or inner)}, which is not read")
    kind = found["descr"][1:-1]
    if not _TYPE.fullmatch(kind):
        refuse(f"the array's type is {shown(kind)}; send floats, whole numbers or booleans")
    order, counts = found["fortran_order"], found["shape"]
    if order not in ("True", "False") or counts[0] != "(" or ("L" in counts and not python2):
        refuse("the array's header has no order or shape that makes sense")
    shape = tuple(int(number) for number in re.findall(r"\d+", counts))
    return _Header(np.dtype(kind), order == "True", shape)
