"""What older releases wrote and newer ones read wrong, put right in the document itself.

Each repair is of what XGBoost 3.2 and 3.4 were seen to misread without a word, or to die of; what
they read as its writer meant it is left alone. Source: files of releases from 0.90 on, with their
writers' own predictions.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.formats import FormatError

Version = tuple[int, int, int]

# From 1.3.1 on, the base score of this objective is a margin; before, it was a probability.
_RAW = "binary:logitraw"
_RAW_SINCE, _PROBABILITY_SINCE = (1, 3, 1), (1, 0, 0)
# From 3.2 on, a leaf of several numbers has them apart from the nodes' weights, and its number in
# place of a right child. Without that the process dies at the load.
_LEAF_WEIGHTS_SINCE = (3, 2, 0)
_VECTORS_SINCE = (2, 0, 0)


def repair(model: dict[str, Any], version: Version) -> bool:
    """Change a model to what the runtime reads as its writer did.

    Args:
        model: the document of a JSON file, arrays of numbers as lists or numpy arrays.
        version: of its writer.

    Returns:
        Whether anything had to change. Then its version is the first that means it so: what is
        written with these changes needs none the next time.

    Raises:
        FormatError: it is not what that release could have written.
        KeyError, TypeError, ValueError: it is not a model.
    """
    learner = model["learner"]
    changed = False
    forest = learner["gradient_booster"].get("model", {})
    if forest.get("trees") == [] and "iteration_indptr" not in forest:
        forest["iteration_indptr"] = [0]  # without trees the runtime wants to be told of no rounds
        changed = True
    if _PROBABILITY_SINCE <= version < _RAW_SINCE and learner["objective"]["name"] == _RAW:
        parameters = learner["learner_model_param"]
        parameters["base_score"] = repr(_logit(float(parameters["base_score"])))
        model["version"] = list(_RAW_SINCE)
        changed = True
    if _VECTORS_SINCE <= version < _LEAF_WEIGHTS_SINCE:
        for tree in learner["gradient_booster"].get("model", {}).get("trees", ()):
            outputs = int(tree["tree_param"]["size_leaf_vector"])
            if outputs > 1 and "leaf_weights" not in tree:
                _put_leaves_apart(tree, outputs)
                model["version"] = list(_LEAF_WEIGHTS_SINCE)
                changed = True
    return changed


def _logit(probability: float) -> float:
    if not 0 < probability < 1:
        raise FormatError(f"damaged: its base score is no probability: {probability}")
    return math.log(probability / (1 - probability))


def _put_leaves_apart(tree: dict[str, Any], outputs: int) -> None:
    """Give a tree its leaves' numbers apart, in the order of its nodes."""
    left: NDArray[np.int32] = np.array(tree["left_children"], dtype=np.int32)
    right: NDArray[np.int32] = np.array(tree["right_children"], dtype=np.int32)
    with np.errstate(over="ignore"):
        weights: NDArray[np.float32] = np.array(tree["base_weights"], dtype=np.float32)
    if left.ndim != 1 or left.shape != right.shape or weights.shape != (len(left) * outputs,):
        raise FormatError("damaged: a tree whose nodes and weights are not as many")
    leaves = np.flatnonzero(left == -1)
    right[leaves] = np.arange(len(leaves), dtype=np.int32)
    nothing = np.zeros(len(left), dtype=np.float32)
    apart = {
        "leaf_weights": weights.reshape(-1, outputs)[leaves].reshape(-1),
        "right_children": right,
        "loss_changes": nothing,  # not noted then, and of no matter for predictions
        "sum_hessian": nothing,
    }
    as_lists = isinstance(tree["left_children"], list)
    for key, values in apart.items():
        tree[key] = values.tolist() if as_lists else values
