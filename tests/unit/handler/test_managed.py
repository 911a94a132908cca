"""What docs/16 tells who comes from AWS's managed XGBoost container, row by row."""

import io
import itertools
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import xgboost
from pyarrow import parquet

import container.settings
from handler import directory
from handler.answer import Answer, fault_answer
from handler.errors import Fault, HandlerError
from handler.resident import predict
from handler.service import Service
from handler.settings import Settings, SettingsError
from tests.support import FEATURES, saved, train
from tests.unit.handler import reading
from tests.unit.handler.loading import loaded
from tests.unit.handler.records import Record, framed

ROOT = Path(__file__).parent.parent.parent.parent
PAGE = ROOT / "docs" / "16-from-the-managed-container.md"
ARTIFACTS = ROOT / "tests" / "corpus" / "artifacts"
ROW = b"1,2,3,4,5,6"
MATRIX = xgboost.DMatrix(np.arange(1, FEATURES + 1).reshape(1, -1))
UBJ = saved(train())
_record = Record()
_record.features["values"].float32_tensor.values.extend([1, 2, 3, 4, 5, 6])
RECORD = framed(_record.SerializeToString())
_sparse = Record()
_sparse.features["values"].float32_tensor.values.extend([1, 2])
_sparse.features["values"].float32_tensor.keys.extend([0, 5])
_sparse.features["values"].float32_tensor.shape.append(FEATURES)
SPARSE = framed(_sparse.SerializeToString())
_npy = io.BytesIO()
np.save(_npy, np.ones((2, FEATURES)))
NPY = _npy.getvalue()
# What the managed container and its toolkit obey, and this one does not read.
UNREAD = (
    *("SAGEMAKER_SUBMIT_DIRECTORY", "MAX_CONTENT_LENGTH", "SAGEMAKER_HANDLER"),
    *("SAGEMAKER_MAX_REQUEST_SIZE", "SAGEMAKER_MODEL_JOB_QUEUE_SIZE", "OMP_NUM_THREADS"),
    *("SAGEMAKER_NUM_MODEL_WORKERS", "SAGEMAKER_MODEL_SERVER_WORKERS"),
    *("SAGEMAKER_MODEL_SERVER_TIMEOUT", "SAGEMAKER_MAX_HEAP_SIZE"),
)


def asked(
    place: Path,
    booster: xgboost.Booster,
    body: bytes = ROW,
    content_type: str | None = "text/csv",
    accept: str | None = None,
    **settings: Any,
) -> Answer:
    """What the model answers, or with which fault."""
    (place / "xgboost-model").write_bytes(saved(booster))
    model = loaded(place)
    headers = {"mme-content-type": content_type, "accept": accept}
    given = {name: value for name, value in headers.items() if value is not None}
    try:
        return predict(model, given, body, Settings(**settings))
    except HandlerError as error:
        return fault_answer(error)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"xgboost-model": UBJ}, ["xgboost-model"]),
        ({"xgboost-model": saved(train(), "json")}, ["xgboost-model"]),
        ({"xgboost-model": pickle.dumps(train())}, ["xgboost-model"]),
        ({"xgboost-model": UBJ, "inference.py": b"x"}, ["xgboost-model"]),
        (
            {"xgboost-model-0": UBJ, "xgboost-model-1": UBJ},
            ["xgboost-model-0", "xgboost-model-1"],
        ),
        ({"model.bin": UBJ, ".hidden": UBJ}, ["model.bin"]),
        ({"deeper/xgboost-model": UBJ}, "no model file"),
        ({"xgboost-model": UBJ, "second.ubj": b"x"}, "second.ubj is not an XGBoost model"),
        ({"xgboost-model": b"\x80\x04\x95"}, "pickle"),
        ({"xgboost-model": b"binf" + bytes(200)}, "damaged"),
        ({"xgboost-model": UBJ[:-9]}, "damaged"),
    ],
    ids=lambda value: ",".join(value),
)
def test_artifacts(files: dict[str, bytes], found: list[str] | str, tmp_path: Path) -> None:
    """Every file at the top that is a model, by its bytes; what claims to be one and is none."""
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    if isinstance(found, list):
        assert [one.path.name for one in directory.find(tmp_path).models] == found
        assert loaded(tmp_path).note.traits.features == FEATURES
        return
    with pytest.raises(HandlerError, match=found):
        loaded(tmp_path)


