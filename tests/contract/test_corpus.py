"""Artifacts of all releases, and damaged ones, over HTTP in the real container."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handler import prepare
from mme.client import Reply
from tests.support import Serve, Server, alive, error_of, saved, train

CORPUS = Path(__file__).parent.parent / "corpus"
MANIFEST = json.loads((CORPUS / "artifacts" / "manifest.json").read_text())
DAMAGED = json.loads((CORPUS / "damaged" / "manifest.json").read_text())
RUNTIME = ".".join(map(str, prepare.RUNTIME))
# Equal to a millionth: its release weighed trees in another order.
LAST_BIT = {"1.3.3/dartmulti.model"}
ROW = b"1,2,3,4,5,6"
MADE = "x"  # the folder that the hostile pickle makes where its process is


@pytest.fixture(scope="module")
def server(keep_serving: Serve) -> Server:
    """A container with a model that should notice nothing of the others."""
    one = keep_serving(MME_SHARDS="1")
    url = one.put("bystander", {"m.ubj": saved(train())})
    assert one.client.load("bystander", url).status == 200
    return one


def body(rows: list[list[float | None]]) -> bytes:
    return "\n".join(",".join("" if v is None else repr(v) for v in row) for row in rows).encode()


def places(server: Server) -> set[Path]:
    """Where the server's processes are."""
    pids = [pid for found in server.processes().values() for pid in found]
    return {Path(f"/proc/{pid}/cwd").resolve() for pid in pids if alive([pid])}


def load(server: Server, name: str, file: Path) -> Reply:
    return server.client.load(name, server.put(name, {file.name: file.read_bytes()}))


def test_all_are_there() -> None:
    """No file of the corpus is left out below."""
    for folder, cases, count in (
        ("artifacts", MANIFEST["artifacts"], 300),
        ("damaged", DAMAGED["files"], 47),
    ):
        home = CORPUS / folder
        files = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
        assert {case["file"] for case in cases} == files - {"manifest.json"}
        assert len(cases) == count


@pytest.mark.parametrize("writer", sorted({case["writer"] for case in MANIFEST["artifacts"]}))
def test_artifacts(server: Server, writer: str) -> None:
    """Each answers as its writer did, or is refused as of a newer release."""
    cases = [case for case in MANIFEST["artifacts"] if case["writer"] == writer]
    for case in cases:
        name = case["file"].replace("/", "-")
        reply = load(server, name, CORPUS / "artifacts" / case["file"])
        promise = case["promise"].get(RUNTIME, "bits")
        if promise.startswith("refuse"):
            assert "was saved by XGBoost" in error_of(500, reply.body), case["file"]
            assert server.client.describe(name).status == 404
            continue
        assert reply.status == 200, reply
        answer = server.client.invoke(name, body(MANIFEST["rows"][case["rows"]]))
        assert answer.status == 200, answer
        predicted = np.array(json.loads(answer.body), dtype=np.float32)
        expected = np.array(case["expected"], dtype=np.float32).reshape(predicted.shape)
        if case["sorted_ok"] and prepare.RUNTIME >= (3, 4, 0):
            expected = np.sort(expected, axis=1)
        last_bit = case["file"] in LAST_BIT
        assert not last_bit or promise == "1e-6"
        most = 1e-6 if last_bit else 0
        np.testing.assert_allclose(predicted, expected, rtol=most, atol=0, err_msg=case["file"])
        assert server.client.unload(name).status == 200


def test_damaged(server: Server) -> None:
    """Each is refused or served as its name says, and no neighbour notices."""
    before = server.client.invoke("bystander", ROW)
    assert before.status == 200
    workers = server.pid("mme-worker"), server.pid("mme-shard")
    marks = {place / MADE for place in places(server)}
    assert not any(mark.exists() for mark in marks)
    row = ",".join(map(repr, DAMAGED["row"])).encode()
    for case in DAMAGED["files"]:
        name = case["file"]
        assert name.startswith(case["verdict"])
        reply = load(server, name, CORPUS / "damaged" / name)
        if reply.status == 200:
            assert case["verdict"] in ("ok", "any"), name
            answer = server.client.invoke(name, row)
            if case["verdict"] == "ok":
                assert json.loads(answer.body) == [DAMAGED["expected_of_ok"]], name
            assert answer.status in (200, 500), (name, answer)
            assert server.client.unload(name).status == 200
        else:
            assert case["verdict"] in ("refuse", "any"), (name, reply)
            assert reply.status == 500, (name, reply)
            assert "\n" not in error_of(500, reply.body)
            assert server.client.describe(name).status == 404
        assert server.client.invoke("bystander", ROW).body == before.body, name
        assert server.client.healthy()
        assert not any(mark.exists() for mark in marks), name
    assert (server.pid("mme-worker"), server.pid("mme-shard")) == workers


class Hostile:
    """A pickle of it makes a folder when it is run."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.made),)


def test_nothing_is_executed(server: Server, tmp_path: Path) -> None:
    """A pickle that makes a folder when it is run makes none in the container."""
    made = tmp_path / "made"
    data = pickle.dumps(Hostile(made))
    url = server.put("hostile", {"m.pkl": data})
    message = error_of(500, server.client.load("hostile", url).body)
    assert "mkdir" in message
    assert not made.exists()
    pickle.loads(data)  # noqa: S301  # made above
    assert made.is_dir()  # so that would have been seen
