"""The old binary format: what releases wrote is read as they meant it, anything else is refused."""

import json
import math
import struct
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import xgboost

from handler import structure
from handler.artifact import Artifact
from handler.errors import HandlerError
from handler.formats import Format, FormatError, binary, ubj
from handler.formats.repair import repair
from handler.formats.sniff import sniff
from handler.model import Part, load_model
from handler.prepare import prepare

CORPUS = Path(__file__).parent.parent.parent / "corpus" / "artifacts"
MANIFEST = json.loads((CORPUS / "manifest.json").read_text())
FILES = [case["file"] for case in MANIFEST["artifacts"] if case["format"] == "legacy binary"]
SOUND = (CORPUS / "1.7.6" / "logit.model").read_bytes()
SMALL = (CORPUS / "1.2.1" / "gblinmulti.model").read_bytes()
BARE = (CORPUS / "0.90" / "logit.model").read_bytes()  # without magic
DART = (CORPUS / "1.7.6" / "dart.model").read_bytes()


@pytest.mark.parametrize("file", FILES)
def test_files_of_all_releases(file: str) -> None:
    """Each is told by its bytes, read whole, sound, and of the release that wrote it."""
    data = (CORPUS / file).read_bytes()
    assert sniff(data) is Format.BINARY
    model = binary.read(data)
    assert structure.check(model) > 0 or "gblin" in file
    major, minor = map(int, file.split("/")[0].split(".")[:2])
    assert model["version"] == [major, minor, (major, minor) == (1, 3)]


@pytest.mark.parametrize("name", ["1.7.6/logit", "2.0.3/logit"])
def test_same_as_the_releases_own(name: str) -> None:
    """Every number of the trees is that of the same model in JSON or UBJ by the same release."""
    release = CORPUS / Path(name).parent
    other = next(path for path in (release / "logit.json", release / "logit.ubj") if path.exists())
    text = other.read_bytes()
    expected = ubj.loads(text) if text.startswith(b"{L") else json.loads(text)
    own = release / ("logit.model" if (release / "logit.model").exists() else "logit.rawdep")
    model = binary.read(own.read_bytes())
    trees, theirs = (
        document["learner"]["gradient_booster"]["model"]["trees"] for document in (model, expected)
    )
    assert len(trees) == len(theirs) == 20
    for tree, their in zip(trees, theirs, strict=True):
        for key, values in tree.items():
            if key in ("id", "tree_param"):
                assert values == their[key]
            else:
                np.testing.assert_array_equal(values, np.asarray(their[key], values.dtype))
    for key in ("objective", "attributes", "feature_names"):
        assert model["learner"][key] == expected["learner"][key]
    parameters = model["learner"]["learner_model_param"]
    for key, text in parameters.items():
        their_text = expected["learner"]["learner_model_param"][key]
        assert np.float32(text) == np.float32(their_text)


# A model's trees: one of one leaf, whose value is nothing.
ONE_LEAF = (
    struct.pack("<ii", 1, 1).ljust(160, b"\0")
    + struct.pack("<5i", 1, 1, 0, 0, 3).ljust(148, b"\0")
    + struct.pack("<iiiIf", -1, -1, -1, 0, 0.0)
    + bytes(16)
    + bytes(4)
)


def header(**fields: Any) -> bytes:
    """A file without trees, whose header says this."""
    values = dict.fromkeys(
        ("base_score", "features", "classes", "attributes", "metrics", "major", "minor", "targets"),
        0,
    )
    values |= {"base_score": 0.5, "features": 3} | {
        key: value for key, value in fields.items() if key != "objective"
    }
    name = fields.get("objective", "reg:squarederror").encode()
    return (
        struct.pack("<fIiiiIII", *values.values()).ljust(136, b"\0")
        + struct.pack("<Q", len(name))
        + name
        + struct.pack("<Q", 6)
        + b"gbtree"
        + bytes(160)
    )


