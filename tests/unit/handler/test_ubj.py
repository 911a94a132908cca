"""UBJ: what XGBoost writes is read and written to the bit; whatever else is refused, soon."""

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.formats.ubj import MAX_DEPTH, UbjError, dumps, loads
from tests.support import FEATURES, saved, train
from tests.unit.handler import writing

CORPUS = Path(__file__).parent.parent.parent / "corpus" / "artifacts"
FILES = [path for path in sorted(CORPUS.glob("*/*")) if path.read_bytes().startswith(b"{L")]
SMALL = (CORPUS / "2.1.4" / "gblin.ubj").read_bytes()
TREES = (CORPUS / "3.2.0" / "early.model").read_bytes()


def attempt(data: bytes) -> Any:
    """Read what may be damaged; None if it is."""
    try:
        return loads(data)
    except UbjError as damage:
        words = str(damage)
    assert len(words) < 100
    assert "\n" not in words


@pytest.mark.parametrize("file", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_of_all_releases(file: Path) -> None:
    """What is read from a file of XGBoost's becomes the same bytes when it is written again."""
    data = file.read_bytes()
    assert dumps(loads(data)) == data


def comparable(value: Any) -> Any:
    """The same for both formats: numbers as 32-bit floats, NaN as a text, arrays as lists."""
    match value:
        case dict():
            return {key: comparable(item) for key, item in value.items()}
        case list() | np.ndarray():
            return [comparable(item) for item in value]
        case float() | int() | np.number():
            return str(np.float32(value))
    return value


@pytest.mark.filterwarnings("ignore:.*gblinear.*:UserWarning")
@pytest.mark.parametrize(
    "parameters",
    [
        {"booster": "gbtree"},
        {"booster": "gbtree", "objective": "multi:softprob", "num_class": 3},
        {"booster": "dart", "rate_drop": 0.3},
        {"booster": "gblinear"},
    ],
    ids=["gbtree", "classes", "dart", "gblinear"],
)
def test_both_formats(parameters: dict[str, Any]) -> None:
    """A model's UBJ and its JSON are read as the same document."""
    booster = train(verbosity=0, **parameters)
    assert comparable(loads(saved(booster))) == comparable(json.loads(saved(booster, "json")))


arrays = st.sampled_from(sorted(writing.MARKS, key=str)).flatmap(
    lambda dtype: st.binary(max_size=64).map(
        lambda data: np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
    )
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
)
keys = st.text(max_size=3)


def alike(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Lists of objects that are alike, as trees are, or nearly: a value of another type, a key."""
    return st.dictionaries(keys, st.sampled_from([arrays, scalars, items]), max_size=4).flatmap(
        lambda shape: st.lists(
            st.one_of(
                st.fixed_dictionaries(shape),
                st.fixed_dictionaries(dict(reversed(shape.items()))),
                st.fixed_dictionaries(dict.fromkeys(shape, items)),
                st.fixed_dictionaries({}, optional=shape),
                items,
            ),
            max_size=6,
        )
    )


documents = st.recursive(
    scalars | arrays,
    lambda items: (
        st.lists(items, max_size=4) | st.dictionaries(keys, items, max_size=4) | alike(items)
    ),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Whether two documents are the same, types, order of keys and bits of numbers among them."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return type(one) is type(other) and repr(one) == repr(other)


@settings(max_examples=200, deadline=None)
@given(documents)
def test_round_trip(document: Any) -> None:
    """Any document that is written is read as it was, and it is written in one way."""
    data = writing.ubj(document)
    assert same(loads(data), document)
    assert dumps(document) == data


@pytest.mark.parametrize("dtype", sorted(writing.MARKS, key=str))
def test_arrays_of_any_order(dtype: "np.dtype[Any]") -> None:
    """An array's bytes may be in any order, and it may be a view of every other item."""
    numbers = np.array([1, 2, 3, 4, 5, 6])
    for array in (numbers.astype(dtype), numbers.astype(dtype.newbyteorder("<"))):
        read = loads(dumps({"a": array[::2]}))["a"]
        assert read.dtype == dtype
        assert read.tolist() == [1, 3, 5]


@pytest.mark.parametrize(
    "document",
    [{1, 2}, b"bytes", 2**63, np.array(["a"]), np.ones(1, np.float16), {"a": [object()]}],
)
def test_what_ubj_has_not(document: Any) -> None:
    """What UBJ has no type for is a ``TypeError``."""
    with pytest.raises(TypeError, match="UBJ has no"):
        dumps(document)


def test_numbers_that_are_none() -> None:
    """Infinite numbers and NaN are written, too."""
    read = loads(dumps([np.inf, -np.inf, np.nan]))
    assert read[:2] == [np.inf, -np.inf]
    assert np.isnan(read[2])


def test_xgboost_reads_it() -> None:
    """A model that is read and written predicts the same bits."""
    booster = train(verbosity=0)
    document = loads(saved(booster))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["split_conditions"] = tree["split_conditions"].astype("<f4")
    other = xgboost.Booster()
    other.load_model(bytearray(dumps(document)))
    rows = xgboost.DMatrix(np.random.default_rng(1).normal(size=(20, FEATURES)))
    np.testing.assert_array_equal(other.predict(rows), booster.predict(rows))


def test_arrays_are_views() -> None:
    """An array of numbers takes no memory of its own, and cannot be written to."""
    data = writing.ubj({"a": np.arange(100, dtype=">i4")})
    array = loads(data)["a"]
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert not array.flags.writeable


@pytest.mark.parametrize("data", [SMALL, TREES], ids=["small", "trees"])
def test_cut(data: bytes) -> None:
    """Wherever a file is cut it ends early, and whatever follows it is too much."""
    for size in range(len(data)):
        with pytest.raises(UbjError, match="ends early"):
            loads(data[:size])
    with pytest.raises(UbjError, match="3 bytes follow its end"):
        loads(data + b"abc")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([SMALL, TREES]),
    st.lists(st.tuples(st.integers(0, len(TREES) - 1), st.binary(max_size=3)), min_size=1),
)
def test_changed_bytes(sound: bytes, changes: list[tuple[int, bytes]]) -> None:
    """Whatever bytes are changed, put in or left out, it is another document or an ``UbjError``."""
    data = bytearray(sound)
    for at, piece in changes:
        data[at % len(data) : at % len(data) + 1] = piece
    attempt(bytes(data))


def test_every_byte_changed() -> None:
    """No single byte can make a small file take long, or more memory than a few times its size."""
    slowest = 0.0
    tracemalloc.start()
    for at in range(len(SMALL)):
        for byte in (0, 0x7F, 0x80, 0xFF, SMALL[at] ^ 1, *b"[{SL#$dZ"):
            begun = time.perf_counter()
            attempt(SMALL[:at] + bytes([byte]) + SMALL[at + 1 :])
            slowest = max(slowest, time.perf_counter() - begun)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20
    assert slowest < 5


ONE, A = writing.ubj({"a": np.ones(1, ">f4")}), b"{" + writing.text("a")
LENGTHS = {
    "text": b"S%b",
    "key": b"{%b",
    "values": b"[#%b",
    "numbers": b"[$d#%b",
    "bytes": b"[$U#%b",
    "second key": A + b"Z%b",
    "third of three alike": b"[#" + writing.length(3) + ONE + ONE + A + b"[$d#%b",
}


@pytest.mark.parametrize("where", LENGTHS)
@pytest.mark.parametrize("number", [-(2**63), -1, 1000, 2**31, 2**40, 2**61, 2**62, 2**63 - 1])
def test_lengths(where: str, number: int) -> None:
    """A length below zero, or beyond the end, is found out before anything is made of it."""
    tracemalloc.start()
    with pytest.raises(UbjError, match=f"a length of {number} at byte"):
        loads(LENGTHS[where].replace(b"%b", writing.length(number)) + b"\0" * 500)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20


@pytest.mark.parametrize(
    ("begin", "end"), [(b"[", b"]"), (A, b"}"), (b"[#" + writing.length(1), b"")]
)
def test_nesting(begin: bytes, end: bytes) -> None:
    """What is nested as deep as may be is read, one deeper is refused, and so is any deeper."""
    loads(begin * MAX_DEPTH + b"Z" + end * MAX_DEPTH)
    for depth in (MAX_DEPTH + 1, 10**6):
        with pytest.raises(UbjError, match=f"nested deeper than {MAX_DEPTH}"):
            loads(begin * depth + b"Z" + end * depth)


def test_marks() -> None:
    """Each of the format's marks is read, any other byte is refused."""
    marks = {*b"ZTFCS[{", *b"".join(writing.MARKS.values())}
    for byte in range(256):
        if byte not in marks:
            with pytest.raises(UbjError, match="byte 0 is not the mark of a value"):
                loads(bytes([byte]) + b"\0" * 20)
    assert loads(b"Cx") == "x"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"S" + writing.length(2) + b"\xc3\x28", "not UTF-8"),
        (b"{" + writing.length(1) + b"\xffZ}", "not UTF-8"),
        (b"Si\x01a", "byte 1 does not begin a length"),
        (b"[$S#" + writing.length(0), "no known type"),
        (b"[$d" + writing.length(0), "no known type"),
        (b"", "ends early"),
    ],
)
def test_what_is_not_written_so(data: bytes, words: str) -> None:
    """What XGBoost never writes is refused with its place."""
    with pytest.raises(UbjError, match=words):
        loads(data + b"\0" * 9 if data else data)
