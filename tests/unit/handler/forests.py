"""Models of every kind, rows that try them, and XGBoost's bits for both.

A model is trained, or planted: trees of any form in the file of a model that was trained, so that
there is what no training would come to.
"""

import copy
import functools
import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from numpy.typing import NDArray

from handler import forest
from handler.artifact import Artifact
from handler.booster import Booster
from handler.formats import ubj
from handler.formats.sniff import sniff
from handler.prepare import prepare
from handler.traits import Traits
from tests.unit.handler import writing

Floats = NDArray[np.float32]
Document = dict[str, Any]

BUILT = pytest.mark.skipif(not forest.AVAILABLE, reason="it was not built: no compiler")
COUNTS = (1100, 300, 64, 63, 16, 8, 7, 1)  # of rows: each takes another way in C
ONE, CLASSES, TARGETS = 1, 3, 2

# Each objective that the forest takes, and what its labels are.
OBJECTIVES = {
    "reg:squarederror": "any",
    "reg:squaredlogerror": "positive",
    "reg:pseudohubererror": "any",
    "reg:absoluteerror": "any",
    "reg:quantileerror": "any",
    "reg:logistic": "probability",
    "binary:logistic": "binary",
    "binary:logitraw": "binary",
    "binary:hinge": "binary",
    "reg:gamma": "positive",
    "reg:tweedie": "positive",
    "count:poisson": "positive",
    "survival:cox": "positive",
    "survival:aft": "bounds",
    "multi:softmax": "class",
    "multi:softprob": "class",
    "rank:ndcg": "group",
    "rank:pairwise": "group",
    "rank:map": "group",
}
_EDGES = np.array(
    [
        *(np.nan, np.nan, 0, -0.0, 1, -1, 0.5, -0.5, 1e-45, -1e-45, 1e-38, -1e-40, 3.4028235e38),
        *(-3.4e38, 2, 7, 31, 31.9, 32, 33, 63, 64, 4095, 2**24 - 1, 2**24, 2**24 + 2, 2**31, 1e10),
    ],
    np.float32,
)


@dataclass(frozen=True)
class Grown:
    """A model file, and what is said of it when it is grown."""

    data: bytes
    traits: Traits


def labels_of(kind: str, score: NDArray[np.float64], targets: int) -> dict[str, Any]:
    """What a matrix is told beside its rows, so that the objective takes it."""
    score = score - score.min()
    score /= score.max() or 1
    match kind:
        case "any" | "probability":
            return {"label": score if targets == 1 else np.stack([score, 1 - score], axis=1)}
        case "binary":
            binary = (score > 0.5).astype(float)
            return {"label": binary if targets == 1 else np.stack([binary, 1 - binary], axis=1)}
        case "positive":
            positive = score + 0.1
            return {
                "label": positive if targets == 1 else np.stack([positive, 1.2 - score], axis=1)
            }
        case "class":
            return {"label": np.floor(score * 2.999)}
        case "bounds":
            return {"label_lower_bound": score + 0.5, "label_upper_bound": score + 1.5}
    return {"label": (score > 0.5).astype(float), "qid": np.arange(len(score)) // 10}


def trained(
    objective: str, rows: Floats, rounds: int, *, targets: int = 1, noise: int = 0, **settings: Any
) -> xgboost.Booster:
    """Train a small model; ``feature_types`` among the settings are the matrix's."""
    random = np.random.default_rng(noise)
    types = settings.pop("feature_types", None)
    score = np.nan_to_num(np.sin(rows.astype(float)).sum(axis=1)) + random.normal(size=len(rows))
    told = labels_of(OBJECTIVES[objective], score, targets)
    matrix = xgboost.DMatrix(rows, feature_types=types, enable_categorical=bool(types), **told)
    defaults: dict[str, Any] = {"objective": objective, "nthread": 1, "verbosity": 0, "seed": noise}
    if objective.startswith("multi:"):
        defaults["num_class"] = CLASSES
    if objective == "reg:quantileerror":
        defaults["quantile_alpha"] = [0.1, 0.5, 0.9]
    return xgboost.train(defaults | settings, matrix, num_boost_round=rounds)


@functools.lru_cache(maxsize=64)
def _template(objective: str, targets: int, booster: str, vectors: bool) -> bytes:
    rows = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32)
    settings = {"booster": booster, "max_depth": 1}
    if vectors:
        settings["multi_strategy"] = "multi_output_tree"
    return bytes(trained(objective, rows, 1, targets=targets, **settings).save_raw("ubj"))