def test_early_stopping(tmp_path: Path) -> None:
    """All rounds answer, whatever the best was; who cuts the model has the best one."""
    random = np.random.default_rng(0)
    rows, noise = random.normal(size=(60, FEATURES)), random.normal(size=60)
    learn, validate = (xgboost.DMatrix(rows[half::2], noise[half::2]) for half in (0, 1))
    booster = xgboost.train(
        {"nthread": 1}, learn, 50, evals=[(validate, "v")], early_stopping_rounds=5, verbose_eval=0
    )
    best = booster.best_iteration
    assert best + 1 < booster.num_boosted_rounds()
    assert json.loads(asked(tmp_path, booster).body) == booster.predict(MATRIX).tolist()
    cut = json.loads(asked(tmp_path, booster[: best + 1]).body)
    assert cut == booster.predict(MATRIX, iteration_range=(0, best + 1)).tolist()


def test_early_stopping_of_a_wrapper(tmp_path: Path) -> None:
    """A pickled wrapper answers up to its best round, as it does itself."""
    manifest = json.loads((ARTIFACTS / "manifest.json").read_text())
    (case,) = [case for case in manifest["artifacts"] if case["file"] == "0.90/w_early.joblib"]
    (tmp_path / "w_early.joblib").write_bytes((ARTIFACTS / case["file"]).read_bytes())
    rows = manifest["rows"][case["rows"]]
    body = "\n".join(",".join("" if v is None else repr(v) for v in row) for row in rows)
    model = loaded(tmp_path)
    assert model.note.traits.rounds == 2  # of five
    answer = predict(model, {"mme-content-type": "text/csv"}, body.encode(), Settings())
    answered = np.array(json.loads(answer.body), np.float32)
    np.testing.assert_array_equal(answered, np.array(case["expected"], np.float32))


@pytest.mark.parametrize(
    ("objective", "own", "ensemble", "how"),
    [
        ("reg:squarederror", {}, True, "mean"),
        ("multi:softmax", {}, True, "vote"),
        ("binary:hinge", {}, True, "vote"),
        ("reg:squarederror", {}, False, "first"),
        ("reg:squarederror", {"ensemble": "first"}, True, "first"),
        ("reg:squarederror", {"ensemble": "mean"}, False, "mean"),
    ],
)
def test_several(
    objective: str, own: dict[str, str], ensemble: bool, how: str, tmp_path: Path
) -> None:
    """Several files answer by their mean or vote, unless it is said that the first one does."""
    more: dict[str, Any] = {"num_class": 3} if objective == "multi:softmax" else {}
    random = np.random.default_rng(1)
    rows = random.normal(size=(40, FEATURES)).astype(np.float32)
    each = []
    for seed in range(3):
        booster = train(objective, seed=seed, **more)
        (tmp_path / f"xgboost-model-{seed}").write_bytes(saved(booster))
        each.append(booster.predict(xgboost.DMatrix(rows)))
    if how == "mean":
        expected = np.mean(each, axis=0, dtype=np.float32)
    elif how == "vote":
        votes = np.transpose(each).astype(int)
        expected = np.array([np.bincount(row).argmax() for row in votes], np.float32)
    else:
        expected = each[0]
    assert not np.array_equal(each[0], expected) or how == "first"
    (tmp_path / "mme.json").write_text(json.dumps(own))
    body = "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode()
    model = loaded(tmp_path, ensemble=ensemble)
    answer = predict(model, {"mme-content-type": "text/csv"}, body, Settings(ensemble=ensemble))
    np.testing.assert_array_equal(np.array(json.loads(answer.body), np.float32), expected)


