"""Whether a model makes sense: every index in it leads to something that is there.

XGBoost takes the indices of a file at their word: one that is out of range, or a cycle, ends the
process at the first prediction, or lets it predict something else without a word. The check is of
the whole file at once, as arrays over all trees; releases from 1.0 on have what it looks at.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from handler.formats import FormatError

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Floats = NDArray[np.float64]

_NO_PARENT = (-1, 2**31 - 1)
_SHOWN = 100  # letters of an error
_MOST_FEATURES = 2**24  # a row is four bytes for each
_FLOAT32 = float(np.finfo(np.float32).max)
# What a tree says of each node, and whether releases from 1.0 on all say it.
_OF_NODE = ("left_children", "right_children", "parents", "split_indices", "split_conditions")
_OF_NODE_TOO = ("base_weights", "default_left", "loss_changes", "sum_hessian", "split_type")
_OF_CATEGORIES = ("categories_nodes", "categories_segments", "categories_sizes")


def check(model: Any) -> int:
    """Check a model as a whole.

    Args:
        model: the document of a JSON or UBJ file, arrays of numbers as lists or numpy arrays.

    Returns:
        How many nodes its trees have together.

    Raises:
        FormatError: it is damaged; the message says what is wrong in it.
    """
    try:
        return _check_model(model)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise not_there(error) from None


def not_there(error: Exception) -> FormatError:
    """The error for a model of which a part could not even be looked at."""
    shown = f"{type(error).__name__}: {error}"[:_SHOWN]
    return FormatError(f"damaged: what XGBoost writes is not there ({shown})")


def _wrong(sentence: str) -> NoReturn:
    raise FormatError(f"damaged: {sentence}")


def _check_model(model: Any) -> int:
    learner = model["learner"]
    parameters = learner["learner_model_param"]
    features = int(parameters["num_feature"])
    classes, targets = int(parameters["num_class"]), int(parameters.get("num_target", 1))
    if not 0 < features <= _MOST_FEATURES:
        _wrong(f"num_feature is {features}")
    if classes < 0 or targets < 0 or (classes > 1 and targets > 1):
        _wrong(f"inconsistent: num_class is {classes} and num_target {targets}")
    groups = max(1, classes, targets)
    names = learner.get("feature_names", ())
    if len(names) not in (0, features):
        _wrong(f"inconsistent: {len(names)} feature names for {features} features")
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        weights = booster["model"]["weights"]
        if len(weights) != (features + 1) * groups:
            _wrong(f"inconsistent: {len(weights)} weights for {features} features")
        return 0
    tree_model = booster["gbtree"]["model"] if booster["name"] == "dart" else booster["model"]
    nodes = _check_trees(tree_model, features, groups)
    drop = booster.get("weight_drop", tree_model.get("weight_drop"))
    if drop is not None and len(drop) not in (0, len(tree_model["trees"])):
        _wrong(f"inconsistent: {len(drop)} weights for {len(tree_model['trees'])} trees")
    return nodes


def _check_trees(model: Any, features: int, groups: int) -> int:
    trees = model["trees"]
    if int(model["gbtree_model_param"]["num_trees"]) != len(trees):
        _wrong(f"inconsistent: num_trees is not {len(trees)}, as many as there are")
    info = _ints([model["tree_info"]])
    if len(info) != len(trees):
        _wrong(f"inconsistent: tree_info is of {len(info)} trees, there are {len(trees)}")
    rounds = _ints([model.get("iteration_indptr", ())])
    if len(rounds) and (rounds[0] != 0 or rounds[-1] != len(trees) or np.any(np.diff(rounds) < 0)):
        _wrong("inconsistent: iteration_indptr does not agree with the trees")
    if not trees:
        return 0
    sizes = _ints([[int(tree["tree_param"]["num_nodes"]) for tree in trees]])
    if np.min(sizes) < 1:
        _wrong("a tree without nodes")
    _check_lengths(trees, sizes)
    leaf_sizes = {int(tree["tree_param"].get("size_leaf_vector", 0)) for tree in trees}
    vectors = max(leaf_sizes) > 1
    if min(leaf_sizes) < 0 or (vectors and len(leaf_sizes) > 1):
        _wrong("inconsistent: size_leaf_vector")
    if vectors:
        if leaf_sizes != {groups}:
            _wrong(f"inconsistent: size_leaf_vector is {max(leaf_sizes)}, outputs are {groups}")
        groups = 1  # each tree has all outputs
    if np.min(info) < 0 or np.max(info) >= groups or len(np.unique(info)) != groups:
        _wrong(f"inconsistent: tree_info does not name each of {groups} outputs and no other")
    nodes = _Nodes(trees, sizes)
    nodes.check_links()
    nodes.check_splits(features)
    if vectors:
        nodes.check_vector_leaves(trees, groups=max(leaf_sizes))
    return int(np.sum(sizes))


def _check_lengths(trees: Sequence[Any], sizes: Ints) -> None:
    expected = sizes.tolist()
    for key in (*_OF_NODE, *_OF_NODE_TOO):
        missing = key not in trees[0] and key not in _OF_NODE
        for tree, size in () if missing else zip(trees, expected, strict=True):
            if len(tree[key]) != size and not (key == "base_weights" and len(tree[key]) > size):
                _wrong(f"inconsistent: {key} has {len(tree[key])} entries for {size} nodes")


class _Nodes:
    """The nodes of all trees in one row, a tree after the other."""

    def __init__(self, trees: Sequence[Any], sizes: Ints) -> None:
        self._trees = trees
        self._sizes = sizes
        self._roots = np.cumsum(sizes) - sizes
        self._tree_of_node = np.repeat(np.arange(len(sizes)), sizes)
        self._left, self._right, self._parents, self._features = (
            _ints([tree[key] for tree in trees]) for key in _OF_NODE[:4]
        )
        self._inner = self._left != -1

    def check_links(self) -> None:
        """Children are in their tree, parents agree, and no way leads back: each a tree indeed."""
        inner = np.flatnonzero(self._inner)
        trees = self._tree_of_node[inner]
        roots, sizes = self._roots[trees], self._sizes[trees]
        ways = np.concatenate((self._left[inner], self._right[inner]))
        both = np.concatenate((roots, roots))
        if np.any((ways < 0) | (ways >= np.concatenate((sizes, sizes)))):
            _wrong("a child is out of range")
        children = ways + both
        parents = np.concatenate((inner, inner))
        ways_to = np.bincount(children, minlength=len(self._left))
        if np.any(ways_to > 1) or np.any(ways_to[self._roots]):
            _wrong("a cycle or a node of two parents: two ways lead to one node")
        if np.any(self._parents[children] + both != parents):
            _wrong("inconsistent: a child has another parent")
        of_roots = self._parents[self._roots]
        if np.any((of_roots != _NO_PARENT[0]) & (of_roots != _NO_PARENT[1])):
            _wrong("inconsistent: a first node that has a parent")
        self._check_cycles(inner)

    def _check_cycles(self, inner: Ints) -> None:
        """All splits are found from the first nodes; those of a cycle apart would not be."""
        found, level = 0, self._roots
        start = self._roots[self._tree_of_node]
        while len(level):
            level = level[self._inner[level]]
            found += len(level)
            first = start[level]
            level = np.concatenate((self._left[level] + first, self._right[level] + first))
        if found != len(inner):
            _wrong("a cycle among its nodes")

    def check_splits(self, features: int) -> None:
        """Splits are of features that there are, at numbers; categories are where they should."""
        conditions = _floats([tree["split_conditions"] for tree in self._trees])
        categorical = np.zeros(len(self._inner), dtype=bool)
        if "split_type" in self._trees[0]:
            kinds = _ints([tree["split_type"] for tree in self._trees])
            if np.any((kinds < 0) | (kinds > 1)):
                _wrong("a split of a kind that there is not")
            categorical = kinds == 1
        used = self._features[self._inner]
        if np.any((used < 0) | (used >= features)):
            _wrong(f"inconsistent: a split of a feature that is out of range: there are {features}")
        numbers = conditions[self._inner & ~categorical]
        if not np.all(np.abs(numbers) <= _FLOAT32):
            _wrong("inconsistent: a threshold that is not a finite number")
        if np.any(categorical) or "categories" in self._trees[0]:
            self._check_categories(categorical)

    def _check_categories(self, categorical: NDArray[np.bool_]) -> None:
        listed = 0
        for number, tree in enumerate(self._trees):
            nodes = tree["categories_nodes"]
            if not len(nodes):
                if len(tree["categories"]):
                    _wrong("inconsistent: categories of no node")
                continue
            at, starts, counts = (_ints([tree[key]]) for key in _OF_CATEGORIES)
            values = _ints([tree["categories"]])
            first, size = self._roots[number], self._sizes[number]
            if not len(at) == len(starts) == len(counts):
                _wrong("inconsistent: categories of other nodes")
            if np.min(at) < 0 or np.max(at) >= size or np.any(np.diff(at) <= 0):
                _wrong("inconsistent: categories of a node that is out of range")
            if np.any((starts < 0) | (counts < 0) | (starts + counts > len(values))):
                _wrong("inconsistent: categories that are out of range")
            if len(values) and (np.min(values) < 0 or np.max(values) > 2**24):
                _wrong("inconsistent: a category that is out of range")
            if not np.all(categorical[at + first]):  # perhaps a leaf, where a split was pruned
                _wrong("inconsistent: categories of a node that has none")
            listed += len(at)
        if listed != np.count_nonzero(categorical):
            _wrong("inconsistent: a split of categories that are not listed")

    def check_vector_leaves(self, trees: Sequence[Any], groups: int) -> None:
        """A leaf of several numbers says, as its right child, which of the leaves it is."""
        for tree, first, size in zip(trees, self._roots, self._sizes, strict=True):
            here = slice(first, first + size)
            leaves = self._right[here][~self._inner[here]]
            if len(tree["leaf_weights"]) != groups * len(leaves):
                _wrong("inconsistent: leaf_weights")
            if not np.array_equal(np.sort(leaves), np.arange(len(leaves))):
                _wrong("inconsistent: a leaf that is out of range")


def _ints(parts: Sequence[Any]) -> Ints:
    """Integers of all parts in one array; ValueError for what are none."""
    array = _joined(parts)
    if array.dtype.kind not in "iub":
        _wrong("a number that should be whole")
    return array.astype(np.int64).reshape(-1)


def _floats(parts: Sequence[Any]) -> Floats:
    return _joined(parts).astype(np.float64)


def _joined(parts: Sequence[Any]) -> NDArray[Any]:
    arrays = [part for part in parts if len(part)]
    if not arrays:
        return np.empty(0, dtype=np.int64)
    if all(isinstance(part, np.ndarray) for part in arrays):
        return np.concatenate(arrays)
    return np.array(list(itertools.chain.from_iterable(arrays)))
