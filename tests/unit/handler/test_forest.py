"""A forest predicts as XGBoost does, to the bit, whatever the trees and the rows."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler import forest
from handler.artifact import Artifact
from handler.booster import Booster
from handler.formats import Format
from handler.kinds import Kind
from handler.prepare import prepare
from tests.unit.handler import forests
from tests.unit.handler.forests import CLASSES, OBJECTIVES, TARGETS, compare, of_bytes

# MME_FOREST_ROWS=1000000 makes a long run of ``test_many``.
ROWS = int(os.environ.get("MME_FOREST_ROWS", "40000"))
SECONDS = 15 if "MME_FOREST_ROWS" not in os.environ else 3600
# Objectives with several targets, and those of them with leaves that are vectors.
SEVERAL = ("reg:squarederror", "reg:logistic", "binary:logistic", "reg:pseudohubererror")
EDGE = 88.7  # from which XGBoost takes the same for any margin below its negative
VECTORS = ("reg:squarederror", "binary:logistic")
BASES = {"probability": ("3E-1", "0E0", "1E0"), "binary": ("3E-1", "5E-1"), "positive": ("2.5E0",)}

pytestmark = forests.BUILT
few = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def trained(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A model that XGBoost trained in one of its ways, and what is said when it is grown."""
    objective = draw(st.sampled_from(sorted(OBJECTIVES)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    features = draw(st.integers(1, 6))
    rows = (random.normal(size=(draw(st.integers(30, 150)), features)) * 3).astype(np.float32)
    told: dict[str, Any] = {
        "booster": draw(st.sampled_from(["gbtree", "gbtree", "gbtree", "dart"])),
        "max_depth": draw(st.sampled_from([0, 1, 2, 3, 6, 9])),
        "tree_method": draw(st.sampled_from(["hist", "exact", "approx"])),
        "num_parallel_tree": draw(st.sampled_from([1, 1, 1, 3])),
        "gamma": draw(st.sampled_from([0, 0, 0.01, 0.5, 100])),
        "eta": draw(st.sampled_from([0.3, 1.0])),
        "min_child_weight": 0,
        "subsample": draw(st.sampled_from([0.5, 1.0])),
        "rate_drop": 0.5,
    }
    if told["max_depth"] == 0:
        told["max_depth"], told["max_leaves"], told["tree_method"] = 0, 9, "hist"
        told["grow_policy"] = "lossguide"
    if told["booster"] == "gbtree":
        del told["rate_drop"]
    if told["tree_method"] != "exact" and draw(st.booleans()):
        types = ["c" if random.random() < 0.5 else "q" for _ in range(features)]
        for place, kind in enumerate(types):
            if kind == "c":
                rows[:, place] = random.integers(0, draw(st.sampled_from([2, 5, 40])), len(rows))
        told |= {"feature_types": types, "max_cat_to_onehot": draw(st.sampled_from([1, 4, 100]))}
    rows[random.random(rows.shape) < draw(st.sampled_from([0, 0.2]))] = np.nan
    if draw(st.booleans()) and OBJECTIVES[objective] != "class":
        told["base_score"] = draw(st.sampled_from([0.1, 0.5, 0.999]))
    if objective in SEVERAL and draw(st.booleans()):
        told["targets"] = TARGETS
        vectors = objective in VECTORS and told["booster"] == "gbtree"
        if vectors and draw(st.booleans()) and "feature_types" not in told:
            told |= {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
    rounds = draw(st.integers(1, 6))
    booster = forests.trained(objective, rows, rounds, noise=int(random.integers(99)), **told)
    said = {"rounds": draw(st.integers(0, rounds)), "missing": draw(st.sampled_from(MISSING))}
    return bytes(booster.save_raw(draw(st.sampled_from(["ubj", "json"])))), said


MISSING = [float("nan"), float("nan"), 0.0, -1.0, 2.0, 1e-45]


@given(model=trained(), seed=st.integers(0, 2**32))
@few
def test_trained(model: tuple[bytes, dict[str, Any]], seed: int) -> None:
    """What XGBoost has trained: both read as it is, and after it was prepared."""
    data, said = model
    document = forests.document_of(data)
    rows = forests.rows_for(np.random.default_rng(seed), document, forests.COUNTS[0])
    grown = of_bytes(data, **said)
    assert compare(grown, rows)
    read = forest.read(data)
    assert read is not None
    assert read[1].to_json() == of_bytes(data).traits.to_json()
    expected = Booster(data, 1).predict(rows[:70], Kind.MARGIN)
    assert forests.same_bits(forest.Trees(read[0]).predict(rows[:70], Kind.MARGIN), expected)


def plant(random: np.random.Generator, objective: str) -> forests.Grown:
    """A model of trees that were never trained, of the objective."""
    several = objective in SEVERAL and random.random() < 0.4
    vectors = objective in VECTORS and several and random.random() < 0.5
    booster = "dart" if not vectors and random.random() < 0.3 else "gbtree"
    targets = TARGETS if several else 1
    document = forests.template(objective, targets, booster, vectors)
    many = {"multi:softmax": CLASSES, "multi:softprob": CLASSES, "reg:quantileerror": 3}
    outputs = many.get(objective, targets)
    features = int(random.choice([1, 2, 3, 17, 300]))
    parallel = int(random.choice([1, 1, 2]))
    count = int(random.choice([1, 2, 7])) * parallel * (1 if vectors else outputs)
    cats = tuple(random.integers(features, size=random.choice([0, 0, 3])).tolist())
    trees = [
        forests.tree(
            random,
            int(random.choice([0, 1, 3, 20, 400])),
            features,
            categories=cats,
            vector=outputs if vectors else 1,
            way=int(random.choice([0, 0, 0, -1, -2])),
            leaves=float(random.choice([1, 1e-3, 100, 1e-40])),
        )
        for _ in range(count)
    ]
    bases = BASES.get(OBJECTIVES[objective], ("5E-1", "-2.25E0", "1E0", "3"))
    base = [str(random.choice(bases)) for _ in range(outputs)]
    text = base[0] if random.random() < 0.3 else f"[{','.join(base)}]"
    if OBJECTIVES[objective] in ("bounds", "positive"):
        text = text.replace("-", "")
    groups = 1 if vectors else outputs
    document = forests.planted(
        random, document, trees, features=features, parallel=parallel, groups=groups, base=text
    )
    data = forests.written(document, str(random.choice(["ubj", "json"])))
    rounds = int(random.integers(count // (parallel * groups) + 1))
    return of_bytes(data, rounds=rounds, missing=float(random.choice(MISSING)))


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=4)
def test_planted(objective: str, seed: int) -> None:
    """Trees of any form, of each objective: deep ones, leaves alone, categories up to the last."""
    random = np.random.default_rng(seed)
    grown = plant(random, objective)
    rows = forests.rows_for(random, forests.document_of(grown.data), forests.COUNTS[0])
    compare(grown, rows)


@pytest.mark.parametrize(
    ("features", "splits", "way", "wide"),
    [
        (2**20, 85, -2, False),  # a right child 255 words on, of which the field can say 255
        (2**20, 86, -2, True),
        (2**20, 300, -1, False),  # all right children are three words on
        (2**20 + 1, 43, -2, True),
        (20_000, 9_000, 0, True),
        (20_000, 9_000, -1, False),
    ],
)
@pytest.mark.parametrize("categories", [False, True])
def test_wide(features: int, splits: int, way: int, wide: bool, categories: bool) -> None:
    """Where a feature and the way to a right child do not go into a word, there are more words."""
    random = np.random.default_rng(splits)
    some = range(0, features if categories else 0, 2)
    trees = [
        forests.tree(random, size, features, categories=some, way=way) for size in (splits, 0, 9)
    ]
    document = forests.template("reg:squarederror")
    document = forests.planted(random, document, trees, features=features)
    count = 17 if features > 2**16 else 300
    rows = forests.rows_for(random, document, count)
    grown = of_bytes(forests.written(document, "ubj"))
    compare(grown, rows, (count, 9, 1))
    found = forest.grow(grown.data, grown.traits)
    assert found is not None
    if not categories:
        narrow = 4 * (3 * splits + 1)
        assert (found.size - narrow > 4 * splits) == wide


@pytest.mark.parametrize("method", ["exact", "approx", "hist"])
@pytest.mark.parametrize("form", ["ubj", "json"])
def test_pruned(method: str, form: str) -> None:
    """Of a tree that was pruned, nodes are there to which no way leads."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(200, 4)).astype(np.float32)
    first = forests.trained("reg:squarederror", rows, 5, tree_method=method, max_depth=6)
    matrix = xgboost.DMatrix(rows, label=np.sin(rows).sum(axis=1))
    told = {"process_type": "update", "updater": "prune", "gamma": 0.3, "max_depth": 6}
    pruned = xgboost.train(told | {"verbosity": 0}, matrix, 5, xgb_model=first)
    data = bytes(pruned.save_raw(form))
    document = forests.document_of(data)
    deleted = [int(tree["tree_param"]["num_deleted"]) for tree in forests.inner(document)["trees"]]
    assert min(deleted) > 0
    compare(of_bytes(data), forests.rows_for(random, document, 1100))


@pytest.mark.parametrize("alphas", [1, 2, 7, 40])
def test_quantiles(alphas: int) -> None:
    """Quantiles, few and many, that cross each other."""
    random = np.random.default_rng(alphas)
    rows = random.normal(size=(60, 3)).astype(np.float32)
    listed = np.linspace(0.45, 0.55, alphas).tolist()
    booster = forests.trained(
        "reg:quantileerror", rows, 4, quantile_alpha=listed, max_depth=3, eta=1
    )
    data = bytes(booster.save_raw("ubj"))
    rows = forests.rows_for(random, forests.document_of(data), 1100)
    margins = Booster(data, 1).predict(rows, Kind.MARGIN)
    assert alphas == 1 or np.any(np.diff(margins, axis=1) < 0)
    compare(of_bytes(data), rows)


@pytest.mark.parametrize("objective", ["multi:softmax", "multi:softprob"])
def test_ties(objective: str) -> None:
    """Of classes that are equal the first is the answer."""
    random = np.random.default_rng(6)
    trees = [forests.tree(random, 5, 2, leaves=0) for _ in range(4 * CLASSES)]
    for one in trees:
        ends = np.asarray(one["left_children"]) == -1
        one["split_conditions"][ends] = random.integers(0, 2, ends.sum())
    document = forests.template(objective)
    document = forests.planted(random, document, trees, features=2, groups=CLASSES, base="5E-1")
    grown = of_bytes(forests.written(document, "ubj"))
    rows = forests.rows_for(random, document, 1100)
    margins = np.sort(Booster(grown.data, 1).predict(rows, Kind.MARGIN), axis=1)
    assert np.mean(margins[:, -1] == margins[:, -2]) > 0.1
    compare(grown, rows)


@pytest.mark.parametrize("scale", [EDGE, 100, 1e4, 1e37])
@pytest.mark.parametrize(
    "objective", ["binary:logistic", "count:poisson", "survival:aft", "multi:softprob"]
)
def test_large_margins(objective: str, scale: float) -> None:
    """Margins at which an exponential is too large, or nothing."""
    random = np.random.default_rng(7)
    groups = CLASSES if objective.startswith("multi:") else 1
    trees = [forests.tree(random, 40, 2, leaves=scale) for _ in range(groups)]
    if scale == EDGE:
        for one in trees:
            ends = np.asarray(one["left_children"]) == -1
            one["split_conditions"][ends] = np.linspace(-89.5, -86.5, ends.sum())
    document = forests.template(objective)
    document = forests.planted(random, document, trees, features=2, groups=groups, base="5E-1")
    compare(of_bytes(forests.written(document, "ubj")), forests.rows_for(random, document, 1100))


def test_categories_with_names() -> None:
    """Categories that had names, which a file since 3.1 has beside the trees."""
    random = np.random.default_rng(5)
    frame = pandas.DataFrame(
        {
            "town": pandas.Categorical(random.choice(["x", "y", "z", "é"], 200)),
            "size": random.normal(size=200),
        }
    )
    label = frame["town"].cat.codes + frame["size"]
    matrix = xgboost.DMatrix(frame, label=label, enable_categorical=True)
    booster = xgboost.train({"max_depth": 4, "max_cat_to_onehot": 1, "nthread": 1}, matrix, 5)
    for form in ("ubj", "json"):
        data = bytes(booster.save_raw(form))
        compare(of_bytes(data), forests.rows_for(random, forests.document_of(data), 1100))


def test_many() -> None:
    """Many rows of many models, for as long as it takes or may take."""
    seed, compared, until = 0, 0, time.monotonic() + SECONDS
    names = sorted(OBJECTIVES)
    while compared < ROWS and time.monotonic() < until:
        random = np.random.default_rng(seed)
        grown = plant(random, names[seed % len(names)])
        rows = forests.rows_for(random, forests.document_of(grown.data), forests.COUNTS[0])
        compare(grown, rows, forests.COUNTS[:1])
        compared += len(rows)
        seed += 1
    print(f"{compared} rows of {seed} models")  # noqa: T201  # a long run's result
    assert compared >= min(ROWS, 10_000)


def test_pruned_categories() -> None:
    """A split of categories that was pruned is a leaf whose categories the file still lists."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 3)).astype(np.float32)
    rows[:, 0] = random.integers(0, 12, 500)
    labels = (rows[:, 0] % 3 == 1) + rows[:, 1] * 0.3 + random.normal(size=500) * 0.3
    matrix = xgboost.DMatrix(
        rows, labels, feature_types=["c", "float", "float"], enable_categorical=True
    )
    grown = xgboost.train({"max_depth": 5, "nthread": 1, "verbosity": 0}, matrix, 5)
    prune = {"process_type": "update", "updater": "prune", "gamma": 1.0, "verbosity": 0}
    pruned = xgboost.train({**prune, "nthread": 1}, matrix, 5, xgb_model=grown)
    data = bytes(pruned.save_raw("json"))
    trees = json.loads(data)["learner"]["gradient_booster"]["model"]["trees"]
    assert any(tree["left_children"][at] == -1 for tree in trees for at in tree["categories_nodes"])
    prepared = prepare(Artifact(Path("m.json"), Format.JSON, data))
    read = forest.read(data)
    assert read is not None
    rows[::7, 0] = np.nan
    for kind in forest.KINDS:
        expected = Booster(prepared.data, 1).predict(rows, kind)
        assert forest.Trees(read[0]).predict(rows, kind).tobytes() == expected.tobytes()


def test_many_quantiles() -> None:
    """More outputs than are sorted one by one."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, 6)).astype(np.float32)
    alphas = np.linspace(0.05, 0.95, 40).tolist()
    settings = {"objective": "reg:quantileerror", "quantile_alpha": alphas, "max_depth": 4}
    booster = xgboost.train(settings, xgboost.DMatrix(rows, label=rows.sum(axis=1)), 5)
    read = forest.read(bytes(booster.save_raw("ubj")))
    assert read is not None
    expected = booster.predict(xgboost.DMatrix(rows))
    assert expected.shape == (300, 40)
    assert forests.same_bits(forest.Trees(read[0]).predict(rows), expected)
