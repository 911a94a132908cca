"""Many calls at once: each answered once, with its own answer."""

import json
from concurrent.futures import ThreadPoolExecutor

import xgboost

from mme.client import Client
from tests.support import FEATURES, Server, saved, train

ROW = ",".join(["1"] * FEATURES).encode()


def test_one_name_eight_times(server: Server, booster: xgboost.Booster) -> None:
    """Of eight loads of one name at once, exactly one is 200 and the others are conflicts."""
    url = server.put("eight", {"m.ubj": saved(booster)})

    def load(_: int) -> int:
        with Client("127.0.0.1", server.port) as client:
            return client.load("eight", url).status

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(load, range(8)))
    assert statuses == [200] + [409] * 7
    assert server.client.unload("eight").status == 200


def test_life_of_thirty_at_once(server: Server) -> None:
    """Thirty models live their lives at once, and each answers with its own numbers."""
    boosters = [train(seed=seed) for seed in range(30)]
    urls = [server.put(f"at-once-{n}", {"m.ubj": saved(b)}) for n, b in enumerate(boosters)]
    row = xgboost.DMatrix([[1.0] * FEATURES])

    def live(number: int) -> None:
        name = f"at-once-{number}"
        expected = boosters[number].predict(row).tolist()
        with Client("127.0.0.1", server.port) as client:
            for _ in range(3):
                assert client.load(name, urls[number]).status == 200
                for _ in range(10):
                    assert json.loads(client.invoke(name, ROW).body) == expected
                assert client.healthy()
                assert client.unload(name).status == 200
                assert client.invoke(name, ROW).status == 404

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(live, range(30)))
    assert list(server.client.models()) == []
