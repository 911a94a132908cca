"""Each content type of requests with each of answers: the bits of XGBoost's own prediction."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow
import pytest
import xgboost
from numpy.typing import NDArray
from pyarrow import parquet

from handler.resident import Resident, predict
from handler.settings import Settings
from tests.support import FEATURES, saved
from tests.unit.handler.loading import loaded
from tests.unit.handler.reading import ANSWERS, RECORDIO, numbers
from tests.unit.handler.records import Record, framed

Floats = NDArray[np.float32]
Write = Callable[[Floats], bytes]
Requests = dict[str, tuple[str, Write]]  # a content type, and how rows are written in it
Asked = tuple[Resident, Floats, Requests]

NAMES = ("lot", "rooms", "year, built", "é", 'a "b"', "z")
ORDER = (3, 0, 5, 2, 1, 4)  # of the columns, where a client sends them with their names
JSON, LINES = "application/json", "application/jsonlines"
NPY, PARQUET = "application/x-npy", "application/x-parquet"


def table() -> Floats:
    """Rows with missing values, all missing too, and numbers of every size."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(40, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.3] = np.nan
    rows[1] = np.nan
    rows[2] = [0.0, 1.0, -1.0, 16777217.0, 1e-45, 3.4028235e38]
    rows[3] = [-3.4028235e38, 0.1, 1e10, 1e-10, -0.0, 123456.789]
    return rows


ROWS = table()


def listed(row: Floats) -> list[float | None]:
    """A row's numbers, None for those that are missing."""
    return [None if value != value else value for value in row.tolist()]


def given(row: Floats) -> tuple[list[int], list[float]]:
    """The places and the numbers of those that are not missing."""
    places = np.flatnonzero(~np.isnan(row))
    return places.tolist(), row[places].tolist()


def as_csv(rows: Floats, header: bool = False, mark: str = "", end: str = "\n") -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end)
    order = ORDER if header else tuple(range(FEATURES))
    if header:
        writer.writerow([NAMES[place] for place in order])
    for row in rows:
        values = listed(row)
        writer.writerow([mark if values[place] is None else values[place] for place in order])
    return file.getvalue().encode()


def as_libsvm(rows: Floats, base: int = 0, label: str = "1 ") -> bytes:
    lines = (
        " ".join(f"{p + base}:{v!r}" for p, v in zip(*given(row), strict=True)) for row in rows
    )
    return "".join(f"{label}{line}\n" for line in lines).encode()


def as_npy(rows: Floats, kind: str = "<f4", order: Any = "C") -> bytes:
    file = io.BytesIO()
    np.save(file, rows.astype(kind, order=order))
    return file.getvalue()


def as_parquet(rows: Floats, kind: str = "float32", named: bool = False) -> bytes:
    order = ORDER if named else tuple(range(FEATURES))
    values = list(zip(*map(listed, rows), strict=True))
    columns = [pyarrow.array(values[place], kind) for place in order]
    names = [NAMES[place] if named else f"c{place}" for place in order]
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns, names), file, row_group_size=7)
    return file.getvalue()


def as_records(rows: Floats, kind: str = "float32_tensor", how: str = "") -> bytes:
    data = b""
    for row in rows:
        record = Record()
        tensor = getattr(record.features["values"], kind)
        if how != "alone":
            record.label["values"].float32_tensor.values.append(1)
        if how.startswith("with"):
            places, values = given(row)
            tensor.SetInParent()
            tensor.keys.extend(places)
            tensor.values.extend(values)
        else:
            tensor.values.extend(row.tolist())
        # A tensor without keys, numbers and shape says nothing, not that all is missing.
        if how in ("", "with shape") or (how != "alone" and not tensor.keys):
            tensor.shape.append(FEATURES)
        data += framed(record.SerializeToString())
    return data


def tensor(row: Floats) -> dict[str, Any]:
    """A row as SageMaker's algorithms have it, sparse."""
    places, values = given(row)
    return {"keys": places, "shape": [FEATURES], "values": values}


def by_name(row: Floats) -> dict[str, Any]:
    values = listed(row)
    return {NAMES[place]: values[place] for place in ORDER}


def as_json(shape: Callable[[Floats], Any], instances: bool = False) -> Write:
    def write(rows: Floats) -> bytes:
        shaped = [shape(row) for row in rows]
        return json.dumps({"instances": shaped} if instances else shaped).encode()

    return write


def as_lines(shape: Callable[[Floats], Any]) -> Write:
    return lambda rows: "".join(json.dumps(shape(row)) + "\n" for row in rows).encode()


def feature_list(row: Floats) -> Any:
    return {"features": listed(row)}


def dense_data(row: Floats) -> Any:
    return {"data": {"features": {"values": listed(row)}}}


def sparse_data(row: Floats) -> Any:
    return {"data": {"features": tensor(row)}}


