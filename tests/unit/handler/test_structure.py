"""The check of a model's structure: what is sound passes, each single mistake is named."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler import structure
from handler.artifact import Artifact
from handler.errors import Fault, HandlerError
from handler.formats import Format, FormatError, ubj
from handler.formats.repair import repair
from handler.formats.sniff import sniff
from handler.model import Part, load_model
from handler.prepare import prepare
from tests.unit.handler import writing

ROOT = Path(__file__).parent.parent.parent.parent
CORPUS = ROOT / "tests" / "corpus"
MANIFEST = json.loads((CORPUS / "artifacts" / "manifest.json").read_text())
MODELS = {
    "binary": "3.2.0/early.model",
    "classes": "1.6.2/w_earlymulti.ubj",
    "dart": "3.1.2/dart.model",
    "linear": "3.0.5/gblinmulti.model",
    "categories": "3.2.0/catpd.ubj",
    "vectors": "3.2.0/vecleafmulti.json",
}


def document(data: bytes) -> dict[str, Any]:
    """A model's file as the document that it is."""
    found: dict[str, Any] = ubj.loads(data) if data.startswith(b"{L") else json.loads(data)
    return found


def written(model: dict[str, Any], form: Format) -> Artifact:
    """A document as the artifact of one format."""
    data = writing.ubj(model) if form is Format.UBJ else writing.as_json(model)
    return Artifact(Path("m"), form, data)


DOCUMENTS = [case for case in MANIFEST["artifacts"] if case["format"] in ("JSON", "UBJ")]
FORMATS = [Format.JSON, Format.UBJ]


@pytest.mark.parametrize("case", DOCUMENTS, ids=lambda case: case["file"])
def test_sound_in_the_other_format(case: dict[str, Any]) -> None:
    """What any release wrote is as sound in the other format; old vector leaves need repair."""
    data = (CORPUS / "artifacts" / case["file"]).read_bytes()
    other = written(document(data), Format.JSON if data.startswith(b"{L") else Format.UBJ)
    model = document(other.data)
    if "vecleaf" in case["file"] and tuple(model["version"]) < (3, 2, 0):
        with pytest.raises(FormatError, match="KeyError: 'leaf_weights'"):
            structure.check(model)
    repair(model, tuple(model["version"]))
    assert structure.check(model) > 0 or "gblin" in case["file"]


@pytest.mark.parametrize(
    "file",
    [
        path
        for path in sorted((CORPUS / "damaged").glob("refuse-*"))
        if path.name != "refuse-objective-unknown.json"
    ],
    ids=lambda path: path.name,
)
def test_damaged_artifacts(file: Path) -> None:
    """What is damaged never comes to XGBoost, but for an objective that only XGBoost can know."""
    data = file.read_bytes()
    form = sniff(data)
    if form is None:  # it is no model at all
        return
    with pytest.raises(HandlerError) as error:
        prepare(Artifact(file, form, data))
    assert error.value.fault is Fault.BAD_MODEL
    assert error.value.message.startswith(f"{file.name} ")
    assert "\n" not in error.value.message


GONE, SHORT = object(), object()  # in place of a value: there is none, or one entry less
TWO_WAYS, NO_CHILD = "two ways lead to one node", "a child is out of range"
NUMBER, OTHER_NODES = "a threshold that is not a finite number", "categories of other nodes"
OUTPUTS, NOT_THERE = "does not name each of", "what XGBoost writes is not there"

