"""Predictions to bytes, in the content type that the client accepts."""

import functools

import numpy as np
import orjson
from numpy.typing import NDArray
from sagemaker_inference import content_types

from handler.errors import Fault, HandlerError
from handler.settings import OFFERED


@functools.lru_cache(maxsize=256)
def negotiate(accept: str | None, default: str = content_types.JSON) -> str:
    """Choose the content type of the answer, before anything is predicted.

    Args:
        accept: the header's value: types with parameters and q-values, or none.
        default: what a client without a wish gets.

    Returns:
        One of ``OFFERED``; of two that are wanted alike, the one that is named first. For each,
        the range that names it most exactly counts, as RFC 9110 has it.

    Raises:
        HandlerError: 406, nothing that can be given is wanted.
    """
    wished = accept.strip().lower() if accept else ""
    if wished in OFFERED:
        return wished
    ranges = [_range(part) for part in (wished or "*/*").split(",")]
    favourite = default.partition(";")[0].strip().lower()
    offers = sorted(OFFERED, key=lambda offered: offered != favourite)
    best = max(offers, key=lambda offered: _wish(offered, ranges))
    if _wish(best, ranges)[0] > 0:
        return best
    raise HandlerError(
        Fault.NOT_ACCEPTABLE, f"{accept or default} cannot be given; accept {' or '.join(OFFERED)}"
    )


def _range(part: str) -> tuple[str, float]:
    """A media range and its quality; a quality that makes no sense counts as none given."""
    kind, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                break
            return kind, quality if 0 <= quality <= 1 else 1.0
    return kind, 1.0


def _wish(offered: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    """How much a type is wanted, and how early: more is better in both."""
    for kind in (offered, offered.partition("/")[0] + "/*", "*/*"):  # the most exact one counts
        for place, (named, quality) in enumerate(ranges):
            if named == kind:
                return quality, -place
    return 0.0, 0


def encode(prediction: NDArray[np.float32], content_type: str) -> bytes:
    """Write predictions so that they read back as the very same float32 values.

    Args:
        prediction: float32 [n], or [n, k].
        content_type: as ``negotiate`` chose it.

    Returns:
        JSON: a list with an element a row, which is a number or a list of k; null where a
        prediction is not finite. CSV: a line a row, k numbers separated by commas.
    """
    values = prediction.tolist()
    if content_type == content_types.JSON:
        return orjson.dumps(values)  # which writes null for what is not finite
    rows = (row if isinstance(row, list) else [row] for row in values)
    return "".join(",".join(map(repr, row)) + "\n" for row in rows).encode()