def template(
    objective: str, targets: int = 1, booster: str = "gbtree", vectors: bool = False
) -> Document:
    """The document of a model of the objective, whose trees others can replace."""
    found: Document = ubj.loads(_template(objective, targets, booster, vectors))
    return copy.deepcopy(found)


def inner(document: Document) -> Document:
    """That in a document in which the trees are."""
    booster = document["learner"]["gradient_booster"]
    found: Document = booster.get("gbtree", booster)["model"]
    return found


def tree(
    random: np.random.Generator,
    splits: int,
    features: int,
    *,
    categories: Container[int] = (),
    vector: int = 1,
    way: int = 0,
    leaves: float = 1.0,
) -> Document:
    """A tree with so many splits, each put in place of a leaf that there was.

    Args:
        random: decides everything.
        splits: how many; of none, the tree is a leaf.
        features: the columns that it may ask.
        categories: those columns that are of categories.
        vector: numbers of a leaf.
        way: -1 where each split is the right child of the last one, -2 where it is the left one.
        leaves: how large the numbers of leaves are.
    """
    nodes = 2 * splits + 1
    left, right = np.full(nodes, -1, ">i4"), np.full(nodes, -1, ">i4")
    parents, feature = np.full(nodes, 2**31 - 1, ">i4"), np.zeros(nodes, ">i4")
    numbers = (random.normal(size=nodes) * leaves).astype(">f4")
    kinds, sets, ends = np.zeros(nodes, "u1"), {}, [0]
    places = random.random(splits)
    for split in range(splits):
        node = ends.pop(max(way, -len(ends)) if way else int(places[split] * len(ends)))
        left[node], right[node] = 2 * split + 1, 2 * split + 2
        parents[left[node]] = parents[right[node]] = node
        ends += [left[node], right[node]]
        feature[node] = random.integers(features)
        numbers[node] = threshold(random)
        if int(feature[node]) in categories:
            kinds[node], sets[node] = 1, some_categories(random)
    if vector > 1:
        right[ends] = np.argsort(ends)  # which of the leaves it is
        parents[0] = -1
    chosen = [sets[node] for node in sorted(sets)]
    sizes = np.array([len(one) for one in chosen], ">i8")
    return {
        "base_weights": np.zeros(nodes * (vector if vector > 1 else 1), ">f4"),
        "categories": np.concatenate([*chosen, np.empty(0)]).astype(">i4"),
        "categories_nodes": np.array(sorted(sets), ">i4"),
        "categories_segments": (np.cumsum(sizes) - sizes).astype(">i8"),
        "categories_sizes": sizes,
        "default_left": random.integers(0, 2, nodes).astype("u1"),
        "id": 0,
        "left_children": left,
        "loss_changes": np.zeros(nodes, ">f4"),
        "parents": parents,
        "right_children": right,
        "split_conditions": numbers,
        "split_indices": feature,
        "split_type": kinds,
        "sum_hessian": np.ones(nodes, ">f4"),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(features),
            "num_nodes": str(nodes),
            "size_leaf_vector": str(vector),
        },
        **(
            {"leaf_weights": random.normal(size=len(ends) * vector).astype(">f4")}
            if vector > 1
            else {}
        ),
    }


def threshold(random: np.random.Generator) -> float:
    """Any number that a split can be at, often one of those at the edge of something."""
    if random.random() < 0.2:
        return float(np.nan_to_num(_EDGES)[random.integers(len(_EDGES))])
    return float(random.normal())


def some_categories(random: np.random.Generator) -> NDArray[np.int64]:
    """Categories of one split: one or many, dense or far apart."""
    most = int(random.choice([2, 31, 32, 33, 64, 100, 5000, 2**24]))
    return np.unique(random.integers(0, most, random.choice([1, 2, 40])))


