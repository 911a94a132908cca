"""Predictions to bytes, in the content type that the client accepts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sagemaker_inference import content_types

from handler.encode import csv, jsonlines, npy, recordio
from handler.encode.negotiate import negotiate

__all__ = ["encode", "encode_selected", "negotiate"]

Row = dict[str, Any]

JSONLINES, RECORDIO = "application/jsonlines", "application/x-recordio-protobuf"
_WRITERS: dict[str, Callable[[NDArray[np.float32]], bytes]] = {
    content_types.CSV: csv.write,
    JSONLINES: jsonlines.write,
    RECORDIO: recordio.write,
    content_types.NPY: npy.write,
}
_SELECTED_WRITERS: dict[str, Callable[[Sequence[Row], Sequence[str]], bytes]] = {
    content_types.CSV: csv.write_selected,
    JSONLINES: jsonlines.write_selected,
    RECORDIO: recordio.write_selected,
    content_types.NPY: npy.write_selected,
}


def encode(prediction: NDArray[np.float32], content_type: str) -> bytes:
    """Write predictions so that they read back as the very same float32 values.

    Args:
        prediction: float32 [n], or [n, k].
        content_type: as ``negotiate`` chose it.

    Returns:
        JSON: a list with an element a row, which is a number or a list of k; JSON Lines: that
        element a line. Both have null where a prediction is not finite. CSV: a line a row, k
        numbers separated by commas, an empty field where one is not finite. RecordIO: a record a
        row, its numbers under the label ``score``. npy: the array, as it is.
    """
    if content_type == content_types.JSON:
        return orjson.dumps(prediction.tolist())
    return _WRITERS[content_type](prediction)


def encode_selected(rows: Sequence[Row], keys: Sequence[str], content_type: str) -> bytes:
    """Write what was selected of predictions.

    Args:
        rows: as ``outputs.select`` made them: a cell is a number, a label, a list of those or of
            lists, or None where the key has no meaning for the model.
        keys: in the order that CSV has them in.
        content_type: as ``negotiate`` chose it.

    Returns:
        JSON: ``{"predictions": [{key: cell}]}``; JSON Lines: an object a line; both have null where
        there is no finite number. CSV: a line a row, no header; a list as JSON in quotes, an empty
        field for null. RecordIO: a record a row, a label a key, lists of lists one after another.
        npy: the array of the one key. In the last two NaN stands for a cell without a meaning.

    Raises:
        HandlerError: 406, the type cannot hold this selection: npy several keys, it and RecordIO
            words, RecordIO a number that float32 does not hold.
    """
    if content_type == content_types.JSON:
        return orjson.dumps({"predictions": rows})
    return _SELECTED_WRITERS[content_type](rows, keys)
