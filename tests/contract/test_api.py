"""The multi-model container API, call by call, against the real running container."""

import json
from pathlib import Path

import pytest
import xgboost

from tests.support import Server, error_of, saved, train

CSV_ROW = b"1,2,3,4,5,6\n"


def test_ping(server: Server) -> None:
    """A healthy container answers 200."""
    assert server.client.call("GET", "/ping").status == 200


def test_empty_list(server: Server) -> None:
    """With nothing loaded the list is empty, in MMS's own bytes."""
    reply = server.client.call("GET", "/models")
    assert (reply.status, reply.body) == (200, b'{\n  "models": []\n}\n')
    assert reply.headers["content-type"] == "application/json"


def test_life_of_a_model(server: Server, booster: xgboost.Booster) -> None:
    """Load, list, describe, invoke and unload answer as the platform expects."""
    url = server.put("life", {"model.ubj": saved(booster)})
    assert server.client.load("life", url).body == b'{\n  "status": "Workers scaled"\n}\n'
    listed = json.loads(server.client.call("GET", "/models").body)
    assert listed == {"models": [{"modelName": "life", "modelUrl": url}]}
    described = server.client.describe("life")
    assert (described.status, json.loads(described.body)) == (200, listed["models"][0])
    assert server.client.invoke("life", CSV_ROW).status == 200
    unloaded = server.client.unload("life")
    assert (unloaded.status, unloaded.body) == (
        200,
        b'{\n  "status": "Model \\"life\\" unregistered"\n}\n',
    )
    for gone in (
        server.client.describe("life"),
        server.client.unload("life"),
        server.client.invoke("life", CSV_ROW),
    ):
        assert gone.status == 404
        assert error_of(404, gone.body) == "Model not found: life"


def test_loaded_twice(server: Server, booster: xgboost.Booster) -> None:
    """A second load of the same name is a conflict and changes nothing."""
    url = server.put("twice", {"model.json": saved(booster, "json")})
    assert server.client.load("twice", url).status == 200
    again = server.client.load("twice", url)
    assert error_of(409, again.body) == "Model twice is already registered."
    assert server.client.invoke("twice", CSV_ROW).status == 200
    assert server.client.unload("twice").status == 200


def test_pages(server: Server, booster: xgboost.Booster) -> None:
    """Every model is listed once, in order, and a full last page is the last."""
    url = server.put("pages", {"xgboost-model": saved(booster)})
    names = [f"page-{number}" for number in range(6)]
    for name in names:
        assert server.client.load(name, url).status == 200
    assert [model["modelName"] for model in server.client.models(limit=3)] == names
    first = json.loads(server.client.call("GET", "/models?limit=3").body)
    assert first["nextPageToken"] == "3"
    last = json.loads(server.client.call("GET", "/models?limit=3&next_page_token=3").body)
    assert "nextPageToken" not in last
    for odd in ("limit=0", "limit=101", "limit=x", "next_page_token=-1", "limit=%31%30%30%30"):
        assert len(json.loads(server.client.call("GET", f"/models?{odd}").body)["models"]) == 6
    for name in names:
        assert server.client.unload(name).status == 200


@pytest.mark.parametrize("name", ["Zürich", "a b", "100%", "model.tar.gz", "x" * 256, "a?b#c"])
def test_odd_but_sound_names(server: Server, booster: xgboost.Booster, name: str) -> None:
    """A name is opaque: what a URL can carry can be loaded, invoked and unloaded."""
    url = server.put(f"odd-{abs(hash(name))}", {"model.ubj": saved(booster)})
    assert server.client.load(name, url).status == 200
    assert server.client.describe(name).status == 200
    assert server.client.invoke(name, CSV_ROW).status == 200
    assert server.client.unload(name).status == 200


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a\nb", "-x", "--handler", ".x", "x" * 257])
def test_names_that_are_refused(server: Server, tmp_path: Path, name: str) -> None:
    """A name that could be taken for a path, an option or a second log line is refused."""
    reply = server.client.load(name, str(tmp_path))
    assert reply.status == 400
    assert "name" in error_of(400, reply.body)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b"null", b'{"model_name": "x"}', b'{"model_name": 1, "url": 2}', b"\xff"],
)
def test_load_bodies_that_are_refused(server: Server, body: bytes) -> None:
    """A body that is no load request is the client's fault and says what it must be."""
    reply = server.client.call("POST", "/models", body)
    assert reply.status == 400
    assert "model_name and url" in error_of(400, reply.body)


