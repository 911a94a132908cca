"""Rows from SageMaker's RecordIO of protobuf: ``features["values"]`` of each record."""

import numpy as np

from handler import recordio
from handler.decode import cells
from handler.decode.cells import Floats, Sparse
from handler.decode.columns import Columns
from handler.decode.mistakes import wrong_width
from handler.recordio import Tensor


def read(body: bytes, columns: Columns) -> Floats:
    """The rows, a record each; labels are ignored.

    Raises:
        HandlerError: 400, a record is damaged, or not a row of the model's.
    """
    rows = _read_alike(body, columns.count)
    if rows is not None:
        return rows
    checked = [
        _row(row, tensor, columns.count) for row, tensor in enumerate(recordio.read(body), start=1)
    ]
    return cells.filled(checked, columns.count)


def _read_alike(body: bytes, count: int) -> Floats | None:
    """The rows at once, if each record is one dense row of float32 and nothing else."""
    head = recordio.dense_head(count)
    end = len(head) + 4 * count
    size = end + -end % 4
    if not body.startswith(head) or len(body) % size:
        return None
    frames = np.frombuffer(body, np.uint8).reshape(-1, size)
    if (frames[:, : len(head)] != frames[0, : len(head)]).any():
        return None
    return np.ascontiguousarray(frames[:, len(head) : end]).view("<f4")


def _row(
    row: int, tensor: Tensor, count: int
) -> Sparse | np.ndarray[tuple[int], np.dtype[np.generic]]:
    values, keys, shape = tensor
    if len(keys) or (shape and not len(values)):  # a sparse row may be empty
        return cells.sparse(row, keys.tolist(), values, shape, count)
    if shape:
        cells.check_shape(row, shape, count)
    if len(values) != count:
        wrong_width(row, len(values), count)
    return values
