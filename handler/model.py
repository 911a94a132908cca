"""A model in memory: an array in, an array out."""

import json
import re
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray

from handler.artifact import Artifact
from handler.errors import Fault, HandlerError

Floats = NDArray[np.float32]

_PLACE = re.compile(r"\[[\d:]+\] \S+:\d+: ")  # the time and source line before XGBoost's messages
_SHOWN = 200  # characters of such a message: it can quote the file


class Model:
    """One booster, and how it is asked so that its answers are those of ``Booster.predict``."""

    def __init__(self, booster: xgboost.Booster, threads: int = 1) -> None:
        self._booster = booster
        self._threads = threads
        self.num_features = booster.num_features()
        # In-place prediction gives other bits for dart and nothing for gblinear.
        self._in_place = _plain_trees(json.loads(booster.save_config()))

    @classmethod
    def load(cls, artifact: Artifact, threads: int = 1) -> "Model":
        """Make the artifact a model that has predicted once.

        Args:
            artifact: what ``artifact.find`` returned.
            threads: that one prediction uses; one is best where many models are asked at once.

        Raises:
            HandlerError: 500, XGBoost does not take the file or cannot predict with it.
            MemoryError: it does not fit.
        """
        try:
            with xgboost.config_context(verbosity=0):  # it warns of every old file
                booster = xgboost.Booster({"nthread": threads})
                booster.load_model(bytearray(artifact.data))
                model = cls(booster, threads)
                model.predict(np.full((1, model.num_features), np.nan, dtype=np.float32))
        except MemoryError:
            raise
        except Exception as error:  # some of XGBoost's messages fail to decode, and so surface
            sentence = f"{artifact.path.name} cannot be loaded: {_first_line(error)}"
            raise HandlerError(Fault.BAD_MODEL, sentence) from None
        return model

    def predict(self, rows: Floats) -> Floats:
        """Predict with all rounds.

        Args:
            rows: float32 [n, num_features], NaN where a value is missing.

        Returns:
            float32 [n], or [n, k] for k classes or targets: the bits of ``Booster.predict``.
        """
        if self._in_place:
            return np.asarray(self._booster.inplace_predict(rows, validate_features=False))
        matrix = xgboost.DMatrix(rows, nthread=self._threads)
        return np.asarray(self._booster.predict(matrix, validate_features=False))


def _plain_trees(config: dict[str, Any]) -> bool:
    booster = config["learner"]["gradient_booster"]
    return bool(booster["name"] == "gbtree" and "weight_drop" not in json.dumps(booster))


def _first_line(error: Exception) -> str:
    """What XGBoost said, without the time and the source line that it puts in front."""
    if isinstance(error, UnicodeDecodeError):
        return "XGBoost cannot read it"
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _PLACE.sub("", line, count=1)[:_SHOWN]