@pytest.mark.parametrize("field", ["handler", "runtime"])
def test_load_fields_that_are_refused(server: Server, field: str) -> None:
    """A load request cannot choose the code that serves the model."""
    body = json.dumps({"model_name": "x", "url": str(server.root), field: "x.py"}).encode()
    reply = server.client.call("POST", "/models", body)
    assert reply.status == 400
    assert f"{field} is not accepted" in error_of(400, reply.body)


@pytest.mark.parametrize(
    "url",
    [
        "/etc",
        "//etc",
        "/etc/passwd",
        "/proc/self/cwd",
        "/nowhere",
        "",
        "../..",
        "file:///etc",
        "http://127.0.0.1:9/model.tar.gz",
        "a\x00b",
    ],
)
def test_urls_outside_the_root(server: Server, url: str) -> None:
    """What is not below the model root is refused, in the same words whether or not it exists."""
    reply = server.client.load("outside", url)
    assert reply.status == 400
    assert "below the model root" in error_of(400, reply.body)


def test_link_out_of_the_root(server: Server) -> None:
    """A link below the root that leads out of it is refused."""
    (server.root / "link").symlink_to("/etc")
    reply = server.client.load("link", str(server.root / "link"))
    assert "below the model root" in error_of(400, reply.body)


def test_no_such_directory(server: Server) -> None:
    """A directory that is not there is 404, and nothing is listed."""
    reply = server.client.load("missing", str(server.root / "missing" / "model"))
    assert reply.status == 404
    assert "no such directory" in error_of(404, reply.body)
    long = server.client.load("missing", str(server.root / ("x" * 300)))
    assert "File name too long" in error_of(404, long.body)
    assert list(server.client.models()) == []


def test_a_file_for_a_directory(server: Server) -> None:
    """An archive that was not unpacked is refused, and is not unpacked."""
    (server.root / "model.tar.gz").touch()
    reply = server.client.load("file", str(server.root / "model.tar.gz"))
    assert "not a file" in error_of(400, reply.body)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no model file"),
        ({"readme.txt": b"hello"}, "readme.txt"),
        ({"model.ubj": b""}, "empty"),
        ({"model.json": b'{"learner": '}, "damaged"),
        ({"a.ubj": saved(train()), "b.ubj": saved(train("rank:pairwise"))}, "several model files"),
        (
            {"model.json": saved(train(), "json").replace(b'"version":[3,', b'"version":[9,')},
            "saved by XGBoost 9.",
        ),
    ],
)
def test_models_that_cannot_be_loaded(
    server: Server, booster: xgboost.Booster, files: dict[str, bytes], words: str
) -> None:
    """A broken artifact is never answered with 200: the answer says why and nothing is left."""
    url = server.put(f"broken-{abs(hash(words))}", files)
    reply = server.client.load("broken", url)
    assert reply.status == 500
    assert words in error_of(500, reply.body)
    assert server.client.describe("broken").status == 404
    assert server.client.unload("broken").status == 404
    good = server.put(f"mended-{abs(hash(words))}", {"model.ubj": saved(booster)})
    assert server.client.load("broken", good).status == 200
    assert server.client.unload("broken").status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/ping", "GET"),
        ("PUT", "/models", "GET, POST"),
        ("PUT", "/models/x?max_worker=0", "DELETE, GET"),
        ("GET", "/models/x/invoke", "POST"),
        ("DELETE", "/models/x/invoke", "POST"),
    ],
)
def test_methods_that_are_not_allowed(server: Server, method: str, path: str, allowed: str) -> None:
    """A method that a path does not have is 405, with those that it has."""
    reply = server.client.call(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
    error_of(405, reply.body)


@pytest.mark.parametrize(
    "path", ["/", "/predictions/shard-0", "/models/x/y", "/invocations", "/a/b/c/d"]
)
def test_paths_that_are_not_there(server: Server, path: str) -> None:
    """Nothing but the API is reachable: MMS's own paths are not."""
    assert error_of(404, server.client.call("POST", path, b"1").body)
