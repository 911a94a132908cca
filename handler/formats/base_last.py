"""The base score added last, as releases before 1.3 did.

Releases since add it first, and floats added in another order have other last bits: more of them
the larger the base score is beside the prediction. So it becomes trees of one leaf at the end of
the model, which XGBoost adds last.
"""

import math
from typing import Any

import numpy as np

Version = tuple[int, int, int]

_FIRST_SINCE = (1, 3, 0)
# Nothing that is repaired or put last of a release's files needs it from this one on.
_MEANT_SO = (1, 3, 1)
# What the base score is, whose margin is added, and the one whose margin is nothing.
_LOGISTIC = ("binary:logistic", "reg:logistic")
_LOG_LINK = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")
_NO_PARENT = 2**31 - 1


def put_base_last(model: dict[str, Any], version: Version, rounds: int = 0) -> int:
    """Change a model of trees so that its base score is added after them.

    Args:
        model: the document of a JSON file, arrays of numbers as lists or numpy arrays.
        version: of its writer.
        rounds: that count, from the first; 0 for all. The others are left out.

    Returns:
        How many trees it has more at its end, or 0: then nothing is changed.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: it is not a model.
    """
    learner = model["learner"]
    booster = learner["gradient_booster"]
    if version >= _FIRST_SINCE or booster["name"] == "gblinear":
        return 0
    parameters = learner["learner_model_param"]
    margin, neutral = _margin(float(parameters["base_score"]), learner["objective"]["name"])
    forest = booster.get("gbtree", booster)["model"]
    trees, info = forest["trees"], forest["tree_info"]
    if not margin or not trees:
        return 0
    of_round = max(1, int(parameters["num_class"])) * max(
        1, int(forest["gbtree_model_param"].get("num_parallel_tree", 1))
    )
    first = [int(group) for group in info[:of_round]]
    kept = rounds * of_round or len(trees)
    # A round has all its trees, also where each output has several: the last of them is the one.
    last = {group: place for place, group in enumerate(first)}
    added = [
        _leaf(kept + place, margin if last[group] == place else 0.0, trees[0])
        for place, group in enumerate(first)
    ]
    forest["trees"] = [*trees[:kept], *added]
    forest["tree_info"] = [*(int(group) for group in info[:kept]), *first]
    forest["gbtree_model_param"]["num_trees"] = str(len(forest["trees"]))
    if "weight_drop" in booster:
        booster["weight_drop"] = [*booster["weight_drop"][:kept], *[1.0] * of_round]
    parameters["base_score"] = neutral
    model["version"] = list(_MEANT_SO)
    return of_round


def _margin(score: float, objective: str) -> tuple[float, str]:
    """The margin of a base score in float32, and the base score that has none."""
    if objective in _LOGISTIC:
        return _float32(math.log(score / (1 - score))), "5E-1"
    if objective in _LOG_LINK:
        return _float32(math.log(score)), "1E0"
    return _float32(score), "0E0"


def _float32(value: float) -> float:
    return float(np.float32(value))


def _leaf(number: int, value: float, like: dict[str, Any]) -> dict[str, Any]:
    """A tree of one leaf, with all that another tree of the model has."""
    of_node = {
        "base_weights": value,
        "default_left": 0,
        "left_children": -1,
        "loss_changes": 0.0,
        "parents": _NO_PARENT,
        "right_children": -1,
        "split_conditions": value,
        "split_indices": 0,
        "sum_hessian": 0.0,
        "split_type": 0,
        "leaf_child_counts": 0,
    }
    tree: dict[str, Any] = {}
    for key, values in like.items():
        if key not in of_node:
            continue
        as_list = isinstance(values, list)
        tree[key] = [of_node[key]] if as_list else np.array([of_node[key]], dtype=values.dtype)
    for key in like:
        if key.startswith("categories"):
            tree[key] = [] if isinstance(like[key], list) else like[key][:0]
    tree["id"] = number
    tree["tree_param"] = dict(like["tree_param"]) | {"num_nodes": "1", "num_deleted": "0"}
    return tree
