"""Many models and much work: nothing is left behind, nothing long keeps others waiting."""

import concurrent.futures
import gc
import json
from pathlib import Path

import numpy as np
import pytest
import xgboost

from benchmarks.processes import cpu_seconds, memory_bytes
from mme.client import Client
from mme.process_tree import anonymous_bytes
from tests.support import FEATURES, SOON_SECONDS, Serve, Server, saved, train, wait_until

ROW = b"1,2,3,4,5,6"
MIB = 1024**2
ROUNDS, WARM_ROUNDS = 2000, 500


def children(server: Server) -> list[int]:
    """The processes that hold models."""
    return server.processes()["mme-shard"]


def holdings(server: Server, private: Path) -> dict[str, object]:
    """Which processes live, how many files each has open, what lies in the private directory.

    Of the disposable processes only that there are no more than there may be: they come and go.
    """
    lasting = {name: pids for name, pids in server.processes().items() if name != "mme-try"}
    return {
        "processes": lasting,
        "files": {
            pid: len(list(Path(f"/proc/{pid}/fd").iterdir()))
            for pids in lasting.values()
            for pid in pids
        },
        "private": sorted(path.name for path in private.rglob("*")),
        "few": len(server.processes().get("mme-try", [])) <= 5,
    }


def memory_of(server: Server) -> tuple[int, int]:
    """Bytes of our processes, the disposable ones among them, and of Java."""
    (java,) = server.processes()["java"]
    return anonymous_bytes(server.process.pid) - anonymous_bytes(java), anonymous_bytes(java)


def live(server: Server, url: str, rounds: int, expected: bytes) -> None:
    """Load a model, ask it, unload it; so many times, under names of which some come again."""
    for number in range(rounds):
        name = f"m{number % 100}"
        assert server.client.load(name, url).status == 200
        reply = server.client.invoke(name, ROW)
        assert (reply.status, reply.body) == (200, expected)
        assert server.client.unload(name).status == 200


def test_nothing_is_left_of_2000_rounds(serve: Serve, tmp_path: Path) -> None:
    """After 2,000 loads and unloads: the same processes, open files and files, the same memory."""
    server = serve(TMPDIR=str(tmp_path))
    url = server.put("m", {"m.ubj": saved(train(max_depth=8))})
    assert server.client.load("first", url).status == 200
    expected = server.client.invoke("first", ROW).body
    live(server, url, WARM_ROUNDS, expected)
    gc.collect()
    before = holdings(server, tmp_path)
    ours, java = memory_of(server)
    live(server, url, ROUNDS, expected)
    wait_until(lambda: holdings(server, tmp_path) == before, SOON_SECONDS, "as before")
    ours_now, java_now = memory_of(server)
    assert ours_now - ours < 10 * MIB  # a model that stayed would be 2,000 times 30 KB
    assert java_now - java < 40 * MIB  # it still compiles; no model ever comes to it
    assert [model["modelName"] for model in server.client.models()] == ["first"]


def test_memory_goes_back(serve: Serve) -> None:
    """What 1,500 models took is the system's again when they are unloaded."""
    server = serve(MME_SHARDS="1")
    url = server.put("m", {"m.ubj": saved(train(max_depth=8, num_parallel_tree=4))})
    assert server.client.load("first", url).status == 200
    (worker,) = children(server)
    before = memory_bytes(worker)
    for number in range(1500):
        assert server.client.load(f"m{number}", url).status == 200
    full = memory_bytes(worker)
    assert full - before > 30 * MIB
    for number in range(1500):
        assert server.client.unload(f"m{number}").status == 200
    assert memory_bytes(worker) - before < 0.3 * (full - before)


@pytest.mark.parametrize("what", ["rows", "load"])
def test_long_work_lets_others_pass(what: str, serve: Serve, booster: xgboost.Booster) -> None:
    """While one shard decodes 10 MB, or loads a large model, its other models answer."""
    server = serve(MME_SHARDS="1")
    url = server.put("m", {"m.ubj": saved(booster)})
    rows = np.random.default_rng(0).normal(size=(100_000, FEATURES)).astype(np.float32)
    labels = rows.sum(axis=1)
    large = xgboost.train({"max_depth": 10}, xgboost.DMatrix(rows, label=labels), 100)
    large_url = server.put("large", {"m.json": saved(large, "json")})
    body = b"\n".join([ROW] * 900_000)
    for name in ("m", "other"):
        assert server.client.load(name, url).status == 200
    expected = server.client.invoke("m", ROW).body

    def long_work() -> int:
        with Client("127.0.0.1", server.port) as client:
            if what == "rows":
                return client.invoke("other", body).status
            return client.load("large", large_url).status

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        work = pool.submit(long_work)
        answered = 0
        while not work.done():
            reply = server.client.invoke("m", ROW)
            assert (reply.status, reply.body) == (200, expected)
            answered += 1
        assert work.result() == 200
    assert answered > 5  # the first would have waited for the end


def test_a_hot_model_uses_more_shards(serve: Serve) -> None:
    """Requests that wait for one model take a second shard, which answers the same."""
    server = serve(MME_SHARDS="2")
    booster = train(max_depth=8, num_parallel_tree=20)
    url = server.put("m", {"m.ubj": saved(booster)})
    rows = np.random.default_rng(1).normal(size=(3000, FEATURES)).astype(np.float32)
    body = "\n".join(",".join(map(repr, row)) for row in rows.astype(float).tolist()).encode()
    expected = booster.predict(xgboost.DMatrix(rows)).tolist()
    assert server.client.load("hot", url).status == 200
    over = False

    def ask() -> int:
        asked = 0
        with Client("127.0.0.1", server.port) as client:
            while not over:
                reply = client.invoke("hot", body)
                assert (reply.status, json.loads(reply.body)) == (200, expected)
                asked += 1
        return asked

    def seconds() -> list[float]:
        return [sum(cpu_seconds(child).values()) for child in children(server)]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        try:
            asking = [pool.submit(ask) for _ in range(6)]
            wait_until(lambda: min(seconds()) > 0.5, 30, "work in both shards")
        finally:
            over = True
        assert all(one.result() for one in asking)
    assert server.client.unload("hot").status == 200
    assert server.client.invoke("hot", ROW).status == 404
    assert server.client.load("hot", url).status == 200
    assert json.loads(server.client.invoke("hot", body).body) == expected
