"""Pickled models: a Booster or a scikit-learn wrapper, by pickle or joblib, read as mere data.

Nothing in a file is executed or imported. It may name what is listed here and nothing else, and
even that is never called: what comes out are the booster's bytes and plain values.
"""

import json
import math
import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from handler.formats import FormatError, packed
from handler.formats import pickle_arrays as arrays
from handler.formats.pickle_arrays import Label
from handler.formats.pickle_machine import Made, Named, damaged, load, steps

BOOSTER = "xgboost.core.Booster"
WRAPPERS = frozenset(
    f"xgboost.sklearn.{name}"
    for name in (
        *("XGBModel", "XGBClassifier", "XGBRegressor", "XGBRanker"),
        *("XGBRFClassifier", "XGBRFRegressor"),
    )
)
# What picklers write around a model, and what a wrapper may have among its parameters.
_NAMES = WRAPPERS | {
    BOOSTER,
    *(arrays.WRAPPER, arrays.DTYPE, arrays.SCALAR, arrays.RECONSTRUCT, arrays.FROM_BUFFER),
    *("numpy.ndarray", "collections.OrderedDict", "collections.defaultdict"),
    *("copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__", "_codecs.encode"),
    *(f"builtins.{name}" for name in ("bytearray", "bytes", "dict", "frozenset", "list")),
    *("builtins.object", "builtins.set"),
    *("xgboost.compat.XGBoostLabelEncoder", "sklearn.preprocessing._label.LabelEncoder"),
    *(
        f"xgboost.callback.{name}"
        for name in ("EarlyStopping", "EvaluationMonitor", "LearningRateScheduler")
    ),
    *(
        f"numpy.random.{name}"
        for name in (
            *("_pickle.__randomstate_ctor", "_pickle.__generator_ctor"),
            *("_pickle.__bit_generator_ctor", "_mt19937.MT19937", "_pcg64.PCG64"),
            *("__RandomState_ctor", "bit_generator.SeedSequence"),
            "bit_generator.__pyx_unpickle_SeedSequence",
        )
    ),
}
# Where the same was at another time.
_MOVED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "sklearn.preprocessing.label": "sklearn.preprocessing._label",
    "sklearn.externals.joblib.numpy_pickle": "joblib.numpy_pickle",
}
_SPOKEN = {"posix": "os", "nt": "os"}  # modules as who wrote the code knows them
_HEAD = re.compile(rb"\x80[\0-\x05]|c[\w.]+\n[\w.]+\n")
_NAME_LETTERS = 80  # of a name in an error at most
_MOST_ROUNDS = 2**31 - 1  # XGBoost's own limit
_JSON_ATTRIBUTES = re.compile(rb'"attributes"\s*:\s*(?=\{)')
_UBJ_ATTRIBUTES = b"L" + (10).to_bytes(8, "big") + b"attributes{"
_BEST = "best_iteration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickled:
    """What a pickle says of its model.

    Attributes:
        handle: the booster's bytes as they are in the pickle: a bare legacy binary (0.90), one
            after ``CONFIG-offset:`` (1.0 to 1.2), ``{"Config", "Model"}`` in JSON (1.3 to 1.5) or
            UBJ (since).
        wrapper: the wrapper's class, such as ``XGBClassifier``; empty for a plain Booster.
        best_iteration: the last round that the wrapper predicts with, counted from 0; None for
            all, as always with a plain Booster. XGBoost 1.5 to 1.7 wrote the last of all rounds
            where nothing had stopped early.
        missing: the number that the wrapper takes for a missing value, or NaN.
        labels: what the wrapper calls the classes; empty where they are 0, 1, 2 ….
        names: of the features, where the state has them (up to 1.3) and not the handle.
        types: of the features, likewise.
    """

    handle: bytes
    wrapper: str = ""
    best_iteration: int | None = None
    missing: float = math.nan
    labels: tuple[Label, ...] = ()
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


def is_pickle(data: bytes) -> bool:
    """Whether ``data`` begins as a pickled model or a compressed joblib file does.

    A legacy binary without magic may begin so too; ask for its structure first.
    """
    return _HEAD.match(data) is not None or packed.is_packed(data)


def read(data: bytes) -> Pickled:
    """Take the model out of a file that pickle or joblib wrote, compressed or not.

    Time and memory are bounded by the bytes of the file (compressed: of what it unpacks to, which
    ``packed`` bounds) and by a number of steps.

    Raises:
        FormatError: it is damaged, holds something else than a fitted model, or names anything
            that such a file has no need to.
    """
    try:
        unpacked = packed.unpack(data)
        if unpacked is not data and not _HEAD.match(unpacked):
            raise FormatError(
                f"a {packed.kind(data)} archive, and what it holds is no pickled model; unpack it "
                "into the model directory"
            )
        return _read(unpacked)
    except MemoryError:
        raise FormatError(
            "a pickle that takes more memory than there is; save the booster with save_model"
        ) from None
    except FormatError:
        raise
    except Exception:  # the bytes are a stranger's: whatever they lead to is their damage
        raise damaged("it makes no sense") from None


