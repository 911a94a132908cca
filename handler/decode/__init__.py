"""Bytes to rows: one float32 array, NaN where a value is missing, or the place of the mistake."""

import functools
from collections.abc import Callable
from typing import NoReturn

from sagemaker_inference import content_types

from handler.decode import csv, json, jsonlines, libsvm, npy, parquet, recordio
from handler.decode.cells import Floats, has_infinite, refuse_infinite
from handler.decode.columns import Columns
from handler.decode.mistakes import refuse
from handler.errors import Fault, HandlerError

__all__ = ["Columns", "Floats", "decode", "kinds_of"]

LIBSVM, JSONLINES = "text/libsvm", "application/jsonlines"
RECORDIO, PARQUET = "application/x-recordio-protobuf", "application/x-parquet"
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_READERS: dict[str, Callable[..., Floats]] = {
    content_types.CSV: csv.read,
    LIBSVM: libsvm.read,
    content_types.JSON: json.read,
    JSONLINES: jsonlines.read,
    content_types.NPY: npy.read,
    RECORDIO: recordio.read,
    PARQUET: parquet.read,
}
_OTHER_NAMES = {
    "csv": content_types.CSV,
    "libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "recordio-protobuf": RECORDIO,
}


def decode(body: bytes, content_type: str | None, columns: Columns, libsvm_base: int = 0) -> Floats:
    """Read the rows of a request.

    Args:
        body: as the client sent it.
        content_type: the header's value; upper and lower case are the same.
        columns: that a row must have (where rows are sparse, may have).
        libsvm_base: the index of the first feature in libsvm rows, 0 or 1.

    Returns:
        float32 [rows, columns], C-contiguous. A value is ``np.float32(float(text))``, but that a
        ``-0`` without a point may be 0.

    Raises:
        HandlerError: 415 for a type that is not read, 400 with row and column for the rest.
    """
    reader = _reader(content_type)
    if not body:
        refuse("empty body: send at least one row")
    sparse = reader is libsvm.read
    array = reader(body, columns, libsvm_base) if sparse else reader(body, columns)
    if has_infinite(array):
        refuse_infinite(array, columns.names)
    return array


def kinds_of(kind: str) -> list[str]:
    """A content type under all its names, as clients may write them."""
    return [kind, *(other for other, known in _OTHER_NAMES.items() if known == kind)]


@functools.lru_cache(maxsize=256)
def _reader(content_type: str | None) -> Callable[..., Floats]:
    kind, *parameters = (part.strip() for part in (content_type or "").lower().split(";"))
    kind = _OTHER_NAMES.get(kind, kind)
    for parameter in parameters:
        name, _, value = (part.strip(' "') for part in parameter.partition("="))
        if name == "charset" and value not in _CHARSETS:
            _not_read(f"charset {value[:100]} is not read; send utf-8")
        if name == "label_size" and kind == content_types.CSV and value != "0":
            _not_read(f"label_size={value[:20]} is not read; send rows without labels")
    reader = _READERS.get(kind)
    if reader is None:
        what = f"content type {kind[:100]} is not read" if kind else "there is no content type"
        _not_read(f"{what}; send one of {', '.join(_READERS)}")
    return reader


def _not_read(sentence: str) -> NoReturn:
    raise HandlerError(Fault.UNSUPPORTED_MEDIA_TYPE, sentence)