def test_scripts(tmp_path: Path) -> None:
    """An archive with a script is refused where none may run, else each has its own."""
    for name in ("one", "other"):
        (tmp_path / name / "code").mkdir(parents=True)
        hooks = (
            f"def model_fn(directory): return {name!r}\n"
            "def transform_fn(model, body, content_type, accept): return model, accept\n"
        )
        (tmp_path / name / "code" / "inference.py").write_text(hooks)
        (tmp_path / name / "xgboost-model").write_bytes(UBJ)
    with pytest.raises(HandlerError, match="MME_ALLOW_SCRIPTS=1") as error:
        Service(Settings()).load("one", tmp_path / "one", 1e9)
    assert error.value.fault is Fault.BAD_MODEL
    service = Service(Settings(allow_scripts=True))
    try:
        for name in ("one", "other"):
            service.load(name, tmp_path / name, 1e9)
        for name in ("one", "other"):
            headers = {"mme-content-type": "text/csv", "accept": "text/csv"}
            assert service.invoke(name, headers, ROW).body == name.encode()
    finally:
        for name in ("one", "other"):
            service.unload(name)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/csv", b' 1 ,"2", 3,,nan,6', 200),
        ("text/csv", b"1;2;3;4;5;6", 400),
        ("text/csv", b"1\t2\t3\t4\t5\t6", 400),
        ("text/csv", b"a,b,c,d,e,f\n" + ROW, 400),  # of a model without names
        ("text/csv", b"0," + ROW, 400),
        ("text/csv; label_size=1", ROW, 415),
        ("text/csv; label_size=0", ROW, 200),
        ("text/csv", b"1,2", 400),
        ("text/csv", b"", 400),
        ("text/libsvm", b"0 0:1 5:2", 200),
        ("text/x-libsvm", b"0:1 5:2", 200),
        ("text/libsvm", b"0 1:1 6:2", 400),
        ("text/libsvm", b"0:1 word 5:2", 400),
        ("csv", ROW, 200),
        ("libsvm", b"0:1", 200),
        (None, b"0:1", 415),
        ("application/x-recordio-protobuf", RECORD, 200),
        ("recordio-protobuf", RECORD, 200),
        ("application/x-recordio-protobuf", SPARSE, 200),
        ("application/x-recordio-protobuf", b"\x0a\x23\xd7\xce", 400),
        ("application/jsonlines", b"[1, 2, 3, 4, 5, 6]", 200),
        ("application/json", b"[1, 2, 3, 4, 5, null]", 200),
        ("application/json", b'{"instances": [[1, 2, 3, 4, 5, 6]]}', 200),
        ("application/x-npy", NPY, 200),
        ("application/x-npz", NPY, 415),
        ("image/png", ROW, 415),
    ],
)
def test_requests(content_type: str | None, body: bytes, status: int, tmp_path: Path) -> None:
    """What is read, and with what the rest is refused."""
    assert asked(tmp_path, train(), body, content_type).status == status


def test_parquet(tmp_path: Path) -> None:
    """Parquet is read, where pyarrow is installed as it is here."""
    body = io.BytesIO()
    columns = {f"c{column}": [float(column)] for column in range(1, FEATURES + 1)}
    parquet.write_table(pyarrow.table(columns), body)
    answer = asked(tmp_path, train(), body.getvalue(), "application/x-parquet")
    assert (answer.status, answer.body) == (200, asked(tmp_path, train()).body)


def test_a_header(tmp_path: Path) -> None:
    """A model that has names is asked by them, in any order."""
    booster = train()
    booster.feature_names = list("abcdef")
    expected = asked(tmp_path, booster).body
    assert asked(tmp_path, booster, b"f,e,d,c,b,a\n6,5,4,3,2,1").body == expected
    unknown = asked(tmp_path, booster, b"f,e,d,c,b,x\n6,5,4,3,2,1")
    assert (unknown.status, b"'x'" in unknown.body) == (400, True)


def test_where_the_mistake_is(tmp_path: Path) -> None:
    """Who is refused is told the row, and the column."""
    wide = asked(tmp_path, train(), ROW + b"\n0," + ROW)
    assert "row 2 has 7 columns, the model has 6" in json.loads(wide.body)["message"]
    word = asked(tmp_path, train(), b"1,2,3,4,5,x")
    assert "row 1, column 6" in json.loads(word.body)["message"]


def test_no_type(tmp_path: Path) -> None:
    """A model may say what a body without a type is."""
    (tmp_path / "mme.json").write_text('{"content_type": "text/libsvm"}')
    answer = asked(tmp_path, train(), b"0:1 1:2 2:3 3:4 4:5 5:6", None)
    assert answer.body == asked(tmp_path, train()).body


def test_libsvm_from_one(tmp_path: Path) -> None:
    """Indices are shifted when the operator says so, and never by a guess."""
    booster = train()
    body = b"1:7 6:8"
    from_one = asked(tmp_path, booster, body, "text/libsvm", libsvm_base=1)
    assert from_one.body == asked(tmp_path, booster, b"7,,,,,8").body


