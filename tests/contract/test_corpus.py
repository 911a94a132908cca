"""Artifacts of all releases, and damaged ones, over HTTP in the real container."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler import prepare
from tests.support import Serve, Server, error_of, saved, train

CORPUS = Path(__file__).parent.parent / "corpus"
MANIFEST = json.loads((CORPUS / "artifacts" / "manifest.json").read_text())
DAMAGED = json.loads((CORPUS / "damaged" / "manifest.json").read_text())
RUNTIME = ".".join(map(str, prepare.RUNTIME))
# Equal to a millionth: its release weighed trees in another order.
LAST_BIT = {"1.3.3/dartmulti.model"}
ROW = b"1,2,3,4,5,6"


@pytest.fixture(scope="module")
def server(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A container in which a hostile pickle would leave a mark."""
    canary = tmp_path_factory.mktemp("canary") / "made"
    one = serve(MME_SHARDS="1", MME_CORPUS_CANARY=str(canary))
    url = one.put("bystander", {"m.ubj": saved(train())})
    assert one.client.load("bystander", url).status == 200
    yield one
    assert not canary.exists()


def body(rows: list[list[float | None]]) -> bytes:
    return "\n".join(",".join("" if v is None else repr(v) for v in row) for row in rows).encode()


def load(server: Server, name: str, file: Path) -> Any:
    return server.client.load(name, server.put(name, {file.name: file.read_bytes()}))


@pytest.mark.parametrize("writer", sorted({case["writer"] for case in MANIFEST["artifacts"]}))
def test_artifacts(server: Server, writer: str) -> None:
    """Each answers as its writer did, or is refused as of a newer release."""
    cases = [case for case in MANIFEST["artifacts"] if case["writer"] == writer]
    assert cases
    for case in cases:
        name = case["file"].replace("/", "-")
        reply = load(server, name, CORPUS / "artifacts" / case["file"])
        promise = case["promise"].get(RUNTIME, "bits")
        if promise.startswith("refuse"):
            assert "was saved by XGBoost" in error_of(500, reply.body), case["file"]
            continue
        assert reply.status == 200, reply
        answer = server.client.invoke(name, body(MANIFEST["rows"][case["rows"]]))
        assert answer.status == 200, answer
        predicted = np.array(json.loads(answer.body), dtype=np.float32)
        expected = np.array(case["expected"], dtype=np.float32).reshape(predicted.shape)
        if case["sorted_ok"] and prepare.RUNTIME >= (3, 4, 0):
            expected = np.sort(expected, axis=1)
        most = 1e-6 if case["file"] in LAST_BIT else 0
        np.testing.assert_allclose(predicted, expected, rtol=most, atol=0, err_msg=case["file"])
        assert server.client.unload(name).status == 200


def test_damaged(server: Server) -> None:
    """Each is refused or served as its name says, and no neighbour notices."""
    before = server.client.invoke("bystander", ROW).body
    shard = server.pid("mme-shard")
    row = ",".join(map(repr, DAMAGED["row"])).encode()
    for case in DAMAGED["files"]:
        name = case["file"]
        reply = load(server, name, CORPUS / "damaged" / name)
        if case["verdict"] == "ok":
            answer = server.client.invoke(name, row)
            assert (answer.status, json.loads(answer.body)) == (200, [DAMAGED["expected_of_ok"]])
        elif case["verdict"] == "refuse":
            assert reply.status == 500, (name, reply)
            assert "\n" not in error_of(500, reply.body)
        elif reply.status == 200:
            assert server.client.invoke(name, row).status in (200, 500)
        if reply.status == 200:
            assert server.client.unload(name).status == 200
        assert server.client.invoke("bystander", ROW).body == before, name
        assert server.client.healthy()
    assert server.pid("mme-shard") == shard