# The model, the places in it and what is put there, and the words in which it is refused.
EDITS: list[tuple[str, dict[str, Any], str]] = [
    ("binary", {"tree.left_children.0": 10**8}, NO_CHILD),
    ("binary", {"tree.left_children.0": -2}, NO_CHILD),
    ("binary", {"tree.right_children.0": 17}, NO_CHILD),  # of 17 nodes
    ("binary", {"tree.right_children.0": -1}, NO_CHILD),
    ("binary", {"tree.left_children.1": 1}, TWO_WAYS),  # itself
    ("binary", {"tree.left_children.2": 0}, TWO_WAYS),  # its ancestor
    ("binary", {"tree.left_children.2": 2, "tree.parents.2": 2}, TWO_WAYS),
    ("binary", {"tree.right_children.2": 4}, TWO_WAYS),  # another's child
    ("binary", {"tree.left_children.0": -1}, "a cycle among its nodes"),  # or rather, no way there
    (
        "binary",  # a ring apart: 5 leads to 7 and 7 to 5
        {"tree.left_children.2": 11, "tree.parents.11": 2}
        | {"tree.left_children.7": 5, "tree.parents.5": 7},
        "a cycle among its nodes",
    ),
    ("binary", {"tree.parents.1": 2}, "a child has another parent"),
    ("binary", {"tree.parents.0": 0}, "a first node that has a parent"),
    ("binary", {"tree.split_indices.0": 8}, "out of range: there are 8"),
    ("binary", {"tree.split_indices.0": -1}, "out of range: there are 8"),
    ("binary", {"tree.split_conditions.0": np.inf}, NUMBER),
    ("binary", {"tree.split_conditions.0": -np.inf}, NUMBER),
    ("binary", {"tree.split_conditions.0": np.nan}, NUMBER),
    ("binary", {"tree.split_type.0": 2}, "a split of a kind that there is not"),
    ("binary", {"tree.split_type.0": 1}, "a split of categories that are not listed"),
    ("binary", {"tree.left_children.0": 1.5}, "a number that should be whole"),
    ("binary", {"tree.tree_param.num_nodes": "0"}, "a tree without nodes"),
    ("binary", {"tree.tree_param.num_nodes": "18"}, "has 17 entries for 18 nodes"),
    ("binary", {"tree.tree_param.num_nodes": "x"}, NOT_THERE),
    ("binary", {"tree.tree_param.size_leaf_vector": "-1"}, "inconsistent: size_leaf_vector"),
    ("binary", {"tree.tree_param.size_leaf_vector": "9"}, "inconsistent: size_leaf_vector"),
    *[
        ("binary", {f"tree.{key}": SHORT}, f"{key} has 16 entries for 17 nodes")
        for key in (*structure._OF_NODE, *structure._OF_NODE_TOO)
    ],
    *[("binary", {f"tree.{key}": GONE}, NOT_THERE) for key in structure._OF_NODE],
    ("binary", {"model.tree_info.0": 1}, OUTPUTS),
    ("binary", {"model.tree_info.0": -1}, OUTPUTS),
    ("binary", {"model.tree_info": SHORT}, "tree_info is of 6 trees, there are 7"),
    ("binary", {"model.trees": SHORT}, "num_trees is not 6"),
    ("binary", {"model.trees": GONE}, NOT_THERE),
    ("binary", {"model.gbtree_model_param.num_trees": "8"}, "num_trees is not 7"),
    ("binary", {"model.iteration_indptr.0": 1}, "iteration_indptr does not agree"),
    ("binary", {"model.iteration_indptr.7": 8}, "iteration_indptr does not agree"),
    ("binary", {"model.iteration_indptr.3": 7}, "iteration_indptr does not agree"),
    ("binary", {"param.num_feature": "0"}, "num_feature is 0"),
    ("binary", {"param.num_feature": "-1"}, "num_feature is -1"),
    ("binary", {"param.num_feature": "3"}, "out of range: there are 3"),
    ("binary", {"param.num_feature": str(2**24 + 1)}, "num_feature is 16777217"),
    ("binary", {"param.num_feature": GONE}, NOT_THERE),
    ("binary", {"param.num_class": "1000000"}, OUTPUTS),
    ("binary", {"param.num_class": "-1"}, "num_class is -1"),
    ("binary", {"param.num_target": "1000"}, OUTPUTS),
    ("binary", {"param.num_target": "-1"}, "num_target -1"),
    ("binary", {"learner.gradient_booster": GONE}, NOT_THERE),
    ("binary", {"learner.feature_names": ["a"]}, "1 feature names for 8 features"),
    ("classes", {"model.tree_info.0": 3}, OUTPUTS),
    ("classes", {"param.num_class": "2"}, OUTPUTS),
    ("classes", {"param.num_class": "4"}, OUTPUTS),
    ("classes", {"param.num_target": "3"}, "num_class is 3 and num_target 3"),
    ("dart", {"booster.weight_drop": SHORT}, "19 weights for 20 trees"),
    ("linear", {"model.weights": SHORT}, "26 weights for 8 features"),
    ("linear", {"param.num_class": "0"}, "27 weights for 8 features"),
    ("categories", {"tree.categories_nodes.4": 31}, "a node that is out of range"),
    ("categories", {"tree.categories_nodes.0": -1}, "a node that is out of range"),
    ("categories", {"tree.categories_nodes.0": 6}, "a node that is out of range"),  # twice
    ("categories", {"tree.categories_nodes.0": 2}, "categories of a node that has none"),
    ("categories", {"tree.categories_nodes": []}, "categories of no node"),
    ("categories", {"tree.categories_nodes": SHORT}, OTHER_NODES),
    ("categories", {"tree.categories_sizes": SHORT}, OTHER_NODES),
    ("categories", {"tree.categories_segments": SHORT}, OTHER_NODES),
    ("categories", {"tree.categories_segments.4": 11}, "categories that are out of range"),
    ("categories", {"tree.categories_segments.0": -1}, "categories that are out of range"),
    ("categories", {"tree.categories_sizes.0": 15}, "categories that are out of range"),
    ("categories", {"tree.categories_sizes.0": -1}, "categories that are out of range"),
    ("categories", {"tree.categories.0": -1}, "a category that is out of range"),
    ("categories", {"tree.categories.0": 2**24 + 1}, "a category that is out of range"),
    ("categories", {"tree.split_type.2": 1}, "a split of categories that are not listed"),
    ("categories", {"tree.split_type.1": 0}, "categories of a node that has none"),
    ("vectors", {"tree.leaf_weights": SHORT}, "inconsistent: leaf_weights"),
    ("vectors", {"tree.leaf_weights": GONE}, NOT_THERE),
    ("vectors", {"tree.right_children.30": 0}, "a leaf that is out of range"),
    ("vectors", {"tree.right_children.30": 16}, "a leaf that is out of range"),
    ("vectors", {"tree.tree_param.size_leaf_vector": "1"}, "inconsistent: size_leaf_vector"),
    ("vectors", {"param.num_class": "2"}, "size_leaf_vector is 3, outputs are 2"),
]


