"""Pickles and joblib files: a model's bytes and plain values, of all releases and protocols.

``corpus/artifacts`` has what XGBoost's releases wrote. ``corpus/pickles`` has what Python 2.7 wrote
of classes with the same names and states, around a booster of 0.90.
"""

import bz2
import collections
import ctypes
import gzip
import json
import lzma
import math
import pickle
import struct
import sys
import types
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import xgboost
from xgboost.sklearn import XGBClassifier, XGBModel, XGBRanker, XGBRegressor, XGBRFRegressor

from handler.formats import FormatError
from handler.formats.pickles import Pickled, is_pickle, read

CORPUS = Path(__file__).parent.parent.parent / "corpus"
ARTIFACTS = CORPUS / "artifacts"
MANIFEST = json.loads((ARTIFACTS / "manifest.json").read_text())
FILES = {
    entry["file"]: entry
    for entry in MANIFEST["artifacts"]
    if entry["format"] in ("pickle", "joblib")
}
SMALL = (ARTIFACTS / "0.90" / "gblin.pkl").read_bytes()
WRAPPED = (ARTIFACTS / "1.7.6" / "w_early.pkl").read_bytes()
NAMES = ('it\'s "f0"', *(f"f{column}" for column in range(1, 8)))


def version(entry: dict[str, Any]) -> tuple[int, ...]:
    """Of the XGBoost that wrote a file."""
    return tuple(map(int, entry["writer"].split(".")))


def head(writer: tuple[int, ...], features: int) -> bytes:
    """What a release's handle begins with, after the base score of a bare binary."""
    if writer < (1, 0):
        return struct.pack("<I", features)
    if writer < (1, 3):
        return b"CONFIG-offset:"
    return b'{"Config":{' if writer < (1, 6) else b"{L\0\0\0\0\0\0\0\x06Config{L"


def wrapper_of(case: str) -> str:
    """The class that wrote a case."""
    named = {"w_reg": "XGBRegressor", "w_miss": "XGBRegressor", "w_rank": "XGBRanker"}
    return {**named, "w_rf": "XGBRFClassifier"}.get(case, "XGBClassifier")


def known(found: Pickled) -> dict[str, Any]:
    """What a pickle said beside the defaults."""
    return {
        name: value
        for name, value in asdict(found).items()
        if value not in ("", None, ()) and value == value
    }


# What releases wrote


@pytest.mark.parametrize("name", FILES)
def test_files_of_all_releases(name: str) -> None:
    """Each file gives a booster as its release packs one, and what its wrapper adds."""
    data = (ARTIFACTS / name).read_bytes()
    entry = FILES[name]
    case, writer, features = entry["case"], version(entry), entry["num_feature"]
    assert is_pickle(data)
    found = read(data)
    assert found.handle.startswith(head(writer, features), 4 if writer < (1, 0) else 0)
    assert found.wrapper == (wrapper_of(case) if entry["rule"].startswith("wrapper") else "")
    if case == "w_miss":
        assert found.missing == -999.0
    else:
        assert math.isnan(found.missing)
    labelled = found.wrapper.endswith("Classifier") and writer < (2, 0)
    assert found.labels == (tuple(range(3 if "multi" in case else 2)) if labelled else ())
    assert all(type(label) is int for label in found.labels)
    letters = "col_" if case == "names" else "f"
    names = tuple(f"{letters}{column}" for column in range(features))
    assert found.names == (names if writer < (1, 4) else ())
    types = ("float",) * 7 + ("int",) if case == "names" else ()
    assert found.types == types
    if case.startswith("w_early"):
        assert found.best_iteration is not None
        assert found.best_iteration < 15  # of at least twenty rounds
    elif not found.wrapper or writer < (1, 4) or writer >= (2, 0):
        assert found.best_iteration is None