@pytest.mark.parametrize(
    ("objective", "margin", "expected"),
    [
        ("binary:logistic", math.log(0.3 / 0.7), 0.3),
        ("reg:logistic", -50.0, math.exp(-50)),
        ("binary:logitraw", -1.25, -1.25),
        ("count:poisson", math.log(2.0), 2.0),
        ("reg:gamma", math.log(2.0), 2.0),
        ("reg:tweedie", math.log(2.0), 2.0),
        ("survival:cox", math.log(2.0), 2.0),
        ("reg:squarederror", -7.5, -7.5),
        ("rank:pairwise", 0.5, 0.5),
        ("multi:softprob", 0.5, 0.5),
        ("binary:hinge", 0.5, 0.5),
    ],
)
def test_base_score(objective: str, margin: float, expected: float) -> None:
    """Before 1.0 the base score is a margin, since what is predicted; margins are inverted."""
    ending = text("0.7") if objective == "count:poisson" else b""
    old = binary.read(header(objective=objective, base_score=margin) + ending)
    assert old["version"] == [0, 90, 0]
    score = float(old["learner"]["learner_model_param"]["base_score"])
    assert score == pytest.approx(expected, rel=1e-6)
    later = header(objective=objective, base_score=0.25, major=1, minor=2)
    assert binary.read(later)["learner"]["learner_model_param"]["base_score"] == "0.25"
    if objective != "multi:softprob":  # which has as many margins as classes
        start = header(objective=objective, base_score=margin)
        with_tree = binary.read(start.removesuffix(bytes(160)) + ONE_LEAF + ending)
        model = xgboost.Booster()
        model.load_model(bytearray(ubj.dumps(with_tree)))
        predicted = model.predict(xgboost.DMatrix(np.zeros((1, 3))), output_margin=True)
        if expected > 1e-16:  # XGBoost keeps from one that is no chance at all
            assert predicted == pytest.approx([margin], rel=1e-5)


def test_what_1_3_means_by_a_base_score() -> None:
    """A raw logistic model of 1.3 is taken as all its releases but the first mean it: a margin."""
    for minor, expected in ((2, math.log(3)), (3, 0.75), (4, 0.75)):
        data = header(objective="binary:logitraw", base_score=0.75, major=1, minor=minor)
        model = binary.read(data)
        repair(model, tuple(model["version"]))
        score = float(model["learner"]["learner_model_param"]["base_score"])
        assert score == pytest.approx(expected)


def test_no_trees() -> None:
    """A model that was saved before its training answers its base score."""
    data = header(base_score=0.25)
    prepared = prepare(Artifact(Path("m"), Format.BINARY, data))
    model = load_model([Part("m", prepared.data, prepared.traits)], threads=1)
    assert model.predict(np.zeros((2, 3), np.float32)).tolist() == [0.25, 0.25]


def text(value: str) -> bytes:
    """A text as it is written."""
    return struct.pack("<Q", len(value)) + value.encode()


def test_what_follows_the_trees() -> None:
    """Attributes are read; the objective's parameters and the metrics are no attributes."""
    pairs = {
        "objective": '{"name":"reg:tweedie",'
        '"tweedie_regression_param":{"tweedie_variance_power":"1.2"}}',
        "metrics": "rmse;",
        "SAVED_PARAM_predictor": "cpu_predictor",
        "best_iteration": "7",
    }
    ending = struct.pack("<Q", len(pairs)) + b"".join(
        text(key) + text(value) for key, value in pairs.items()
    )
    start = header(objective="reg:tweedie", attributes=1, metrics=1, major=1, minor=1)
    learner = binary.read(start + ending)["learner"]
    assert learner["attributes"] == {"best_iteration": "7"}
    assert learner["objective"]["tweedie_regression_param"] == {"tweedie_variance_power": "1.2"}
    before = header(objective="count:poisson", metrics=1) + text("0.7")
    metrics = struct.pack("<Q", 2) + text("rmse") + text("mae")
    learner = binary.read(before + metrics)["learner"]
    assert learner["objective"]["poisson_regression_param"] == {"max_delta_step": "0.7"}
    with pytest.raises(FormatError, match="it ends early"):
        binary.read(before)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "its objective is not JSON"),
        ("[" * 100_000, "its objective is not JSON"),
        ("[]", "not as XGBoost writes it"),
        ('{"a": 1e400}', "not as XGBoost writes it"),
        ('{"a": {"b": 99999999999999999999}}', "not as XGBoost writes it"),
        ('{"a": {"b": {"c": "d"}}}', "not as XGBoost writes it"),
    ],
)
def test_objectives(value: str, words: str) -> None:
    """An objective that XGBoost did not write is refused."""
    start = header(attributes=1, major=1, minor=2)
    with pytest.raises(FormatError, match=words):
        binary.read(start + struct.pack("<Q", 1) + text("objective") + text(value))