def planted(
    random: np.random.Generator,
    document: Document,
    trees: list[Document],
    *,
    features: int,
    parallel: int = 1,
    groups: int = 1,
    base: str = "",
) -> Document:
    """A document with other trees, of its outputs by turns."""
    model, parameters = inner(document), document["learner"]["learner_model_param"]
    for place, one in enumerate(trees):
        one["id"] = place
    a_round = parallel * groups
    model["trees"] = trees
    model["tree_info"] = (np.arange(len(trees)) // parallel % groups).tolist()
    model["iteration_indptr"] = list(range(0, len(trees) + 1, a_round))
    model["gbtree_model_param"] = {"num_parallel_tree": str(parallel), "num_trees": str(len(trees))}
    parameters["num_feature"] = str(features)
    parameters["base_score"] = base or parameters["base_score"]
    booster = document["learner"]["gradient_booster"]
    for one in (booster, model):
        if "weight_drop" in one:
            one["weight_drop"] = random.random(len(trees)).tolist()
    document["learner"]["feature_names"] = document["learner"]["feature_types"] = []
    return document


def leaf(
    outputs: int = 1,
    features: int = 1,
    names: Sequence[str] = (),
    objective: str = "reg:squarederror",
) -> bytes:
    """A file with one tree that is a leaf.

    Args:
        outputs: that the leaf has.
        features: that are claimed; none is looked at.
        names: of the features.
        objective: of the model.
    """
    one = tree(np.random.default_rng(0), 0, features, vector=outputs)
    told = {"num_feature": str(features), "num_class": "0", "num_target": str(outputs)}
    model = {
        "gbtree_model_param": {"num_trees": "1", "num_parallel_tree": "1"},
        "trees": [one],
        "tree_info": [0],
    }
    learner = {
        "learner_model_param": {**told, "base_score": "5E-1"},
        "gradient_booster": {"name": "gbtree", "model": model},
        "objective": {"name": objective},
        "feature_names": list(names),
    }
    return writing.ubj({"learner": learner, "version": [*forest.RUNTIME]})


def written(document: Document, form: str) -> bytes:
    """A document as the bytes of a file."""
    return writing.ubj(document) if form == "ubj" else writing.as_json(document)


def splits_of(document: Document) -> tuple[NDArray[np.int64], Floats, int]:
    """The features and thresholds of all splits, and how many features there are."""
    trees = inner(document)["trees"]
    features = np.concatenate([np.asarray(one["split_indices"]) for one in trees]).astype(np.int64)
    numbers = np.concatenate([np.asarray(one["split_conditions"]) for one in trees])
    ways = np.concatenate([np.asarray(one["left_children"]) for one in trees]) != -1
    found = ways & np.isfinite(numbers.astype(float))
    count = int(document["learner"]["learner_model_param"]["num_feature"])
    return features[found], numbers[found].astype(np.float32), count


def rows_for(random: np.random.Generator, document: Document, count: int) -> Floats:
    """Rows of edges: of the numbers at which a model splits, those beside them, and others."""
    features, numbers, width = splits_of(document)
    rows = (random.normal(size=(count, width)) * 2).astype(np.float32)
    kind = random.random(rows.shape)
    few = kind < 0.25
    rows[few] = random.choice(_EDGES, size=int(few.sum()))
    some = (kind >= 0.25) & (kind < 0.35)
    rows[some] = np.floor(np.abs(rows[some]) * 5)  # categories
    if len(features):
        chosen = random.integers(len(features), size=(count, min(width, 8)))
        exact, beside = numbers[chosen], random.choice([-np.inf, np.inf], size=chosen.shape)
        with np.errstate(over="ignore"):
            near = np.nextafter(exact, beside.astype(np.float32))
        near[~np.isfinite(near)] = 0
        values = np.where(random.random(chosen.shape) < 0.5, exact, near)
        rows[np.arange(count)[:, None], features[chosen]] = values
    rows[random.random(count) < 0.02] = np.nan
    return rows


def same_bits(one: Floats, other: Floats) -> bool:
    """Whether two answers are of one shape, and of the same bits in each number."""
    return one.shape == other.shape and bool(np.array_equal(one.view("u4"), other.view("u4")))


def compare(grown: Grown, rows: Floats, counts: tuple[int, ...] = COUNTS) -> int:
    """Check that a forest is XGBoost, however many rows are asked at once.

    Returns:
        How many rows were compared.
    """
    trees = forest.grow(grown.data, grown.traits)
    assert trees is not None
    answers, compared = forest.Trees(trees), 0
    booster = Booster(grown.data, 1, grown.traits.rounds, grown.traits.missing)
    for kind in forest.KINDS:
        before = rows.copy()
        expected = booster.predict(rows, kind)
        for count in counts:
            found = answers.predict(rows[:count], kind)
            assert same_bits(found, expected[:count]), (kind, count, grown.traits)
            compared += min(count, len(rows))
        assert same_bits(rows, before)
    return compared


def of_bytes(data: bytes, **told: Any) -> Grown:
    """A model file with what ``prepare`` says of it, and what else is said of it."""
    form = sniff(data)
    assert form is not None
    prepared = prepare(Artifact(Path("m"), form, data))
    fields = {name: getattr(prepared.traits, name) for name in prepared.traits.__slots__}
    return Grown(prepared.data, Traits(**fields | told))


def document_of(data: bytes) -> Document:
    """A model's file as the document that it is."""
    found: Document = ubj.loads(data) if data.startswith(b"{L") else json.loads(data)
    return found