@pytest.mark.filterwarnings("ignore::UserWarning")  # XGBoost's, of the age of models
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, entry in FILES.items()
        # The others take conversion: XGBoost refuses older ones, and vector leaves crash it.
        if version(entry) >= (1, 3) and not entry["case"].startswith("vecleaf")
    ],
)
def test_rounds_and_missing_are_the_writers(name: str) -> None:
    """The handle, asked for these rounds with this missing value, predicts as the writer did."""
    entry = FILES[name]
    promise = entry["promise"].get(xgboost.__version__, "refuse: of no known runtime")
    if promise.startswith("refuse"):
        pytest.skip(promise)
    found = read((ARTIFACTS / name).read_bytes())
    booster = unserialized(found.handle)
    rows = np.array(MANIFEST["rows"][entry["rows"]], np.float32)
    if not math.isnan(found.missing):
        rows = np.where(np.isnan(rows), np.float32(found.missing), rows)
    matrix = xgboost.DMatrix(
        rows,
        missing=found.missing,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
    )
    rounds = 0 if found.best_iteration is None else found.best_iteration + 1
    predicted = booster.predict(matrix, iteration_range=(0, rounds))
    expected = np.array(entry["expected"], np.float32)
    tolerance = 0.0 if promise == "bits" else float(promise)
    np.testing.assert_allclose(predicted, expected, rtol=tolerance, atol=0)


def unserialized(handle: bytes) -> xgboost.Booster:
    """A Booster of a handle, without its ``__setstate__``."""
    booster = xgboost.Booster()
    if handle.startswith(b'{"'):
        model = json.loads(handle)["Model"]
        booster.load_model(bytearray(json.dumps(model).encode()))
        return booster
    status = xgboost.core._LIB.XGBoosterUnserializeFromBuffer(
        booster.handle, ctypes.c_char_p(handle), ctypes.c_uint64(len(handle))
    )
    assert status == 0
    return booster


@pytest.mark.parametrize("protocol", range(3))
def test_python_2(protocol: int) -> None:
    """Python 2 writes texts as bytes, bytes as texts, and modules under other names."""
    found = read((CORPUS / "pickles" / f"booster.python2.protocol{protocol}.pkl").read_bytes())
    assert known(found) == {"handle": read(SMALL).handle, "names": NAMES}


def test_wrapper_of_python_2() -> None:
    """A wrapper's own values are in its state, whatever wrote it."""
    found = read((CORPUS / "pickles" / "wrapper.python2.protocol0.pkl").read_bytes())
    assert known(found) == {
        "handle": read(SMALL).handle,
        "wrapper": "XGBRegressor",
        "best_iteration": 4,
        "missing": -999.0,
        "names": NAMES,
    }


# What today's picklers write