@pytest.mark.parametrize(
    ("accept", "status", "answer"),
    [
        (None, 200, "json"),
        ("*/*", 200, "json"),
        ("application/json", 200, "json"),
        ("text/csv", 200, "csv"),
        ("text/csv, */*", 200, "csv"),
        ("application/jsonlines", 200, "lines"),
        ("application/x-recordio-protobuf", 200, "records"),
        ("image/png", 406, None),
    ],
)
@pytest.mark.parametrize("classes", [1, 3])
def test_answers(
    accept: str | None, status: int, answer: str | None, classes: int, tmp_path: Path
) -> None:
    """JSON is a bare list, CSV a line a row."""
    booster = train("multi:softprob", num_class=3) if classes > 1 else train()
    expected = booster.predict(xgboost.DMatrix(np.array([[1, 2, 3, 4, 5, 6]] * 2))).tolist()
    reply = asked(tmp_path, booster, ROW + b"\n" + ROW, accept=accept)
    assert reply.status == status
    if answer == "json":
        assert json.loads(reply.body) == expected
    elif answer == "lines":
        assert [json.loads(line) for line in reply.body.splitlines()] == expected
    elif answer == "records":
        wide = [row if isinstance(row, list) else [row] for row in expected]
        assert [record["score"] for record in reading.labels(reply.body)] == wide
    elif answer == "csv":
        rows = [row if isinstance(row, list) else [row] for row in expected]
        assert reply.body.decode() == "".join(",".join(map(repr, row)) + "\n" for row in rows)
    else:
        assert set(json.loads(reply.body)) == {"code", "type", "message"}


def test_selected(tmp_path: Path) -> None:
    """What is selected has the managed container's shape, and null where a key has no meaning."""
    booster = train("binary:logistic")
    (chance,) = booster.predict(MATRIX).tolist()
    output = ("predicted_label", "probability", "predicted_score")
    reply = asked(tmp_path, booster, output=output)
    row = {"predicted_label": int(chance > 0.5), "probability": chance, "predicted_score": None}
    assert reading.strict(reply.body) == {"predictions": [row]}
    counts = train("count:poisson", seed=1)
    (score,) = counts.predict(MATRIX).tolist()
    row = {"predicted_label": None, "probability": None, "predicted_score": score}
    assert reading.strict(asked(tmp_path, counts, output=output).body) == {"predictions": [row]}


def test_raw_scores(tmp_path: Path) -> None:
    """Those of classes are margins, and a margin's chance is its sigmoid."""
    softmax = train("multi:softmax", num_class=3)
    reply = asked(tmp_path, softmax, output=("raw_scores",))
    margins = softmax.predict(MATRIX, output_margin=True)[0].tolist()
    assert json.loads(reply.body) == {"predictions": [{"raw_scores": margins}]}
    logit = train("binary:logitraw")
    reply = asked(tmp_path, logit, output=("probability",))
    (row,) = json.loads(reply.body)["predictions"]
    assert row["probability"] == pytest.approx(1 / (1 + np.exp(-logit.predict(MATRIX)[0])))


def test_renamed() -> None:
    """What has another name here has the default that the page says."""
    defaults = container.settings.Settings.from_environ({})
    assert defaults.max_request_bytes == 25 * 1024**2
    assert (defaults.model_queue, defaults.invoke_deadline_seconds) == (256, 60)
    assert Settings().threads == 1


def test_the_page() -> None:
    """Every test that the page names is there, and each row of a table says what the change is."""
    text = PAGE.read_text()
    named = set(re.findall(r"`(?:tests/)?[\w/]*?(test_\w+\.py)`", text))
    assert {"test_corpus.py", "test_scripts.py", "test_managed.py"} <= named
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for path in re.findall(r"`(tests/[\w/.]+)`", text):
        assert (ROOT / path).is_file(), path
    changes = {"same", "better", "different", "renamed", "as multi-model", "as single"}
    lines = text.splitlines()
    for row, after in itertools.pairwise(lines):
        if row.startswith("| ") and not after.startswith("|---"):
            assert row.split("|")[-2].strip().partition(":")[0] in changes, row


def test_environment() -> None:
    """What is obeyed, and what is not read."""
    csv = Settings.from_environ({"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv"})
    assert csv.default_accept == "text/csv"
    obeyed = {
        "SAGEMAKER_INFERENCE_OUTPUT": "Predicted_Label, probability",
        "SAGEMAKER_INFERENCE_ENSEMBLE": "false",
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_PROGRAM": "serve.py",
    }
    settings = Settings.from_environ(obeyed)
    assert settings.output == ("predicted_label", "probability")
    assert (settings.ensemble, settings.program) == (False, "serve.py")
    assert settings.default_accept == "text/csv"
    for variable in ("SAGEMAKER_INFERENCE_OUTPUT", "SAGEMAKER_PROGRAM", "SAGEMAKER_BATCH"):
        with pytest.raises(SettingsError, match=variable):
            Settings.from_environ({variable: "chance"})
    unread = dict.fromkeys(UNREAD, "7")
    assert Settings.from_environ(unread) == Settings.from_environ({})
    theirs = container.settings.Settings.from_environ
    assert theirs(unread) == theirs({})
    assert not theirs({"SAGEMAKER_MULTI_MODEL": "false"}).multi_model
