"""A handler as anybody might write it: a weighted sum of the row, by the weights of the artifact.

``weights.json`` of a model is a list of numbers. A body is one row of CSV; the answer is JSON.
"""

import json
from pathlib import Path
from typing import Any

weights: list[float] = []


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[str] | None:
    """Load the one model of this process, then answer."""
    if data is None:
        file = Path(context.system_properties["model_dir"]) / "weights.json"
        weights[:] = json.loads(file.read_text())
        return None
    return [json.dumps(_answer(request["body"])) for request in data]


def _answer(body: str | bytes) -> list[float]:
    text = body if isinstance(body, str) else body.decode()
    row = [float(field) for field in text.split(",")]
    return [sum(weight * value for weight, value in zip(weights, row, strict=True))]
