"""The forest in the real container: off and on, what only XGBoost has, and nothing built."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost

from tests.support import FEATURES, Serve, Server, saved, train

ROOT = Path(__file__).parent.parent.parent
ROW = b"1,2,3,4,5,6"
ATTRIBUTES = {"X-Amzn-SageMaker-Custom-Attributes": "output=contributions"}
OBJECTIVES = ("reg:squarederror", "binary:logistic", "count:poisson", "multi:softprob")
# Worker programs for which the extension was not built.
WITHOUT = """#!{python}
import sys
sys.path.insert(0, {root!r})
sys.modules["handler.forest._forest"] = sys.modules["handler._frames"] = None
import handler.worker
sys.exit(handler.worker.main())
"""


@pytest.fixture(scope="module")
def on_and_off(keep_serving: Serve) -> list[Server]:
    """A server with the forest, and one without."""
    return [keep_serving(MME_FOREST=forest, MME_SHARDS="1") for forest in ("true", "false")]


def model(objective: str) -> xgboost.Booster:
    return train(objective, **({"num_class": 3} if objective.startswith("multi:") else {}))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_same_answers(on_and_off: list[Server], objective: str) -> None:
    """Rows of text, one, many, and such as are refused: the bytes of the answers are the same."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(300, FEATURES)).astype(np.float32).tolist()
    many = "\n".join(",".join(map(repr, row)) for row in rows).encode()
    sparse = "\n".join(
        " ".join(f"{index}:{value!r}" for index, value in enumerate(row) if index % 2)
        for row in rows
    )
    asked = [
        ("text/csv", ROW),
        ("text/csv", many),
        ("text/csv", b"1,,nan,4,5,6\r\n"),
        ("text/csv", b"1,2,3\n"),
        ("text/csv", b"1,2,x,4,5,6\n"),
        ("text/csv", b"1e999,2,3,4,5,6"),
        ("text/libsvm", sparse.encode()),
        ("text/libsvm", b"0 9:1"),
        ("application/json", json.dumps(rows).encode()),
        ("image/png", ROW),
    ]
    answers = []
    for server in on_and_off:
        url = server.put(objective.replace(":", "-"), {"m.ubj": saved(model(objective))})
        assert server.client.load("m", url).status == 200
        path = "/models/m/invoke"
        replies = [
            server.client.call("POST", path, body, {"Content-Type": kind}) for kind, body in asked
        ]
        answers.append([(reply.status, reply.body) for reply in replies])
        assert server.client.unload("m").status == 200
    assert answers[0] == answers[1]
    assert {status for status, _ in answers[0]} == {200, 400, 415}


def test_what_only_xgboost_has(serve: Serve) -> None:
    """A forest that is asked for contributions goes to XGBoost; the client sees nothing of it."""
    server = serve(MME_SHARDS="2")
    url = server.put("m", {"m.ubj": saved(train())})
    assert server.client.load("m", url).status == 200
    before = server.client.invoke("m", ROW)
    headers = {"Content-Type": "text/csv", **ATTRIBUTES}
    for _ in range(2):
        reply = server.client.call("POST", "/models/m/invoke", ROW, headers)
        assert reply.status == 200
        (row,) = json.loads(reply.body)["predictions"]
        assert sum(row["contributions"]) == pytest.approx(json.loads(before.body)[0], rel=1e-5)
    assert server.client.invoke("m", ROW).body == before.body


def test_without_a_compiler(serve: Serve, tmp_path: Path) -> None:
    """Nothing in C was built: XGBoost serves, with the same answers, and the log says so once."""
    program = tmp_path / "mme-worker"
    program.write_text(WITHOUT.format(python=sys.executable, root=str(ROOT)))
    program.chmod(0o755)
    booster, answers, said = train(), [], []
    for worker in ("mme-worker", str(program)):
        server = serve(MME_SHARDS="2", MME_WORKER=worker, MME_FOREST="true")
        url = server.put("m", {"m.ubj": saved(booster)})
        for name in ("m", "n"):
            assert server.client.load(name, url).status == 200
            answers.append(server.client.invoke(name, ROW).body)
        said.append(server.stop()[1].count("the forest was not built"))
    assert len(set(answers)) == 1
    assert said == [0, 1]
