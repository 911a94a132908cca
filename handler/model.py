"""A model in memory: an array in, an array out."""

import re
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handler.artifact import Artifact
from handler.booster import Booster
from handler.errors import Fault, HandlerError

Floats = NDArray[np.float32]

_PLACE = re.compile(r"\[[\d:]+\] \S+:\d+: ")  # the time and source line before XGBoost's messages
_SHOWN = 200  # characters of such a message: it can quote the file


class Model(Protocol):
    """What predicts. Several threads may ask it at once."""

    @property
    def num_features(self) -> int:
        """Columns that a row must have."""

    @property
    def size(self) -> int:
        """Bytes of the artifact."""

    def predict(self, rows: Floats) -> Floats:
        """Predict with all rounds.

        Args:
            rows: float32 [n, num_features], C-contiguous, NaN where a value is missing.

        Returns:
            float32 [n], or [n, k] for k classes or targets: the bits of ``Booster.predict``.
        """


def load_model(artifact: Artifact, threads: int = 1) -> Model:
    """Make the artifact a model that has predicted once.

    Args:
        artifact: what ``artifact.find`` returned.
        threads: that one prediction uses; one is best where many models are asked at once.

    Raises:
        HandlerError: 500, XGBoost does not take the file or cannot predict with it.
        MemoryError: it does not fit.
    """
    try:
        model = Booster(artifact.data, threads)
        model.predict(np.full((1, model.num_features), np.nan, dtype=np.float32))
    except MemoryError:
        raise
    except Exception as error:
        sentence = f"{artifact.path.name} cannot be loaded: {_first_line(error)}"
        raise HandlerError(Fault.BAD_MODEL, sentence) from None
    return model


def _first_line(error: Exception) -> str:
    """What XGBoost said, without the time and the source line that it puts in front."""
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _PLACE.sub("", line, count=1)[:_SHOWN]