REQUESTS: dict[str, tuple[str, Write]] = {
    "csv": ("text/csv", as_csv),
    "csv NaN": ("text/csv", lambda rows: as_csv(rows, mark="NaN", end="\r\n")),
    "libsvm": ("text/libsvm", as_libsvm),
    "x-libsvm": ("text/x-libsvm", lambda rows: as_libsvm(rows, label="0.5 qid:3 ")),
    "json": (JSON, as_json(listed)),
    "json NaN": (JSON, as_json(np.ndarray.tolist)),
    "json instances": (JSON, as_json(listed, instances=True)),
    "json features": (JSON, as_json(feature_list)),
    "json features in instances": (JSON, as_json(feature_list, instances=True)),
    "json dense": (JSON, as_json(dense_data, instances=True)),
    "json sparse": (JSON, as_json(sparse_data, instances=True)),
    "lines": (LINES, as_lines(listed)),
    "lines NaN": (LINES, as_lines(np.ndarray.tolist)),
    "lines features": (LINES, as_lines(feature_list)),
    "lines dense": (LINES, as_lines(dense_data)),
    "lines sparse": (LINES, as_lines(sparse_data)),
    "npy": (NPY, as_npy),
    "npy f8": (NPY, lambda rows: as_npy(rows, "<f8")),
    "npy big": (NPY, lambda rows: as_npy(rows, ">f4", "F")),
    "records": (RECORDIO, as_records),
    "records alone": (RECORDIO, lambda rows: as_records(rows, how="alone")),
    "records f8": (RECORDIO, lambda rows: as_records(rows, "float64_tensor")),
    "records sparse": (RECORDIO, lambda rows: as_records(rows, how="with shape")),
    "records bare": (RECORDIO, lambda rows: as_records(rows, how="without shape")),
    "records sparse f8": (RECORDIO, lambda rows: as_records(rows, "float64_tensor", "with shape")),
    "parquet": (PARQUET, as_parquet),
    "parquet f8": (PARQUET, lambda rows: as_parquet(rows, "float64")),
}
NAMED: dict[str, tuple[str, Write]] = {
    "csv header": ("text/csv", lambda rows: as_csv(rows, header=True)),
    "csv": ("text/csv", as_csv),
    "json objects": (JSON, as_json(by_name)),
    "json objects in instances": (JSON, as_json(by_name, instances=True)),
    "lines objects": (LINES, as_lines(by_name)),
    "libsvm": ("text/libsvm", as_libsvm),
    "npy": (NPY, as_npy),
    "records": (RECORDIO, as_records),
    "parquet": (PARQUET, lambda rows: as_parquet(rows, named=True)),
}


def trained(names: tuple[str, ...] | None = None, **parameters: Any) -> xgboost.Booster:
    """A model that tells rows apart, missing values and sizes too."""
    random = np.random.default_rng(0)
    rows = np.concatenate([ROWS, random.normal(size=(200, FEATURES)).astype(np.float32)])
    label = random.normal(size=(len(rows), 2))
    if "num_class" in parameters:
        label = np.digitize(label[:, 0], [-0.5, 0.5])
    elif parameters:
        label = label[:, 0] > 0
    matrix = xgboost.DMatrix(rows, label, feature_names=names)
    return xgboost.train({"max_depth": 6, "nthread": 1, **parameters}, matrix, 8)


MODELS: dict[str, Callable[[], xgboost.Booster]] = {
    "one number": lambda: trained(objective="binary:logistic"),
    "classes": lambda: trained(objective="multi:softprob", num_class=3),
    "targets": trained,
    "named": lambda: trained(NAMES, objective="binary:logistic"),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A model, what it must predict of the rows, and how those may be sent to it."""
    booster = MODELS[request.param]()
    place = tmp_path_factory.mktemp("model")
    (place / "m.ubj").write_bytes(saved(booster))
    matrix = xgboost.DMatrix(ROWS, feature_names=booster.feature_names)
    expected: Floats = booster.predict(matrix)
    assert len(np.unique(expected, axis=0)) > len(ROWS) * 0.9  # or a row could be another's
    return loaded(place), expected, NAMED if request.param == "named" else REQUESTS


def asked(
    resident: Resident, content_type: str, body: bytes, answer: str, settings: Settings
) -> Floats:
    """What is predicted, as it reads in the answer."""
    headers = {"mme-content-type": content_type, "accept": answer}
    reply = predict(resident, headers, body, settings)
    assert (reply.status, reply.content_type) == (200, answer)
    return numbers(reply.body, answer)


@pytest.mark.parametrize("answer", ANSWERS)
def test_pairs(answer: str, model: Asked) -> None:
    """The same rows, missing values among them, in any type, give the same bits in any other."""
    resident, expected, requests = model
    for name, (content_type, write) in requests.items():
        found = asked(resident, content_type, write(ROWS), answer, Settings())
        assert found.shape == expected.shape, name
        assert found.tobytes() == expected.tobytes(), name
        for row in range(len(ROWS[:5])):  # alone as well
            body = write(ROWS[row : row + 1])
            found = asked(resident, content_type, body, answer, Settings())
            assert found.tobytes() == expected[row : row + 1].tobytes(), (name, row)


@pytest.mark.parametrize("answer", ANSWERS)
def test_libsvm_from_one(answer: str, model: Asked) -> None:
    """Where the operator counts features from one, so do the rows."""
    resident, expected, _ = model
    body = as_libsvm(ROWS, base=1)
    found = asked(resident, "text/libsvm", body, answer, Settings(libsvm_base=1))
    assert found.tobytes() == expected.tobytes()


def test_a_plain_list_is_one_row(
    model: Asked,
) -> None:
    """One row needs no list around it, in JSON and in an array."""
    resident, expected, _ = model
    for answer in ANSWERS:
        for row, one in zip(ROWS, expected, strict=True):
            for content_type, body in (
                (JSON, json.dumps(listed(row)).encode()),
                (JSON, json.dumps(feature_list(row)).encode()),
                (NPY, as_npy(row)),
            ):
                found = asked(resident, content_type, body, answer, Settings())
                assert found.tobytes() == one.tobytes()


def test_other_rows_give_other_bits(
    model: Asked,
) -> None:
    """A value that is missing, or not, or in another column, shows in what is predicted."""
    resident, expected, _ = model
    for other in (np.nan_to_num(ROWS, nan=0.0), ROWS[:, ::-1], np.full_like(ROWS, np.nan)):
        body = as_npy(np.ascontiguousarray(other))
        found = asked(resident, NPY, body, NPY, Settings())
        assert (found != expected).any(axis=None)
