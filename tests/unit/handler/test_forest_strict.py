"""What the forest takes, ``prepare`` and XGBoost take too; nothing that is damaged is its end."""

import json
import re
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from handler import forest
from handler.formats import Format
from tests.unit.handler import forests
from tests.unit.handler.test_structure import CORPUS, EDITS, GONE, MODELS, document, edited, written

pytestmark = forests.BUILT
ROOT = Path(__file__).parent.parent.parent.parent
FORMATS = [Format.JSON, Format.UBJ]
FEW = MODELS | {"json": "3.1.2/early.json"}  # a file of JSON, and those of the other checks
SEEDS = 300  # of each


def sound(name: str) -> dict[str, Any]:
    """A model's document, as ``prepare`` makes it."""
    data = (CORPUS / "artifacts" / FEW[name]).read_bytes()
    return document(forests.of_bytes(data).data)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("name", "edits", "words"), EDITS, ids=[next(iter(e[1])) for e in EDITS])
def test_edits(name: str, edits: dict[str, Any], words: str, form: Format) -> None:
    """Nothing that the checks refuse has a forest."""
    model = sound(name)
    assert (forest.read(written(model, form).data) is None) == (name == "linear")
    assert forest.read(written(edited(model, edits), form).data) is None, words


TWICE = {"tree.categories_segments.1": 0}  # of which another split has the same, so that there
SHARED = {f"tree.categories_segments.{split}": 0 for split in range(3)}  # could be many of a few
OWN: list[tuple[str, dict[str, Any]]] = [
    ("binary", {"tree.default_left.0": 2}),
    ("binary", {"tree.default_left.3": 255}),
    ("binary", {"tree.split_conditions.16": np.inf}),  # a leaf
    ("binary", {"tree.split_conditions.16": np.nan}),
    ("binary", {"tree.tree_param.size_leaf_vector": GONE}),
    ("binary", {"tree.tree_param.num_nodes": "017 "}),
    ("binary", {"param.num_target": "0"}),
    ("binary", {"param.base_score": "1E40"}),
    ("binary", {"param.base_score": "[5E-1,5E-1]"}),
    ("binary", {"param.base_score": "nan"}),
    ("binary", {"param.base_score": "2E0"}),  # no probability
    ("binary", {"param.base_score": "12345678901234567890"}),
    ("categories", {"param.base_score": "12345678901234567890"}),
    ("binary", {"param.base_score": ""}),
    ("binary", {"param.base_score": " "}),
    ("binary", {"param.base_score": "[]"}),
    ("binary", {"param.base_score": "[[5E-1]]"}),
    ("binary", {"param.base_score": "5E-1]"}),
    ("binary", {"tree.id": 1}),
    ("binary", {"tree.tree_param.num_deleted": "1"}),
    ("binary", {"learner.objective": {"name": "reg:other"}}),
    ("binary", {"booster.name": "gbtree2"}),
    ("classes", {"learner.objective.softmax_multiclass_param.num_class": "4"}),
    ("classes", {"learner.objective.softmax_multiclass_param": GONE}),
    ("classes", {"param.num_class": "16777216", "param.base_score": "5E-1"}),
    ("classes", {"param.num_class": "4294967295"}),
    ("classes", {"param.num_class": "18446744073709551619"}),
    ("dart", {"booster.weight_drop.3": np.nan}),
    ("dart", {"booster.weight_drop.3": -np.inf}),
    *[("categories", {f"tree.{key}": GONE}) for key in ("split_type", "categories")],
    *[("categories", {f"tree.categories_{x}": GONE}) for x in ("nodes", "segments", "sizes")],
    ("categories", TWICE),
    ("categories", SHARED),
    ("categories", {"tree.categories_sizes.4": 1, "tree.categories_sizes.0": 1}),
    ("vectors", {"tree.right_children.30": 1}),
    ("vectors", {"tree.tree_param.size_leaf_vector": "0"}),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("name", "edits"), OWN, ids=[next(iter(edits)) for _, edits in OWN])
def test_own_edits(name: str, edits: dict[str, Any], form: Format) -> None:
    """Nor has what XGBoost does not write, though the checks let some of it to XGBoost."""
    model = sound(name)
    assert forest.read(written(model, form).data) is not None
    assert forest.read(written(edited(model, edits), form).data) is None


def test_longer_leaves() -> None:
    """Leaves of which no node says that they are its own."""
    model = sound("vectors")
    tree = forests.inner(model)["trees"][0]
    tree["leaf_weights"] = [*map(float, tree["leaf_weights"]), 0.5, 0.5, 0.5]
    assert forest.read(written(model, Format.JSON).data) is None


