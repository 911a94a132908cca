"""What docs/16 tells who comes from AWS's managed XGBoost container, row by row."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

import container.settings
from handler import directory
from handler.answer import Answer, fault_answer
from handler.errors import HandlerError
from handler.resident import predict
from handler.settings import Settings, SettingsError
from tests.support import FEATURES, saved, train
from tests.unit.handler.loading import loaded
from tests.unit.handler.records import Record, framed

ROW = b"1,2,3,4,5,6"
UBJ = saved(train())
_record = Record()
_record.features["values"].float32_tensor.values.extend([1, 2, 3, 4, 5, 6])
RECORD = framed(_record.SerializeToString())
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
        assert loaded(tmp_path).traits.features == FEATURES
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
    matrix = xgboost.DMatrix(np.arange(1, FEATURES + 1).reshape(1, -1))
    assert json.loads(asked(tmp_path, booster).body) == booster.predict(matrix).tolist()
    cut = json.loads(asked(tmp_path, booster[: best + 1]).body)
    assert cut == booster.predict(matrix, iteration_range=(0, best + 1)).tolist()


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/csv", b' 1 ,"2", 3,,nan,6', 200),
        ("text/csv", b"1;2;3;4;5;6", 400),
        ("text/csv", b"1\t2\t3\t4\t5\t6", 400),
        ("text/csv", b"a,b,c,d,e,f\n" + ROW, 400),  # of a model without names
        ("text/csv", b"0," + ROW, 400),
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
        ("application/x-recordio-protobuf", b"\x0a\x23\xd7\xce", 400),
        ("application/jsonlines", b"[1, 2, 3, 4, 5, 6]", 200),
        ("application/json", b"[1, 2, 3, 4, 5, null]", 200),
        ("application/json", b'{"instances": [[1, 2, 3, 4, 5, 6]]}', 200),
    ],
)
def test_requests(content_type: str | None, body: bytes, status: int, tmp_path: Path) -> None:
    """What is read, and with what the rest is refused."""
    assert asked(tmp_path, train(), body, content_type).status == status


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
    elif answer == "csv":
        rows = [row if isinstance(row, list) else [row] for row in expected]
        assert reply.body.decode() == "".join(",".join(map(repr, row)) + "\n" for row in rows)
    else:
        assert set(json.loads(reply.body)) == {"code", "type", "message"}


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
