"""What a model's file says of itself beside its traits, for who looks at it, as plain values."""

from collections.abc import Mapping
from typing import Any

ORIGIN = "mme_converted_from"  # the attribute in which `mme convert` keeps what a file was


def of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a model.

    Args:
        model: in the shape of XGBoost's JSON, of any release, checked as a whole.

    Returns:
        ``booster``, ``trees``, ``rounds``, ``best_iteration`` (which its writer noted, whether or
        not predictions go by it) and ``converted_from``.
    """
    learner = model["learner"]
    parameters, attributes = learner["learner_model_param"], learner.get("attributes", {})
    groups = max(1, int(parameters["num_class"]), int(parameters.get("num_target", 1)))
    forest = trees_of(model)
    booster = str(learner["gradient_booster"]["name"])
    best = str(attributes.get("best_iteration", ""))
    return {
        # Since 3.4 dart is called gbtree in the file.
        "booster": "dart" if len(forest.get("weight_drop", ())) else booster,
        "trees": len(forest.get("trees", ())),
        "rounds": _rounds(forest, groups),
        "best_iteration": int(best) if best.isdecimal() else None,
        "converted_from": attributes.get(ORIGIN),
    }


def trees_of(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a model that has its trees; of gblinear, which has none, its weights."""
    booster = model["learner"]["gradient_booster"]
    found: Mapping[str, Any] = booster.get("gbtree", booster)["model"]
    return found


def _rounds(forest: Mapping[str, Any], groups: int) -> int:
    if "trees" not in forest:  # gblinear
        return int(forest.get("boosted_rounds", 0))
    if len(starts := forest.get("iteration_indptr", ())):
        return len(starts) - 1
    parallel = int(forest["gbtree_model_param"].get("num_parallel_tree", 1))
    return len(forest["trees"]) // (max(1, parallel) * groups)
