"""The same handler under an unmodified Multi Model Server, and the same API beside it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import xgboost

from benchmarks.systems import StockMms
from mme.client import Client, Reply
from tests.contract.test_invoke import BODIES, Rows
from tests.support import Serve, error_of, saved


class StockWithOurHandler(StockMms):
    """Not the least handler."""

    handler = "handler.service:handle"


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Path]]:
    """MMS as its manual starts it, and its model store."""
    server = StockWithOurHandler(tmp_path_factory.mktemp("stock"), 0, b"")
    try:
        server.start()
        yield server.client, server.store
    finally:
        server.stop()


def test_one_model(stock: tuple[Client, Path], booster: xgboost.Booster, rows: Rows) -> None:
    """Given a model directory by an unmodified MMS, the handler serves that one model."""
    client, store = stock
    (store / "one").mkdir()
    (store / "one" / "xgboost-model").write_bytes(saved(booster))
    assert client.load("one", "one").status == 200
    expected = booster.predict(xgboost.DMatrix(rows)).tolist()
    for content_type, body in BODIES:
        reply = client.invoke("one", body(rows), content_type)
        assert (reply.status, json.loads(reply.body)) == (200, expected)
    wrong = client.invoke("one", b"1,2", "text/csv")
    assert "2 columns" in error_of(400, wrong.body)
    assert wrong.status == 400
    assert client.invoke("one", b"1,2,3,4,5,6", "image/png").status == 415
    assert client.unload("one").status == 200


def test_broken_model(stock: tuple[Client, Path]) -> None:
    """A model that cannot be loaded is not answered with 200 there either."""
    client, store = stock
    (store / "broken").mkdir()
    (store / "broken" / "model.json").write_bytes(b'{"learner": ')
    assert client.load("broken", "broken").status == 500


def test_same_bytes(stock: tuple[Client, Path], serve: Serve, booster: xgboost.Booster) -> None:
    """Where MMS's API has an answer that the platform reads, ours is the same byte for byte."""
    theirs, store = stock
    server = serve()
    ours = server.client
    directory = store / "same"
    directory.mkdir()
    (directory / "model.ubj").write_bytes(saved(booster))
    link = server.put("same", {"model.ubj": saved(booster)})

    def same(one: Reply, other: Reply) -> None:
        assert (one.status, one.body) == (other.status, other.body)
        assert one.headers["content-type"] == other.headers["content-type"]

    same(ours.call("GET", "/ping"), theirs.call("GET", "/ping"))
    same(ours.describe("same"), theirs.describe("same"))
    same(ours.unload("same"), theirs.unload("same"))
    same(ours.invoke("same", b"1"), theirs.invoke("same", b"1"))
    same(ours.load("same", link), theirs.load("same", "same"))
    same(ours.load("same", link), theirs.load("same", "same"))
    listed = [client.call("GET", "/models").body for client in (ours, theirs)]
    assert listed[0].replace(link.encode(), b"same") == listed[1]
    described = [json.loads(client.describe("same").body) for client in (ours, theirs)]
    described = [one[0] if isinstance(one, list) else one for one in described]
    assert described[0]["modelName"] == described[1]["modelName"]
    assert set(described[0]) <= set(described[1])
    same(ours.unload("same"), theirs.unload("same"))
    same(ours.call("GET", "/models"), theirs.call("GET", "/models"))
    same(ours.call("POST", "/no/such/path"), theirs.call("POST", "/no/such/path"))