@pytest.mark.parametrize("name", [name for name in FEW if name != "linear"])
def test_mutants(name: str) -> None:
    """However a model is damaged: taken with XGBoost's bits, or not at all."""
    command = [sys.executable, "-m", "tests.unit.handler.forest_mutants"]
    model = CORPUS / "artifacts" / FEW[name]
    done = subprocess.run(
        [*command, str(model), "0", str(SEEDS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *tried, count = map(json.loads, done.stdout.splitlines())
    # XGBoost also looks at what no prediction needs, such as the scale of weights in training.
    odd = [case for case in tried if case[2] != "same" and not case[2].startswith("xgboost: ")]
    assert odd == []
    assert sum(count.values()) == SEEDS
    assert count["same"] > SEEDS / 20


SMALL = ("1.7.6/early.ubj", "3.1.2/early.json")


@pytest.mark.parametrize("file", SMALL)
def test_ends_early(file: str) -> None:
    """No beginning of a file has a forest, nor has a file that goes on."""
    data = (CORPUS / "artifacts" / file).read_bytes()
    assert forest.read(data) is not None
    for end in range(len(data)):
        assert forest.read(data[:end]) is None
    for more in (b"}", b"\0", b"{}", b",", data):
        assert forest.read(data + more) is None
    assert (forest.read(data + b" \n") is not None) == file.endswith("json")


@pytest.mark.parametrize("file", SMALL)
def test_each_byte(file: str) -> None:
    """Whatever one byte becomes, it is a forest that predicts or none."""
    data = (CORPUS / "artifacts" / file).read_bytes()
    random = Random(3)  # noqa: S311  # to be the same again
    rows = np.random.default_rng(3).normal(size=(9, 8)).astype(np.float32)
    taken = 0
    for at in range(len(data)):
        other = bytearray(data)
        other[at] = random.choice([0, 0x22, 0x2D, 0x39, 0x5B, 0x7B, 0x7F, 0xFF, data[at] ^ 1])
        read = forest.read(bytes(other))
        if read is not None and read[0].num_features == rows.shape[1]:
            forest.Trees(read[0]).predict(rows)
            taken += 1
    assert 0 < taken < len(data)


TWO = [
    *(b'"num_nodes":', b'"size_leaf_vector":', b'"left_children":', b'"parents":', b'"id":'),
    *(b'"split_indices":', b'"split_conditions":', b'"default_left":', b'"split_type":'),
    *(b'"tree_info":', b'"num_trees":', b'"base_score":', b'"num_class":', b'"version":'),
    *(b'"trees":', b'"learner":', b'"gradient_booster":', b'"objective":', b'"iteration_indptr":'),
]


@pytest.mark.parametrize("key", TWO, ids=bytes.decode)
def test_two_of_a_key(key: bytes) -> None:
    """Of two values for a key nobody knows which one counts."""
    text = written(sound("json"), Format.JSON).data
    start = text.index(key)
    _, end = json.JSONDecoder().raw_decode(text.decode(), start + len(key))
    assert forest.read(text[:end] + b"," + text[start:end] + text[end:]) is None
    assert forest.read(text[:start] + key + b"null," + text[start:]) is None
    assert forest.read(text[:start] + b'"another":[{"a":null}],' + text[start:]) is not None


@pytest.mark.parametrize("depth", [10, 50, 70, 100_000])
def test_nested(depth: int) -> None:
    """What is nested is skipped, or refused where it is deep."""
    text = written(sound("json"), Format.JSON).data
    for nested in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        read = forest.read(text[:-1] + b',"another":' + nested + b"}")
        assert (read is not None) == (depth < 60)
    binary = written(sound("json"), Format.UBJ).data
    key = b"L" + (7).to_bytes(8, "big") + b"another"
    for nested in (b"[" * depth + b"]" * depth, (b"[#L" + (1).to_bytes(8, "big")) * depth + b"Z"):
        read = forest.read(binary[:-1] + key + nested + b"}")
        assert (read is not None) == (depth < 60)


@pytest.mark.parametrize("count", [2**31 - 1, 2**31, 2**32, 2**33 + 7, 2**62, 2**63 - 1, 2**63])
def test_counts(count: int) -> None:
    """A length for which there are no bytes, wherever it stands."""
    data = (CORPUS / "artifacts" / SMALL[0]).read_bytes()
    places = [found.start() for found in re.finditer(b"#L", data)]
    assert len(places) > 50
    for at in places:
        assert forest.read(data[: at + 2] + count.to_bytes(8, "big") + data[at + 10 :]) is None


@pytest.mark.parametrize(
    "text",
    ["ff", "c080", "eda080", "f4908080", "f5808080", "e282", "80", "f0808080", "c3", "e08080"],
)
def test_no_utf8(text: str) -> None:
    """A name that is not UTF-8 is no name, in either format."""
    model = sound("json")
    model["learner"]["another"] = "@@@@@@@@@@"
    for form in FORMATS:
        data = written(model, form).data
        assert forest.read(data) is not None
        bad = bytes.fromhex(text).ljust(10, b"@")
        assert forest.read(data.replace(b"@@@@@@@@@@", bad)) is None