@pytest.mark.parametrize(
    "fields",
    [
        {"base_score": math.nan},
        {"base_score": math.inf},
        {"features": 0},
        {"features": 2**24 + 1},
        {"classes": -1},
        {"attributes": 2},
        {"metrics": -1},
        {"major": 100},
        {"major": 1, "minor": 2**31},
        {"objective": ""},
        {"objective": "reg squared"},
    ],
    ids=str,
)
def test_headers(fields: dict[str, Any]) -> None:
    """A header that makes no sense is none: the file is not told to be one, and not read as one."""
    assert sniff(header()) is Format.BINARY
    assert sniff(header(**fields)) is None
    with pytest.raises(FormatError, match="its header makes no sense"):
        binary.read(header(**fields))


def outcome(data: bytes, form: Format = Format.BINARY) -> str:
    """What becomes of bytes that may be damaged; what XGBoost is given it must survive."""
    tracemalloc.start()
    try:
        prepared = prepare(Artifact(Path("m"), form, data))
    except HandlerError as error:
        told = error.message
        if not told.startswith(("m is ", "m was ")) or "\n" in told or len(told) >= 300:
            pytest.fail(f"refused with {told!r}")
        return "refused"
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 40 * len(data) + 2**18
    try:
        load_model([Part("m", prepared.data, prepared.traits)], threads=1)
    except HandlerError:
        return "refused"
    return "served"


@pytest.mark.parametrize(
    "data", [SOUND, BARE, DART, SMALL], ids=["trees", "bare", "dart", "linear"]
)
def test_cut(data: bytes) -> None:
    """Wherever a file is cut it ends early, and what follows it is too much."""
    for size in range(0, len(data), 97 if len(data) > 1000 else 1):
        with pytest.raises(FormatError, match="ends early"):
            binary.read(data[:size])
        assert outcome(data[:size]) == "refused"
    with pytest.raises(FormatError, match="3 bytes follow its end"):
        binary.read(data + b"abc")
    assert outcome(data) == "served"


@pytest.mark.parametrize("data", [SOUND, BARE, DART], ids=["trees", "bare", "dart"])
def test_mutants(data: bytes) -> None:
    """However bytes are changed, it is refused, or sound enough for XGBoost to predict."""
    seen = []
    for seed in range(100):
        random = Random(seed)  # noqa: S311  # the same each time
        mutant = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 8))):
            # Half in the header and the first tree, where lengths are.
            at = random.randrange(random.choice((600, len(mutant))))
            mutant[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        seen.append(outcome(bytes(mutant)))
    assert min(map(seen.count, ("refused", "served"))) > 10


@pytest.mark.parametrize("number", [-1, 2**20, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize(
    "place", ["trees", "nodes"], ids=["trees of the model", "nodes of the first tree"]
)
def test_numbers_of_things(place: str, number: int) -> None:
    """A number of trees or nodes beyond the file's end is found out before anything is made."""
    trees_at = SOUND.index(b"gbtree") + len(b"gbtree")
    at = trees_at if place == "trees" else trees_at + 160 + 4
    mutant = SOUND[:at] + struct.pack("<i", number) + SOUND[at + 4 :]
    assert outcome(mutant) == "refused"


@pytest.mark.parametrize("number", [2**20, 2**32, 2**62, 2**63, 2**64 - 1])
def test_lengths(number: int) -> None:
    """So is a length of a text, of a list of attributes, or of an array."""
    length = struct.pack("<Q", number)
    objective_at = SOUND.index(b"binary:logistic") - 8
    booster_at = SOUND.index(b"gbtree") - 8
    attributes_at = SOUND.index(b"best_iteration") - 16
    weights_at = SMALL.index(b"gblinear") + len(b"gblinear") + 136
    drops_at = DART.rindex(struct.pack("<Q", 20))
    for data, at in (
        (SOUND, objective_at),
        (SOUND, booster_at),
        (SOUND, attributes_at),
        (SOUND, attributes_at + 8),
        (SMALL, weights_at),
        (DART, drops_at),
    ):
        assert outcome(data[:at] + length + data[at + 8 :]) == "refused"


def test_first_bytes_of_other_formats() -> None:
    """A binary without magic is told by more than its base score, which can be any bytes."""
    for first in (b"{L\x00\x3f", b"{\x22\x00\x3f", b"{ \n\x22", b"\x80\x04\x00\x3f"):
        assert sniff(first + BARE[4:]) is Format.BINARY
    assert sniff(b"{L" + bytes(7) + b"\x07learner{}") is Format.UBJ
    assert sniff(b"{L" + b"\xff" * 8) is Format.UBJ  # none, and so it is said to be
    assert sniff(b' {\n"learner"') is Format.JSON
    for other in (b"", b"{", b"binfo"[:3], b"hello", b"[1, 2]", b"PK\x03\x04", bytes(500)):
        assert sniff(other) is None