@pytest.fixture(scope="module")
def booster() -> xgboost.Booster:
    """A model of today's XGBoost."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    return xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0]), 3)


def wrapper(kind: type[Any] = XGBClassifier, **state: Any) -> Any:
    """A wrapper with a state; it can be made in no other way without scikit-learn."""
    made = object.__new__(kind)
    made.__dict__.update(state)
    return made


def handle(booster: xgboost.Booster) -> bytes:
    """A booster's bytes as it pickles them."""
    return bytes(booster.__getstate__()["handle"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(booster: xgboost.Booster, protocol: int) -> None:
    """A Booster and a wrapper, with arrays and numbers of NumPy's, in each protocol."""
    assert known(read(pickle.dumps(booster, protocol))) == {"handle": handle(booster)}
    fitted = wrapper(
        _Booster=booster,
        classes_=np.array([2.5, 7.0], ">f4"),
        missing=np.float32(-1),
        best_iteration=np.int64(1),
        random_state=np.random.RandomState(0),
        seed=np.random.default_rng(0),
        callbacks=[xgboost.callback.EarlyStopping(rounds=3)],
        evals_result_=collections.defaultdict(dict, {"a": {1.0, 2.0}, "b": frozenset("c")}),
    )
    assert known(read(pickle.dumps(fitted, protocol))) == {
        "handle": handle(booster),
        "wrapper": "XGBClassifier",
        "best_iteration": 1,
        "missing": -1.0,
        "labels": (2.5, 7.0),
    }


@pytest.mark.parametrize("kind", [XGBModel, XGBRegressor, XGBRanker, XGBRFRegressor])
def test_every_wrapper(booster: xgboost.Booster, kind: type[Any]) -> None:
    """A wrapper is called by its class."""
    found = read(pickle.dumps(wrapper(kind, _Booster=booster, missing=None)))
    assert (found.wrapper, math.isnan(found.missing)) == (kind.__name__, True)


@pytest.mark.parametrize(
    ("state", "best"),
    [
        ({}, None),
        ({"best_iteration": 0}, 0),
        ({"best_ntree_limit": 2}, 1),
        ({"best_ntree_limit": 2, "best_iteration": 1}, 1),
        ({"best_ntree_limit": 20, "num_parallel_tree": 10}, None),  # it counts trees, not rounds
    ],
)
def test_best_iteration_of_old_wrappers(
    booster: xgboost.Booster, state: dict[str, int], best: int | None
) -> None:
    """The wrapper's own word counts; of trees only where a round has one."""
    assert read(pickle.dumps(wrapper(_Booster=booster, **state))).best_iteration == best


@pytest.mark.parametrize("model_format", ["ubj", "json"])
def test_best_iteration_of_the_handle(model_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attribute is found among others, and a feature of its name is none."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    names = ["best_iteration", "7", "attributes"]
    trained = xgboost.train({}, xgboost.DMatrix(rows, rows[:, 0], feature_names=names), 3)
    for best in (None, 2):
        trained.set_attr(aaa='{"attributes":{"best_iteration":"5"}}', zzz="S", best_iteration=best)
        saved = bytes(trained.save_raw(model_format))
        packed = {
            "ubj": b"{L\0\0\0\0\0\0\0\x06Config{}L\0\0\0\0\0\0\0\x05Model" + saved + b"}",
            "json": b'{"Config":{},"Model":' + saved + b"}",
        }
        state = {"handle": bytearray(packed[model_format])}
        monkeypatch.setattr(xgboost.Booster, "__getstate__", lambda _, state=state: state)
        assert read(pickle.dumps(wrapper(_Booster=trained))).best_iteration == best


# Labels


class Encoder:
    """Stands in for scikit-learn's encoder, and for the one that XGBoost had for a time."""

    def __init__(self, classes: Any) -> None:
        self.classes_ = classes
        self._sklearn_version = "0.22"


@pytest.fixture(
    params=["xgboost.compat", "sklearn.preprocessing._label", "sklearn.preprocessing.label"]
)
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Encoder]:
    """A label encoder of a module as it was at some time."""
    name = "XGBoostLabelEncoder" if request.param == "xgboost.compat" else "LabelEncoder"
    made = type(name, (Encoder,), {"__module__": request.param})
    parts = request.param.split(".")
    for count in range(1, len(parts) + 1):
        module = types.ModuleType(".".join(parts[:count]))
        if parts[0] == "sklearn":
            monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys.modules[request.param], name, made, raising=False)
    return made


CLASSES: list[tuple[Any, tuple[Any, ...]]] = [
    (np.array(["no", "y\u00e9s"]), ("no", "y\u00e9s")),
    (np.array(["no", "yes"], object), ("no", "yes")),
    (np.array([np.str_("a"), 2, 2.5, True, np.int8(-3)], object), ("a", 2, 2.5, True, -3)),
    (np.array([b"a", b"b"]), ("a", "b")),
    (np.array([False, True]), (False, True)),
    (np.array([-(2**63), 5]), (-(2**63), 5)),
    (np.array([2**64 - 1], np.uint64), (2**64 - 1,)),
    (np.array([1, 0], ">u2"), (1, 0)),
    (np.array([0.5], np.float16), (0.5,)),
    (np.array([1, 2, 3, 4])[::2], (1, 3)),
    (np.array([], np.int64), ()),
    (["a", 1], ("a", 1)),
]


@pytest.mark.parametrize(("classes", "labels"), CLASSES, ids=[str(one) for one, _ in CLASSES])
def test_labels(
    booster: xgboost.Booster, classes: Any, labels: tuple[Any, ...], tmp_path: Path
) -> None:
    """Classes of every type become Python's own values, out of a pickle and out of joblib."""
    fitted = wrapper(_Booster=booster, classes_=classes, missing=-1.0)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = read(pickle.dumps(fitted, protocol))
        assert found.labels == labels
        assert list(map(type, found.labels)) == list(map(type, labels))
        joblib.dump(fitted, tmp_path / "m", protocol=protocol)
        assert known(read((tmp_path / "m").read_bytes())) == known(found)


def test_labels_of_an_encoder(
    booster: xgboost.Booster, encoder: type[Encoder], tmp_path: Path
) -> None:
    """Where the wrapper has no classes of its own, its encoder's count."""
    fitted = wrapper(_Booster=booster, _le=encoder(np.array(["no", "yes"], object)))
    joblib.dump(fitted, tmp_path / "m")
    for data in (pickle.dumps(fitted), (tmp_path / "m").read_bytes()):
        assert read(data).labels == ("no", "yes")


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (np.array(["2020-01-01"], "M8[D]"), "no answer can show"),
        (np.array([1j]), "no answer can show"),
        (np.array([None]), r"no answer can show \(NoneType\)"),
        (np.array([2**70]), r"no answer can show \(int\)"),
        (np.array(["\ud800"]), r"no answer can show \(str\)"),
        (np.array([[1, 2]]), "are a table"),
        (np.array([(1, 2)], "i4,i4"), "no answer can show"),
        (7, "are no array"),
        ([[]], r"no answer can show \(list\)"),
    ],
    ids=str,
)
def test_labels_that_are_none(
    booster: xgboost.Booster, classes: Any, words: str, tmp_path: Path
) -> None:
    """A model whose classes cannot be said is refused: its index would be a wrong answer."""
    fitted = wrapper(_Booster=booster, classes_=classes)
    joblib.dump(fitted, tmp_path / "m")
    for data in (pickle.dumps(fitted), (tmp_path / "m").read_bytes()):
        with pytest.raises(FormatError, match=words):
            read(data)


