"""Rows from Parquet, where pyarrow is installed: columns by name, nothing on disk."""

import importlib
from typing import Any

import numpy as np

from handler.decode import cells
from handler.decode.cells import Floats
from handler.decode.columns import Columns, places
from handler.decode.mistakes import refuse, shown, too_many
from handler.errors import Fault, HandlerError

_BATCH_ROWS = 64 * 1024


def read(body: bytes, columns: Columns) -> Floats:
    """The rows; columns by name if the model has names, else by their order.

    Raises:
        HandlerError: 415, pyarrow is not installed; 400, the file is damaged, or its columns are
            not the model's, or not numbers.
    """
    try:
        arrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise HandlerError(
            Fault.UNSUPPORTED_MEDIA_TYPE,
            "application/x-parquet is not read here, for pyarrow is not installed; send text/csv",
        ) from None
    arrow.set_memory_pool(arrow.system_memory_pool())  # which gives back what a request took
    try:
        with parquet.ParquetFile(arrow.BufferReader(body)) as file:
            return _read_file(file, arrow, columns)
    except (arrow.ArrowException, OSError, ValueError, MemoryError) as error:
        cause = str(error).partition("\n")[0]
        refuse(f"the body is not Parquet that can be read: {shown(cause, 80)}")


def _read_file(file: Any, arrow: Any, columns: Columns) -> Floats:
    schema, rows, count = file.schema_arrow, file.metadata.num_rows, columns.count
    if columns.names:
        order = places(schema.names, columns, "the table")
    elif len(schema.names) == count:
        order = list(range(count))
    else:
        refuse(f"the table has {len(schema.names)} columns, the model has {count}")
    for name, kind in zip(schema.names, schema.types, strict=True):
        if not _is_numeric(kind, arrow.types):
            refuse(f"column {shown(name)} is of type {shown(str(kind))}; send numbers")
    most = max(1, cells.MOST_CELLS // count)
    if rows > most:
        too_many(rows, count, most)
    if rows < 1:
        refuse("the table has no rows; send at least one")
    array, done = np.empty((rows, count), np.float32), 0
    with cells.quiet():
        for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
            end = done + len(batch)
            if end > rows:
                break
            for place, column in enumerate(order):
                numbers = batch.column(column).cast(arrow.float64(), safe=False)
                array[done:end, place] = numbers.to_numpy(zero_copy_only=False)
            done = end
    if done != rows:
        refuse(f"the table promises {rows} rows and has others")
    return array


def _is_numeric(kind: Any, types: Any) -> bool:
    """Whether all values are numbers, booleans or missing."""
    tests = "is_floating", "is_integer", "is_boolean", "is_decimal", "is_null"
    return any(getattr(types, test)(kind) for test in tests)