def edited(model: dict[str, Any], edits: dict[str, Any]) -> dict[str, Any]:
    """The document with something else in these places; ``tree`` is that of most categories."""
    booster = model["learner"]["gradient_booster"]
    inner = booster.get("gbtree", booster)["model"]
    trees = inner.get("trees", [None])
    starts = {
        "learner": model["learner"],
        "param": model["learner"]["learner_model_param"],
        "booster": booster,
        "model": inner,
        "tree": max(trees, key=lambda tree: len(tree["categories_nodes"]) if tree else 0),
    }
    for place, value in edits.items():
        start, *way, last = place.split(".")
        at = starts[start]
        for key in way:
            if isinstance(at[key], np.ndarray):
                at[key] = at[key].astype(">f4" if isinstance(value, float) else ">i8")
            at = at[key]
        if value is GONE:
            del at[last]
        elif value is SHORT:
            at[last] = at[last][:-1]
        else:
            at[last if isinstance(at, dict) else int(last)] = value
    return model


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("name", "edits", "words"), EDITS, ids=[next(iter(e[1])) for e in EDITS])
def test_edits(name: str, edits: dict[str, Any], words: str, form: Format) -> None:
    """A sound model with one thing wrong is refused in words that name it."""
    model = document((CORPUS / "artifacts" / MODELS[name]).read_bytes())
    prepare(written(model, form))
    with pytest.raises(HandlerError) as error:
        prepare(written(edited(model, edits), form))
    assert error.value.fault is Fault.BAD_MODEL
    assert words in error.value.message
    assert error.value.message.startswith("m is damaged: ")
    assert len(error.value.message) < 200


@pytest.mark.parametrize(
    "edits", [{"param.base_score": GONE}, {"learner.objective": {"name": "reg:x"}}]
)
def test_what_xgboost_checks(edits: dict[str, Any]) -> None:
    """What no index leads to is left to XGBoost, which refuses it by an error."""
    model = document((CORPUS / "artifacts" / MODELS["binary"]).read_bytes())
    prepared = prepare(written(edited(model, edits), Format.JSON))
    with pytest.raises(HandlerError, match="m cannot be loaded"):
        load_model([Part("m", prepared.data, prepared.traits)], threads=1)


@pytest.mark.parametrize("name", MODELS)
def test_mutants(name: str) -> None:
    """However a model is damaged, if the checks let it in XGBoost neither crashes nor hangs."""
    program = [sys.executable, "-m", "tests.unit.handler.mutants"]
    model = CORPUS / "artifacts" / MODELS[name]
    done = subprocess.run(
        [*program, str(model), "100", "150"], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    tried = [json.loads(line) for line in done.stdout.splitlines()]
    verdicts = Counter(verdict for _, _, verdict in tried)
    assert [case for case in tried if case[2] not in ("refused", "served")] == [], done.stderr
    assert (done.returncode, len(tried)) == (0, 50), done.stderr
    assert min(verdicts["refused"], verdicts["served"]) >= 3