def _read(data: bytes) -> Pickled:
    if not _HEAD.match(data):
        raise _other("it does not begin as one")
    stream = BytesIO(data)
    left = steps()

    def built(made: Made) -> None:
        if made.name == arrays.WRAPPER:
            arrays.read_wrapped(made, stream, lambda: load(stream, _find, _ignore, left))

    top = load(stream, _find, built, left)
    if stream.tell() != len(data):
        raise damaged(f"{len(data) - stream.tell()} bytes follow its end")
    if isinstance(top, Made) and top.name == BOOSTER:
        return _pickled(_state(top))
    if isinstance(top, Made) and top.name in WRAPPERS:
        return _wrapped(top.name.rpartition(".")[2], _state(top))
    raise _other(f"it holds an object of type {_kind(top)}")


def _find(module: str, name: str) -> Named:
    module = _MOVED.get(module, module)
    found = f"{module}.{name}"
    if found not in _NAMES:
        raise _other(f"it names {_shown(f'{_SPOKEN.get(module, module)}.{name}')}")
    return Named(found)


def _ignore(_made: Made) -> None:
    """Objects in a pickle within a joblib file are not joblib's."""


def _pickled(state: Made) -> Pickled:
    handle = state.get("handle")
    content = b"" if handle is None else arrays.octets(handle)
    if not content:
        raise FormatError("a pickled Booster that holds no model; train it first")
    return Pickled(
        handle=content,
        names=_texts(state.get("feature_names")),
        types=_texts(state.get("feature_types")),
    )


def _wrapped(wrapper: str, state: Made) -> Pickled:
    booster = state.get("_Booster")
    if booster is None:
        raise FormatError(f"a pickled {wrapper} that was never fitted; fit it first")
    if not isinstance(booster, Made) or booster.name != BOOSTER:
        raise damaged(f"the {wrapper} in it has no Booster")
    plain = _pickled(_state(booster))
    return Pickled(
        handle=plain.handle,
        wrapper=wrapper,
        best_iteration=_best_iteration(state, plain.handle),
        missing=_missing(state.get("missing")),
        labels=_labels(state),
        names=plain.names,
        types=plain.types,
    )


def _best_iteration(wrapper: Made, handle: bytes) -> int | None:
    """In the wrapper up to 1.3, where the Booster's own is no matter; since, in the handle."""
    best = arrays.number(wrapper.get(_BEST))
    if best is not None:
        return _round(best)
    limit = arrays.number(wrapper.get("best_ntree_limit"))
    if limit and wrapper.get("num_parallel_tree") in (None, 1):
        return _round(limit - 1)
    text = _attribute(handle)
    return None if text is None else _round(int(text) if text.isdecimal() else text)


def _round(value: Any) -> int:
    if isinstance(value, int) and 0 <= value < _MOST_ROUNDS:
        return int(value)
    raise damaged("its best iteration is no round")


def _attribute(handle: bytes) -> str | None:
    """The booster's own ``best_iteration``, from the one object of the handle that has it."""
    if handle.startswith(b"{L"):
        start = handle.find(_UBJ_ATTRIBUTES)
        at = start + len(_UBJ_ATTRIBUTES)
        while start >= 0 and handle[at : at + 1] == b"L":
            key, at = _counted(handle, at)
            value, at = _counted(handle, at + 1)
            if key == _BEST.encode():
                return value.decode()
    elif handle.startswith(b"{"):
        found = _JSON_ATTRIBUTES.search(handle)
        if found:
            attributes, _ = json.JSONDecoder().raw_decode(handle[found.end() :].decode())
            value = attributes.get(_BEST)
            return value if isinstance(value, str) else None
    return None


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """The text whose length is at ``at``, and the place after it."""
    start = at + 9
    size = int.from_bytes(data[at + 1 : start], "big")
    return data[start : start + size], start + size


def _missing(value: Any) -> float:
    value = arrays.number(value)
    if value is None:
        return math.nan
    if isinstance(value, int | float):
        return float(value)
    raise damaged("its missing value is no number")


def _labels(state: Made) -> tuple[Label, ...]:
    classes = state.get("classes_")
    encoder = state.get("_le")
    if classes is None and isinstance(encoder, Made):
        classes = _state(encoder).get("classes_")
    return () if classes is None else arrays.labels(classes)


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        arrays.check_bulk(value)
        if all(map(arrays.is_text, value)):
            return tuple(value)
    raise damaged("its features' names or types are no texts")


def _state(made: Made) -> Made:
    if not isinstance(made.state, Made):
        raise damaged(f"the {made.name.rpartition('.')[2]} in it has no state")
    return made.state


def _kind(value: Any) -> str:
    if isinstance(value, Named):
        return "type"
    if not isinstance(value, Made):
        return type(value).__name__
    if value.name in (arrays.RECONSTRUCT, arrays.FROM_BUFFER):
        return "numpy.ndarray"
    return value.name.removeprefix("builtins.")


def _shown(name: str) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in name[:_NAME_LETTERS])
    return name.encode("ascii", "replace").decode()


def _other(why: str) -> FormatError:
    return FormatError(f"not a pickled XGBoost model: {why}; save the booster with save_model")