# joblib


def test_arrays_anywhere_in_joblib(booster: xgboost.Booster, tmp_path: Path) -> None:
    """Arrays between the values of a wrapper are passed, whatever they are."""
    fitted = wrapper(
        before=np.arange(5000.0).reshape(50, 100, order="F"),
        random_state=np.random.RandomState(0),
        again=[np.array(["x"], object), np.array(7), np.zeros((0, 3)), np.array([1j])],
        _Booster=booster,
        dates=np.array(["2020-01-01"], "M8[D]"),
        classes_=np.array([3, 4]),
    )
    joblib.dump(fitted, tmp_path / "m")
    found = known(read((tmp_path / "m").read_bytes()))
    assert found == {"handle": handle(booster), "wrapper": "XGBClassifier", "labels": (3, 4)}


@pytest.mark.parametrize("method", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_compressed_joblib(booster: xgboost.Booster, method: Any, tmp_path: Path) -> None:
    """Each of joblib's compressions but lz4 is undone, at each level."""
    for level in (1, 6, 9):
        joblib.dump(booster, tmp_path / "m", compress=(method, level))
        data = (tmp_path / "m").read_bytes()
        assert is_pickle(data)
        assert known(read(data)) == {"handle": handle(booster)}
        for bad in (data[:-1], data[: len(data) // 2], data + b"x"):
            with pytest.raises(FormatError, match=rf"a {method} file that|damaged {method}"):
                read(bad)
        with pytest.raises(FormatError, match=method):
            read(data[:40] + bytes(20) + data[60:])


@pytest.mark.parametrize(
    ("compress", "words"),
    [
        (zlib.compress, "zlib file that unpacks to more than 16777216 bytes"),
        (gzip.compress, "gzip file that unpacks to more"),
        (bz2.compress, "bz2 file that unpacks to more"),
        (lzma.compress, "xz file that unpacks to more"),
    ],
)
def test_compressed_bombs(compress: Any, words: str) -> None:
    """What grows past the bound is refused when it gets there; what stays below is looked at."""
    with pytest.raises(FormatError, match=words):
        read(compress(bytes(17 * 1024**2)))
    with pytest.raises(FormatError, match="what it holds is no pickled model"):
        read(compress(bytes(16 * 1024**2)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x04\x22\x4d\x18" + bytes(40), "compressed with lz4"),
        (b"ZF0x10" + bytes(40), "joblib before 0.10"),
        (zlib.compress(zlib.compress(SMALL)), "what it holds is no pickled model"),
        # A dictionary of 4 GiB, in the head of the oldest format.
        (b"]\0\0" + b"\xff" * 2 + b"\xff" * 8 + bytes(40), "damaged lzma"),
    ],
)
def test_compressed_otherwise(data: bytes, words: str) -> None:
    """What is not undone is named."""
    with pytest.raises(FormatError, match=words):
        read(data)


# Pickles that are no model


class Tool:
    """Stands in for a class of scikit-learn."""


@pytest.mark.parametrize(
    "name", ["sklearn.pipeline.Pipeline", "lightgbm.sklearn.LGBMClassifier", "__main__.MyModel"]
)
def test_other_classes(
    name: str, booster: xgboost.Booster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickle of another class is refused by its name, even with a Booster in it."""
    module, _, short = name.rpartition(".")
    kind = type(short, (Tool,), {"__module__": module})
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        path = ".".join(parts[:count])
        made = types.ModuleType(path)
        monkeypatch.setitem(sys.modules, path, made)
    monkeypatch.setattr(sys.modules[module], short, kind, raising=False)
    pipeline = kind()
    pipeline.steps = [("model", booster)]  # type: ignore[attr-defined]  # it has no types
    with pytest.raises(FormatError) as refusal:
        read(pickle.dumps(pipeline))
    assert str(refusal.value) == (
        f"not a pickled XGBoost model: it names {name}; save the booster with save_model"
    )


def test_other_values(booster: xgboost.Booster) -> None:
    """A pickle of what is no model is refused, with a Booster in it or not."""
    for value, kind in (
        ({"model": booster}, "dict"),
        ([booster], "list"),
        ((booster,), "tuple"),
        (7, "int"),
        ("text", "str"),
        (None, "NoneType"),
        (np.arange(3), "numpy.ndarray"),
        (xgboost.Booster, "type"),
    ):
        with pytest.raises(FormatError) as refusal:
            read(pickle.dumps(value, 4))
        assert str(refusal.value) == (
            f"not a pickled XGBoost model: it holds an object of type {kind}; "
            "save the booster with save_model"
        )


@pytest.mark.parametrize("name", ["XGBClassifier", "XGBRegressor"])
def test_never_fitted(name: str) -> None:
    """A wrapper without a booster says what to do."""
    for state in ({}, {"_Booster": None}):
        with pytest.raises(FormatError) as refusal:
            read(pickle.dumps(wrapper(getattr(xgboost.sklearn, name), n_estimators=3, **state)))
        assert str(refusal.value) == f"a pickled {name} that was never fitted; fit it first"


def test_empty_booster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Booster may have been closed, or made without a library behind it."""
    for content in (None, bytearray()):
        monkeypatch.setattr(xgboost.Booster, "__getstate__", lambda _, it=content: {"handle": it})
        with pytest.raises(FormatError, match="holds no model; train it first"):
            read(pickle.dumps(xgboost.Booster()))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"missing": "none"}, "missing value is no number"),
        ({"best_iteration": -1}, "best iteration is no round"),
        ({"best_iteration": 2**40}, "best iteration is no round"),
        ({"best_iteration": [1]}, "best iteration is no round"),
        ({"_Booster": {}}, "the XGBClassifier in it has no Booster"),
    ],
)
def test_states_that_no_wrapper_has(
    booster: xgboost.Booster, state: dict[str, Any], words: str
) -> None:
    """A value of the wrong kind is damage."""
    with pytest.raises(FormatError, match=f"a damaged pickle: .*{words}"):
        read(pickle.dumps(wrapper(**{"_Booster": booster, **state})))


@pytest.mark.parametrize("names", ["f0", [1], ["\ud800"], [["f0"]]])
def test_names_that_are_none(names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of features are texts."""
    state = {"handle": bytearray(b"x"), "feature_names": names}
    monkeypatch.setattr(xgboost.Booster, "__getstate__", lambda _: state)
    with pytest.raises(FormatError, match="names or types are no texts"):
        read(pickle.dumps(xgboost.Booster()))
