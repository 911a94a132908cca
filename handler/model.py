"""A model in memory: an array in, an array out."""

import re
import threading
from typing import Protocol

import numpy as np
import xgboost
from numpy.typing import NDArray

from handler.artifact import Artifact
from handler.booster import Booster
from handler.errors import Fault, HandlerError

Floats = NDArray[np.float32]

_NOT_PLAIN = (b"weight_drop", b"gblinear")  # every file of dart has the first, of whatever release
_PLACE = re.compile(r"\[[\d:]+\] \S+:\d+: ")  # the time and source line before XGBoost's messages
_SHOWN = 200  # characters of such a message: it can quote the file


class Model(Protocol):
    """What predicts. Several threads may ask it at once."""

    @property
    def num_features(self) -> int:
        """Columns that a row must have."""

    def predict(self, rows: Floats) -> Floats:
        """Predict with all rounds.

        Args:
            rows: float32 [n, num_features], C-contiguous, NaN where a value is missing.

        Returns:
            float32 [n], or [n, k] for k classes or targets: the bits of ``Booster.predict``.
        """


class MatrixBooster:
    """What XGBoost's quick prediction does not do, or with other bits: dart and gblinear.

    Its warnings of old files and of gblinear are not for the log of a server.
    """

    __slots__ = ("_booster", "_one_at_a_time", "_threads", "num_features")

    def __init__(self, data: bytes, threads: int) -> None:
        with xgboost.config_context(verbosity=0):
            self._booster = xgboost.Booster({"nthread": threads})
            self._booster.load_model(bytearray(data))
        self._threads = threads
        self._one_at_a_time = threading.Lock()  # XGBoost promises no more for these
        self.num_features: int = self._booster.num_features()

    def predict(self, rows: Floats) -> Floats:
        """Predict through a DMatrix."""
        matrix = xgboost.DMatrix(rows, nthread=self._threads)
        with self._one_at_a_time, xgboost.config_context(verbosity=0):
            return np.asarray(self._booster.predict(matrix, validate_features=False))


def load_model(artifact: Artifact, threads: int = 1) -> Model:
    """Make the artifact a model that has predicted once.

    Args:
        artifact: what ``artifact.find`` returned.
        threads: that one prediction uses; one is best where many models are asked at once.

    Raises:
        HandlerError: 500, XGBoost does not take the file or cannot predict with it.
        MemoryError: it does not fit.
    """
    data = artifact.data
    # A file that has the words elsewhere, as a feature's name, is only asked the slower way.
    plain = not any(word in data for word in _NOT_PLAIN)
    try:
        model: Model = Booster(data, threads) if plain else MatrixBooster(data, threads)
        model.predict(np.full((1, model.num_features), np.nan, dtype=np.float32))
    except MemoryError:
        raise
    except Exception as error:  # some of XGBoost's messages fail to decode, and so surface
        sentence = f"{artifact.path.name} cannot be loaded: {_first_line(error)}"
        raise HandlerError(Fault.BAD_MODEL, sentence) from None
    return model


def _first_line(error: Exception) -> str:
    """What XGBoost said, without the time and the source line that it puts in front."""
    if isinstance(error, UnicodeDecodeError):
        return "XGBoost cannot read it"
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _PLACE.sub("", line, count=1)[:_SHOWN]
