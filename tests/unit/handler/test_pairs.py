"""Each content type of requests with each of answers: the bits of XGBoost's own prediction."""

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import xgboost
from numpy.typing import NDArray
from pyarrow import parquet

from handler.resident import predict
from handler.settings import Settings
from tests.support import FEATURES, saved, train
from tests.unit.handler.loading import loaded
from tests.unit.handler.records import MAGIC, Record, framed

Floats = NDArray[np.float32]


def table() -> Floats:
    random = np.random.default_rng(3)
    rows = random.normal(size=(9, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.3] = np.nan
    rows[:, 0] = np.arange(9)  # no row without a number
    return rows


ROWS = table()
NUMBERS = [[None if np.isnan(cell) else float(cell) for cell in row] for row in ROWS]


def as_csv() -> bytes:
    return "\n".join(
        ",".join("" if v is None else repr(v) for v in row) for row in NUMBERS
    ).encode()


def as_libsvm() -> bytes:
    return "\n".join(
        " ".join(f"{place}:{v!r}" for place, v in enumerate(row) if v is not None)
        for row in NUMBERS
    ).encode()


def as_lines() -> bytes:
    return "\n".join(map(json.dumps, NUMBERS)).encode()


def as_npy() -> bytes:
    file = io.BytesIO()
    np.save(file, ROWS)
    return file.getvalue()


def as_parquet() -> bytes:
    file = io.BytesIO()
    columns = {f"c{place}": column for place, column in enumerate(zip(*NUMBERS, strict=True))}
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def as_records(*, sparse: bool) -> bytes:
    data = b""
    for row in NUMBERS:
        record = Record()
        tensor = record.features["values"].float32_tensor
        if sparse:
            tensor.keys.extend(place for place, v in enumerate(row) if v is not None)
            tensor.shape.append(FEATURES)
            tensor.values.extend(v for v in row if v is not None)
        else:
            tensor.values.extend(np.nan if v is None else v for v in row)
        data += framed(record.SerializeToString())
    return data


REQUESTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "csv": ("text/csv", as_csv),
    "libsvm": ("text/libsvm", as_libsvm),
    "json list": ("application/json", lambda: json.dumps(NUMBERS).encode()),
    "json instances": ("application/json", lambda: json.dumps({"instances": NUMBERS}).encode()),
    "json features": (
        "application/json",
        lambda: json.dumps({"instances": [{"features": row} for row in NUMBERS]}).encode(),
    ),
    "json lines": ("application/jsonlines", as_lines),
    "npy": ("application/x-npy", as_npy),
    "parquet": ("application/x-parquet", as_parquet),
    "records": ("application/x-recordio-protobuf", lambda: as_records(sparse=False)),
    "sparse records": ("application/x-recordio-protobuf", lambda: as_records(sparse=True)),
}


def read_records(body: bytes) -> list[object]:
    found: list[object] = []
    while body:
        magic, size = struct.unpack_from("<II", body)
        assert magic == MAGIC
        record = Record.FromString(body[8 : 8 + size])
        found.append(list(record.label["score"].float32_tensor.values))
        body = body[8 + size + -size % 4 :]
    return found


ANSWERS: dict[str, Callable[[bytes], object]] = {
    "application/json": json.loads,
    "application/jsonlines": lambda body: [json.loads(line) for line in body.splitlines()],
    "text/csv": lambda body: [
        [float(cell) for cell in line.split(",")] for line in body.decode().splitlines()
    ],
    "application/x-npy": lambda body: np.load(io.BytesIO(body), allow_pickle=False),
    "application/x-recordio-protobuf": read_records,
}


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("request_type", REQUESTS)
def test_pairs(request_type: str, answer: str, classes: int, tmp_path: Path) -> None:
    """The same rows, missing values among them, in any type, give the same bits in any other."""
    booster = train("multi:softprob", num_class=3) if classes > 1 else train()
    (tmp_path / "m.ubj").write_bytes(saved(booster))
    expected = booster.predict(xgboost.DMatrix(ROWS))
    content_type, write = REQUESTS[request_type]
    headers = {"mme-content-type": content_type, "accept": answer}
    reply = predict(loaded(tmp_path), headers, write(), Settings())
    assert reply.content_type == answer
    got = np.array(ANSWERS[answer](reply.body), dtype=np.float32).reshape(expected.shape)
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))
