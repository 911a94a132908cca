"""XGBoost's old binary format, which ``save_model`` wrote up to 3.0 and no release since reads.

Source: ``LearnerIO::Load``, ``GBTreeModel::Load`` and ``RegTree::Load`` of XGBoost 0.90 to 3.0, and
what these wrote. The file is C structures as they were in memory, little endian, one after another.
Every length in it is checked against what is left of the file before anything is made of it.
"""

import json
import math
import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.formats import FormatError

MAGIC = b"binf"  # since 1.1; before, the file begins with its base score
OLDEST = (0, 90, 0)  # stands for all releases before 1.0, which note none
# 1.3.0 took the base score of binary:logitraw for a probability, 1.3.1 and later for a margin; the
# file does not say which it was. Two weeks came between them, so it is hardly ever the first.
_VERSION_OF = {(0, 0): OLDEST, (1, 3): (1, 3, 1)}

Version = tuple[int, int, int]

# base_score, num_feature, num_class, has_attributes, has_metrics, major, minor, num_target.
_HEADER, _HEADER_BYTES = struct.Struct("<fIiiiIII"), 136
_TREES, _TREES_BYTES = struct.Struct("<ii"), 160  # num_trees, num_parallel_tree
_TREE, _TREE_BYTES = struct.Struct("<4x2i4x2i"), 148  # nodes, deleted; features, leaf size
_LINEAR_BYTES = 136
_COUNT = struct.Struct("<Q")
_NODE = np.dtype(
    [("parent", "<u4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("value", "<f4")]
)
_STAT = np.dtype([("gain", "<f4"), ("hessian", "<f4"), ("weight", "<f4"), ("leaves", "<i4")])
_INT, _FLOAT = np.dtype("<i4"), np.dtype("<f4")
_TOP_BIT = 2**31  # of a parent: this is its left child; of a split: missing values go left
_NAME = re.compile(r"[\w:]{1,64}", re.ASCII)  # of an objective
_BOOSTERS = ("gbtree", "dart", "gblinear")
_MOST_FEATURES = 2**24
_VERSIONS = 100  # no part of a version is as much; a file of anything else has other numbers there

# Releases before 1.0 store the base score as a margin; all since store what it is predicted as.
_LOGISTIC = ("binary:logistic", "reg:logistic")
_LOG_LINK = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox")
# What an objective needs beside its name. Releases before 1.0 do not note it, and it does not
# matter for predictions, but XGBoost insists.
_PARAMETERS = {
    "count:poisson": ("poisson_regression_param", {"max_delta_step": "0.7"}),
    "reg:tweedie": ("tweedie_regression_param", {"tweedie_variance_power": "1.5"}),
}
_SOFTMAX = ("multi:softmax", "multi:softprob")
_MOST_MARGIN = 88.0  # whose exponential is a float32


def looks(data: bytes) -> bool:
    """Whether it begins as such a file does: a header that makes sense, names of two parts."""
    if data.startswith(MAGIC):
        return True
    try:
        reader = _Reader(data)
        header = reader.header()
        name, booster = reader.text(), reader.text()
    except FormatError:
        return False
    return header.sensible() and bool(_NAME.fullmatch(name)) and booster in _BOOSTERS


def read(data: bytes) -> dict[str, Any]:
    """Read a whole file.

    Returns:
        The document that XGBoost's JSON of the same model is, arrays of numbers as numpy arrays.
        ``version`` is its writer's, as far as the file has it: the last figure is 0 (in 1.3 it is
        1), and ``OLDEST`` stands for what was before 1.0. So the base score is what that release
        means.

    Raises:
        FormatError: it is damaged.
    """
    reader = _Reader(data)
    header = reader.header()
    objective, booster = reader.text(), reader.text()
    if not header.sensible() or not _NAME.fullmatch(objective):
        raise _damaged("its header makes no sense")
    gradient_booster = _gradient_booster(reader, booster)
    attributes = dict(reader.pairs()) if header.has_attributes else {}
    if header.version < (1, 0, 0):
        if objective == "count:poisson":
            reader.text()  # its max_delta_step, beside the attribute of that
        if header.has_metrics:
            reader.texts()
    reader.end()
    return {
        "learner": {
            "attributes": attributes,
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": gradient_booster,
            "learner_model_param": {
                "base_score": repr(_base_score(header, objective)),
                "num_class": str(header.classes),
                "num_feature": str(header.features),
                "num_target": str(max(1, header.targets)),
            },
            "objective": _objective(header, objective, attributes),
        },
        "version": list(header.version),
    }


def _damaged(why: str) -> FormatError:
    return FormatError(f"damaged: {why}; upload it again, or save it again with who wrote it")


class _Header:
    """What the file begins with."""

    def __init__(self, data: bytes, at: int) -> None:
        (
            self.base_score,
            self.features,
            self.classes,
            self.has_attributes,
            self.has_metrics,
            major,
            minor,
            self.targets,
        ) = _HEADER.unpack_from(data, at)
        self.version: Version = _VERSION_OF.get((major, minor), (major, minor, 0))

    def sensible(self) -> bool:
        """Whether its numbers are in the ranges that XGBoost could have written."""
        return (
            math.isfinite(self.base_score)
            and 0 < self.features <= _MOST_FEATURES
            and self.classes >= 0
            and self.has_attributes in (0, 1)
            and self.has_metrics in (0, 1)
            and max(self.version) < _VERSIONS
        )


class _Reader:
    """A place in the file, and what can be taken from there on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = len(MAGIC) if data.startswith(MAGIC) else 0

    def header(self) -> _Header:
        """The first structure."""
        return _Header(self._data, self._skip(_HEADER_BYTES))

    def structure(self, form: struct.Struct, size: int) -> tuple[int, ...]:
        """The first numbers of a structure of so many bytes."""
        return form.unpack_from(self._data, self._skip(size))

    def array(self, dtype: "np.dtype[Any]", count: int) -> NDArray[Any]:
        """So many items, over the file's bytes."""
        if count < 0:
            raise _damaged(f"{count} where a number of things should be")
        at = self._skip(count * dtype.itemsize)
        return np.frombuffer(self._data, dtype, count, at) if count else np.empty(0, dtype)

    def counted(self, dtype: "np.dtype[Any]") -> NDArray[Any]:
        """An array that begins with its number of items."""
        return self.array(dtype, self._count())

    def text(self, errors: str = "strict") -> str:
        """A text that begins with its number of bytes."""
        size = self._count()
        at = self._skip(size)
        try:
            return self._data[at : at + size].decode("utf-8", errors)
        except UnicodeDecodeError:
            raise _damaged("a text in it is not UTF-8") from None

    def texts(self) -> list[str]:
        """Texts that begin with their number. That costs nothing until there is a text for it."""
        return [self.text() for _ in range(self._count())]

    def pairs(self) -> list[tuple[str, str]]:
        """Keys and values that begin with their number; values can be in any encoding."""
        return [(self.text(), self.text("replace")) for _ in range(self._count())]

    def end(self) -> None:
        """Nothing may follow."""
        if left := len(self._data) - self._at:
            raise _damaged(f"{left} bytes follow its end")

    def _count(self) -> int:
        return int(_COUNT.unpack_from(self._data, self._skip(_COUNT.size))[0])

    def _skip(self, size: int) -> int:
        """Where the next so many bytes begin, which must be there."""
        at = self._at
        if size > len(self._data) - at:
            raise _damaged("it ends early")
        self._at += size
        return at


def _gradient_booster(reader: _Reader, name: str) -> dict[str, Any]:
    if name == "gblinear":
        reader.structure(_COUNT, _LINEAR_BYTES)  # features and outputs again
        return {"model": {"weights": reader.counted(_FLOAT)}, "name": name}
    if name not in _BOOSTERS:
        raise _damaged("its booster is none of XGBoost's")
    model = _trees(reader)
    trees = {"model": model, "name": "gbtree"}
    if name == "gbtree":
        return trees
    weights = reader.counted(_FLOAT) if model["trees"] else reader.array(_FLOAT, 0)
    # XGBoost takes these as a list alone.
    return {"gbtree": trees, "name": name, "weight_drop": weights.astype(float).tolist()}


def _trees(reader: _Reader) -> dict[str, Any]:
    count, parallel = reader.structure(_TREES, _TREES_BYTES)
    if count < 0:
        raise _damaged(f"{count} trees")
    trees = [_tree(reader, number) for number in range(count)]
    return {
        "gbtree_model_param": {
            "num_parallel_tree": str(max(1, parallel)),
            "num_trees": str(count),
        },
        "tree_info": reader.array(_INT, count).tolist(),
        "trees": trees,
    }


def _tree(reader: _Reader, number: int) -> dict[str, Any]:
    size, deleted, features, leaf_size = reader.structure(_TREE, _TREE_BYTES)
    if size < 1:
        raise _damaged("a tree without nodes")
    nodes, stats = reader.array(_NODE, size), reader.array(_STAT, size)
    if leaf_size > 1:
        raise _damaged(f"leaves of {leaf_size} numbers, which no release wrote so")
    splits = nodes["split"]
    return {
        "base_weights": stats["weight"],
        "default_left": (splits >= _TOP_BIT).astype(np.uint8),
        "id": number,
        "left_children": nodes["left"],
        "loss_changes": stats["gain"],
        "parents": (nodes["parent"] & (_TOP_BIT - 1)).astype(np.int32),
        "right_children": nodes["right"],
        "split_conditions": nodes["value"],
        "split_indices": (splits & (_TOP_BIT - 1)).astype(np.int32),
        "sum_hessian": stats["hessian"],
        "tree_param": {
            "num_deleted": str(deleted),
            "num_feature": str(features),
            "num_nodes": str(size),
            "size_leaf_vector": str(leaf_size),
        },
    }


def _objective(header: _Header, name: str, attributes: dict[str, str]) -> dict[str, Any]:
    """The objective with its parameters; what is among the attributes only here is taken out."""
    for key in list(attributes):
        if key in ("metrics", "count_poisson_max_delta_step") or key.startswith("SAVED_PARAM_"):
            del attributes[key]
    if header.version < (1, 0, 0):
        parameters = dict([_PARAMETERS[name]]) if name in _PARAMETERS else {}
        if name in _SOFTMAX:
            parameters = {"softmax_multiclass_param": {"num_class": str(header.classes)}}
        return {"name": name, **parameters}
    try:
        found = json.loads(attributes.pop("objective", "{}"))
    except (ValueError, RecursionError):
        raise _damaged("its objective is not JSON") from None
    if not isinstance(found, dict) or not all(map(_is_parameter, found.values())):
        raise _damaged("its objective is not as XGBoost writes it")
    return found | {"name": name}


def _is_parameter(value: Any) -> bool:
    """Whether it is a text, or texts by their names."""
    texts = value.values() if isinstance(value, dict) else [value]
    return all(isinstance(text, str) for text in texts)


def _base_score(header: _Header, objective: str) -> float:
    score: float = header.base_score
    if header.version >= (1, 0, 0):
        return score
    if objective in _LOGISTIC:
        return 1 / (1 + math.exp(min(-score, _MOST_MARGIN)))
    if objective in _LOG_LINK:
        if score > _MOST_MARGIN:
            raise _damaged(f"a base score of exp({score})")
        return math.exp(score)
    return score
