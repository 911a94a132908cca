"""Hyperparameters and the platform's files: read as they are meant, or refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from mme.training.fit import Parameters, Recipe
from mme.training.order import OrderError, read_order
from tests.unit.mme.training.support import lay_out


def read(tmp_path: Path, **hyperparameters: str) -> Any:
    return read_order(lay_out(tmp_path, {}, **hyperparameters) / "input" / "config")


def test_what_is_asked(tmp_path: Path) -> None:
    """Texts become numbers; names may have dashes; the platform's own are passed over."""
    asked = {
        "max-depth": "3",
        "eta": "0.5",
        "early_stopping": "4",
        "skip_failed": "True",
        "target": '"PRICE"',
        "sagemaker_region": "us-east-1",
    }
    order = read(tmp_path, **asked)
    assert order.recipe == Recipe(Parameters(max_depth=3, eta=0.5), 5, 4)
    assert (order.by, order.target, order.skip_failed) == ("city", "PRICE", True)
    assert (order.host, order.hosts, order.sharded) == ("algo-1", ("algo-1",), False)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("depth", "3", "no hyperparameter depth; there are by, target, rounds"),
        ("by", "", "hyperparameter by is needed"),
        ("target", "city", "by and target are both city"),
        ("max_depth", "3.5", "hyperparameter max_depth is '3.5': it must be a whole number"),
        ("eta", "fast", "hyperparameter eta is 'fast': it must be a number"),
        ("eta", "nan", "hyperparameter eta is 'nan': it must be a number"),
        ("gamma", "inf", "hyperparameter gamma is 'inf': it must be a number"),
        ("rounds", "0", "hyperparameter rounds is 0: it must be 1 or more"),
        ("early_stopping", "-1", "hyperparameter early_stopping is -1: it must be 1 or more"),
        ("seed", "-1", "seed must not be negative"),
        ("skip_failed", "yes", "skip_failed is 'yes': it must be true or false"),
    ],
)
def test_mistakes(tmp_path: Path, name: str, value: str, message: str) -> None:
    """A hyperparameter that makes no sense is named."""
    with pytest.raises(OrderError, match=message):
        read(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("inputdataconfig", {}, "one data channel is needed, there is none"),
        ("inputdataconfig", {"a": {}, "b": {}}, "there are a, b"),
        ("inputdataconfig", {"a": {"TrainingInputMode": "Pipe"}}, "Pipe mode"),
        ("resourceconfig", {"current_host": "x", "hosts": ["y"]}, "'x' is none of hosts"),
        ("hyperparameters", [], "is no JSON object"),
    ],
)
def test_files(tmp_path: Path, file: str, content: Any, message: str) -> None:
    """What the platform lays out in another way than we can take is said."""
    config = lay_out(tmp_path, {}) / "input" / "config"
    (config / f"{file}.json").write_text(json.dumps(content))
    with pytest.raises(OrderError, match=message):
        read_order(config)


def test_damaged(tmp_path: Path) -> None:
    """A file that is no JSON is named."""
    config = lay_out(tmp_path, {}) / "input" / "config"
    (config / "hyperparameters.json").write_text("{")
    with pytest.raises(OrderError, match=r"hyperparameters\.json is no JSON"):
        read_order(config)
