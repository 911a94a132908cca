"""Invocations against the real running container: the same numbers as XGBoost, or a clear error."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xgboost

from tests.support import FEATURES, Server, error_of, saved, train

Rows = np.ndarray[Any, np.dtype[np.float32]]
KINDS: dict[str, dict[str, Any]] = {
    "reg:squarederror": {},
    "binary:logistic": {},
    "multi:softprob": {"num_class": 3},
    "multi:softmax": {"num_class": 3},
    "reg:gamma": {"base_score": 2.0},
}


def as_csv(rows: Rows) -> bytes:
    return "\n".join(
        ",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows
    ).encode()


def as_libsvm(rows: Rows) -> bytes:
    return "\n".join(
        " ".join(["0"] + [f"{i}:{float(v)!r}" for i, v in enumerate(row) if not np.isnan(v)])
        for row in rows
    ).encode()


def as_json(rows: Rows) -> bytes:
    return json.dumps([[None if np.isnan(v) else float(v) for v in row] for row in rows]).encode()


def as_instances(rows: Rows) -> bytes:
    return b'{"instances": %b}' % as_json(rows)


BODIES = [
    ("text/csv", as_csv),
    ("text/csv; charset=UTF-8", as_csv),
    ("text/libsvm", as_libsvm),
    ("text/x-libsvm", as_libsvm),
    ("application/json", as_json),
    ("Application/JSON", as_instances),
]


@pytest.mark.parametrize("form", ["json", "ubj"])
@pytest.mark.parametrize("objective", KINDS)
def test_same_bits_as_xgboost(server: Server, rows: Rows, objective: str, form: str) -> None:
    """A stranger's model answers as its own ``Booster.predict`` does, whatever the content type."""
    booster = _gamma() if objective == "reg:gamma" else train(objective, **KINDS[objective])
    name = f"{objective.replace(':', '-')}-{form}"
    url = server.put(name, {f"whatever.{form}": saved(booster, form)})
    expected = booster.predict(xgboost.DMatrix(rows)).tolist()
    assert server.client.load(name, url).status == 200
    try:
        for content_type, body in BODIES:
            reply = server.client.invoke(name, body(rows), content_type)
            assert reply.status == 200, reply.body
            assert reply.headers["content-type"] == "application/json"
            assert json.loads(reply.body) == expected
        csv = server.client.invoke(name, as_csv(rows), "text/csv", "text/csv").body.decode()
        lines = [[float(value) for value in line.split(",")] for line in csv.splitlines()]
        assert lines == [value if isinstance(value, list) else [value] for value in expected]
    finally:
        server.client.unload(name)


def _gamma() -> xgboost.Booster:
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, FEATURES)).astype(np.float32)
    matrix = xgboost.DMatrix(rows, label=np.exp(rows[:, 0]))
    return xgboost.train({"objective": "reg:gamma", "nthread": 1}, matrix, num_boost_round=10)


def test_many_models_at_once(server: Server, rows: Rows) -> None:
    """Forty models on one connection each answer with their own numbers."""
    boosters = {f"many-{seed}": train(seed=seed) for seed in range(40)}
    for name, booster in boosters.items():
        assert server.client.load(name, server.put(name, {"m.ubj": saved(booster)})).status == 200
    for name, booster in boosters.items():
        expected = booster.predict(xgboost.DMatrix(rows)).tolist()
        assert json.loads(server.client.invoke(name, as_csv(rows)).body) == expected
    for name in boosters:
        assert server.client.unload(name).status == 200


def test_many_rows(server: Server, booster: xgboost.Booster) -> None:
    """Ten thousand rows in one request are answered in order."""
    many = np.random.default_rng(1).normal(size=(10_000, FEATURES)).astype(np.float32)
    url = server.put("rows", {"model.ubj": saved(booster)})
    assert server.client.load("rows", url).status == 200
    expected = booster.predict(xgboost.DMatrix(many)).tolist()
    assert json.loads(server.client.invoke("rows", as_csv(many)).body) == expected
    server.client.unload("rows")


@pytest.fixture(scope="module")
def model(server: Server, booster: xgboost.Booster) -> Iterator[str]:
    """A model that errors are provoked from."""
    name = "faults"
    assert server.client.load(name, server.put(name, {"model.ubj": saved(booster)})).status == 200
    yield name
    assert server.client.unload(name).status == 200


GOOD = b"1,2,3,4,5,6"


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "words"),
    [
        (b"", "text/csv", None, 400, "empty body"),
        (b"1,2", "text/csv", None, 400, "2 columns"),
        (b"1,2,3,4,5,6,7,8,9", "text/csv", None, 400, "9 columns, the model has 6"),
        (b"a,b,c,d,e,f\n1,2,3,4,5,6", "text/csv", None, 400, "header"),
        (b"1,2,3,4,5,x", "text/csv", None, 400, "column 6"),
        (b"1,2,3,4,5,1e999", "text/csv", None, 400, "infinite"),
        (b"\xff\xfe,2,3,4,5,6", "text/csv", None, 400, "UTF-8"),
        (b"0:1 6:2", "text/libsvm", None, 400, "MME_LIBSVM_BASE"),
        (b"nonsense", "text/libsvm", None, 400, "row 1"),
        (b"{", "application/json", None, 400, "JSON"),
        (b"[[1,2],[3]]", "application/json", None, 400, "columns"),
        (GOOD, "image/png", None, 415, "text/csv"),
        (GOOD, "text/csv; charset=utf-16", None, 415, "utf-8"),
        (GOOD, "text/csv", "image/png", 406, "application/json"),
        (GOOD, "text/csv", "text/csv," * 400, 400, "accept is over 1024 bytes"),
        (GOOD, "text/csv;" + "x" * 1024, None, 400, "content-type is over 1024 bytes"),
        (GOOD, "text/csv", "text/csv;q=0, application/json;q=0", 406, "text/csv"),
    ],
)
def test_clients_mistakes(
    server: Server,
    model: str,
    body: bytes,
    content_type: str,
    accept: str | None,
    status: int,
    words: str,
) -> None:
    """A client's mistake is answered with its own status and one sentence; the model goes on."""
    reply = server.client.invoke(model, body, content_type, accept)
    assert reply.status == status
    assert words.lower() in error_of(status, reply.body).lower()
    assert server.client.invoke(model, GOOD).status == 200


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "image/png, */*;q=0.1"])
def test_json_is_the_default(server: Server, model: str, accept: str | None) -> None:
    """Without a wish the answer is a JSON list, as ``json.loads(body)[0]`` expects."""
    assert isinstance(json.loads(server.client.invoke(model, GOOD, accept=accept).body)[0], float)


def test_compressed_bodies(server: Server, model: str) -> None:
    """A body that is packed is refused and not read as what it is not."""
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    reply = server.client.call("POST", f"/models/{model}/invoke", GOOD, headers)
    assert error_of(415, reply.body)


def test_body_over_the_limit(server: Server, model: str) -> None:
    """A body over the limit is refused before it is read, and the next request is answered."""
    reply = server.client.invoke(model, b"1," * (13 * 1024 * 1024))
    assert reply.status == 413
    error_of(413, reply.body)
    assert server.client.invoke(model, GOOD).status == 200
