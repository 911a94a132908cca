"""What a model's file says of itself, for who looks at it, as plain values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ORIGIN = "mme_converted_from"  # the attribute in which `mme convert` keeps what a file was
_FIXED_BYTES, _NODE_BYTES = 4096, 60  # that XGBoost takes for a model, and for each node: measured
_SHOWN = 60  # characters of a value that was changed


def of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a model beside its traits.

    Args:
        model: in the shape of XGBoost's JSON, of any release.

    Returns:
        ``version`` (text), ``objective``, ``features``, ``names``, ``classes``, ``targets``,
        ``booster``, ``trees``, ``rounds``, ``nodes``, ``best_iteration``, ``converted_from``.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is no model.
    """
    learner = model["learner"]
    parameters, attributes = learner["learner_model_param"], learner.get("attributes", {})
    classes, targets = int(parameters["num_class"]), int(parameters.get("num_target", 1))
    name, forest = _booster(learner["gradient_booster"])
    trees = forest.get("trees", ())
    best = str(attributes.get("best_iteration", ""))
    version = model.get("version", ())
    return {
        "version": ".".join(str(int(part)) for part in version) or None,
        "objective": str(learner["objective"]["name"]),
        "features": int(parameters["num_feature"]),
        "names": [str(text) for text in learner.get("feature_names", ())],
        "classes": max(1, classes),
        "targets": max(1, targets),
        "booster": name,
        "trees": len(trees),
        "rounds": _rounds(forest, max(1, classes, targets)),
        "nodes": sum(int(tree["tree_param"]["num_nodes"]) for tree in trees),
        "best_iteration": int(best) if best.isdecimal() else None,
        "converted_from": attributes.get(ORIGIN),
    }


def memory_bytes(nodes: int) -> int:
    """What XGBoost takes for a model of so many nodes."""
    return _FIXED_BYTES + _NODE_BYTES * nodes


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between a model as its file has it and as it is served: a short text each."""
    found = []
    names = [_booster(model["learner"]["gradient_booster"])[0] for model in (before, after)]
    if (
        before["learner"]["gradient_booster"]["name"]
        != after["learner"]["gradient_booster"]["name"]
    ):
        found.append(f"{names[1]} put as this release reads it")
    scores = [_score(model) for model in (before, after)]
    if scores[0] != scores[1]:
        found.append(f"base score {scores[0]} is now {scores[1]}")
    if _has_leaf_weights(after) and not _has_leaf_weights(before):
        found.append("vector leaves put as this release reads them")
    objectives = [model["learner"]["objective"]["name"] for model in (before, after)]
    if objectives[0] != objectives[1]:
        found.append(f"objective {objectives[0]} is now {objectives[1]}")
    return [text[: 4 * _SHOWN] for text in found]


def thresholds(model: Mapping[str, Any]) -> Iterator[tuple[Sequence[int], Sequence[float]]]:
    """For each tree the features that it splits by, and where, node by node; leaves among them."""
    _, forest = _booster(model["learner"]["gradient_booster"])
    for tree in forest.get("trees", ()):
        yield tree["split_indices"], tree["split_conditions"]


def _booster(booster: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Its name, and what has its trees; since 3.4 dart is called gbtree in the file."""
    forest = booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    name = "dart" if len(forest.get("weight_drop", ())) else str(booster["name"])
    return name, forest


def _rounds(forest: Mapping[str, Any], groups: int) -> int:
    if "trees" not in forest:  # gblinear
        return int(forest.get("boosted_rounds", 0))
    if len(starts := forest.get("iteration_indptr", ())):
        return len(starts) - 1
    parallel = int(forest["gbtree_model_param"].get("num_parallel_tree", 1))
    return len(forest["trees"]) // (max(1, parallel) * groups)


def _score(model: Mapping[str, Any]) -> str:
    return str(model["learner"]["learner_model_param"]["base_score"]).strip("[]")[:_SHOWN]


def _has_leaf_weights(model: Mapping[str, Any]) -> bool:
    _, forest = _booster(model["learner"]["gradient_booster"])
    return any(len(tree.get("leaf_weights", ())) for tree in forest.get("trees", ()))
