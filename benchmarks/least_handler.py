"""The least handler for XGBoost that can be written for an unmodified Multi Model Server."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

booster = xgboost.Booster({"nthread": 1})


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    """Load the one model, then answer rows of CSV with JSON."""
    if data is None:
        booster.load_model(Path(context.system_properties["model_dir"]) / "model.ubj")
        return None
    answers = []
    for request in data:
        rows = np.array([line.split(",") for line in request["body"].split("\n")], dtype=np.float32)
        answers.append(json.dumps(booster.inplace_predict(rows).tolist()))
    return answers
