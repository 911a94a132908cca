"""Which content type an answer has: the best of what the client accepts."""

import functools

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
