"""A. Calls that load, or are made meanwhile, and fail: each row of the fault table by its id."""

import concurrent.futures
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mme.client import Client
from tests.faults.conftest import (
    BUSY_SECONDS,
    INVOKE_SECONDS,
    LOAD_SECONDS,
    ROW,
    Site,
    error,
    injected,
)
from tests.support import SOON_SECONDS, Serve, saved, train, wait_until


@pytest.mark.parametrize(
    ("field", "value"), [("handler", "evil:handle"), ("runtime", "python2")], ids=["f26", "f27"]
)
def test_f26_f27_fields_that_run_code(site: Site, field: str, value: str) -> None:
    """A load that names a handler or a runtime: 400, "is not accepted", at once."""
    name = site.new_name()
    body = {"model_name": name, "url": site.sound_url(), field: value}
    begun = time.monotonic()
    with site.watched():
        reply = site.client.call("POST", "/models", json.dumps(body).encode())
        error(reply, 400, f"{field} is not accepted")
    assert time.monotonic() - begun < BUSY_SECONDS
    site.refused_load(404, name, str(site.server.root / "absent"))


@pytest.mark.parametrize("workers", [0, -1])
def test_f28_workers(site: Site, workers: int) -> None:
    """initial_workers in a load: ignored; PUT: 405."""
    name = site.new_name()
    body = {"model_name": name, "url": site.sound_url(), "initial_workers": workers}
    assert site.client.call("POST", "/models", json.dumps(body).encode()).status == 200
    error(site.client.call("PUT", f"/models/{name}?max_worker=0"), 405)
    site.ask_again(name)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'"x"', b'{"url": "/x"}', b'{"model_name": 1, "url": "/x"}', b"\xff"],
)
def test_f29_body(site: Site, body: bytes) -> None:
    """A load whose body is not what it should be: 400, with what it should be."""
    reply = site.client.call("POST", "/models", body)
    error(reply, 400, "JSON object with model_name and url")


def test_f30_f94_f96_url(site: Site) -> None:
    """A URL of another machine: 400, and no connection is made: nothing to redirect or to tag."""
    hits = []
    with socket.create_server(("127.0.0.1", 0)) as listener, site.watched(bystander=False):
        listener.settimeout(0.5)
        for scheme in ("http", "https", "ftp", "s3"):
            url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/model.zip"
            error(site.client.load(site.new_name(), url), 400, "below the model root")
        with contextlib.suppress(TimeoutError):
            hits.append(listener.accept())
    assert hits == []


@pytest.mark.parametrize(
    "url", ["/etc", "//etc", "/proc/self/cwd", "/etc/passwd", "/no/such", "/opt/../etc"]
)
def test_f31_outside_the_root(site: Site, url: str) -> None:
    """A path outside the model root: 400, in the same words if it exists or not."""
    words = site.refused_load(400, site.new_name(), url)
    assert words == site.refused_load(400, site.new_name(), "/also/not/there")


@pytest.mark.parametrize("url", ["../..", "", "file:///etc", "model", "\0"])
def test_f32_no_path(site: Site, url: str) -> None:
    """What is no absolute path: 400."""
    site.refused_load(400, site.new_name(), url)


@pytest.mark.parametrize("name", ["a/b", "../x", "a\nb", "x" * 300, "", ".x", "-x", "a\tb", "\x7f"])
def test_f33_name(site: Site, name: str) -> None:
    """A name with a slash, a control character, a leading dot or dash, or too long: 400, "name"."""
    error(site.client.load(name, site.sound_url()), 400, "name")


@pytest.mark.parametrize("name", ["$(id)", "a b", "größe", "x" * 256, "a%2Fb", "a;b", "%", "a?b#c"])
def test_f33_odd_names(site: Site, name: str) -> None:
    """Any other name can be loaded, invoked and unloaded."""
    site.good(name)
    assert site.client.unload(name).status == 200


def test_f34_option_as_name(site: Site) -> None:
    """The name --handler: 400, and nobody notices."""
    with site.watched():
        error(site.client.load("--handler", site.sound_url()), 400, "name")


def _load_at_once(site: Site, names: list[str]) -> list[int]:
    def load(name: str) -> int:
        with Client("127.0.0.1", site.server.port) as client:
            reply = client.load(name, site.sound_url())
            assert reply.status in (200, 409), reply
            return reply.status

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        return list(pool.map(load, names))


def test_f35_same_name_at_once(site: Site) -> None:
    """The same name eight times at once: one 200, seven 409."""
    statuses = _load_at_once(site, [site.new_name()] * 8)
    assert sorted(statuses) == [200] + [409] * 7


def test_f36_many_loads_at_once(sites: Callable[..., Site]) -> None:
    """A thousand loads at once: all 200, a few at a time, and nobody waits long meanwhile."""
    site = sites()
    names = [f"many{number}" for number in range(1000)]
    with site.watched():
        statuses = _load_at_once(site, names)
    assert set(statuses) == {200}


def test_f37_no_memory_for_a_load(serve: Serve) -> None:
    """No memory for a model: 507, ten times over, and nothing is left of it."""
    server = serve(MME_SHARDS="1", MME_MEMORY_RESERVE_MB="100000000")  # more than there is
    files = {}
    for number in range(10):
        url = server.put(f"m{number}", {"m.ubj": saved(train())})
        error(server.client.load("m", url), 507, "no memory for a model", "unload models")
        assert list(server.client.models()) == []
        assert server.client.unload("m").status == 404
        files[number] = len(list(Path(f"/proc/{server.pid('mme-shard')}/fd").iterdir()))
    assert files[9] <= files[1]


def test_f37_load_that_swells(site: Site) -> None:
    """A load that wants more memory than its file can explain: 500, since no unload would help."""
    with site.nothing_left(), site.watched():
        site.refused(500, {"m.ubj": injected(train(), "memory")}, "wants more memory")


def test_f37_file_larger_than_memory(site: Site) -> None:
    """A file is larger than what is free: 507, before it is read."""
    url = site.put({"m.ubj": b"{L"})
    os.truncate(Path(url) / "m.ubj", 2**40)
    with site.nothing_left(), site.watched():
        site.refused_load(507, site.new_name(), url, "no memory")


def test_f38_load_killed(site: Site) -> None:
    """The load's process is killed: 500, "crashed (SIGKILL)"; 507 if memory was out."""
    with site.watched():
        site.refused(500, {"m.ubj": injected(train(), "kill")}, "crashed (SIGKILL)")


@pytest.mark.parametrize("fault", ["sleep", "gil", "stop"], ids=["f39", "f40", "f40-stopped"])
def test_f39_f40_load_hangs(site: Site, fault: str) -> None:
    """The load hangs, asleep, in C with the interpreter's lock, or stopped: 500, "did not load"."""
    begun = time.monotonic()
    with site.nothing_left(), site.watched():
        name = site.new_name()
        url = site.server.put(name, {"m.ubj": injected(train(), fault)})
        error(site.client.load(name, url), 500, "did not load in")
        assert time.monotonic() - begun < LOAD_SECONDS + BUSY_SECONDS
        site.refused_load(404, name, str(site.server.root / "absent"))


def test_f41_script(site: Site, tmp_path: Path) -> None:
    """A script among the files: never run, whatever it would do; the model beside it serves."""
    canary = tmp_path / "canary"
    code = f"open({str(canary)!r}, 'w')\nraise SystemExit".encode()
    with site.nothing_left():
        site.refused(500, {"inference.py": code}, "no model file", "inference.py")
    name = site.new_name()
    url = site.put({"m.ubj": site.sound, "inference.py": code, "sitecustomize.py": code})
    assert site.client.load(name, url).status == 200
    site.ask_again(name)
    assert not canary.exists()
    assert site.client.unload(name).status == 200


def test_f42_unload_during_load(site: Site) -> None:
    """DELETE while the model loads: 200; the load answers 409, "unloaded while loading"."""
    name = site.new_name()
    url = site.server.put(name, {"m.ubj": injected(train(), "slow")})
    with site.nothing_left():
        replies = []

        def load() -> None:
            with Client("127.0.0.1", site.server.port) as client:
                replies.append(client.load(name, url))

        loading = threading.Thread(target=load)
        loading.start()
        wait_until(lambda: site.client.describe(name).status == 200, SOON_SECONDS, "the load")
        assert site.client.unload(name).status == 200
        loading.join(30)
        error(replies[0], 409, "unloaded while loading")
    site.refused_load(404, name, str(site.server.root / "absent"))


def test_f43_invoke_during_load(site: Site) -> None:
    """An invocation while the model loads: it waits, and is answered."""
    name = site.new_name()
    url = site.server.put(name, {"m.ubj": injected(train(), "slow")})

    def load() -> None:
        with Client("127.0.0.1", site.server.port) as client:
            client.load(name, url)

    loading = threading.Thread(target=load)
    loading.start()
    wait_until(lambda: site.client.describe(name).status == 200, SOON_SECONDS, "the load")
    begun = time.monotonic()
    assert site.client.invoke(name, ROW).status == 200
    assert time.monotonic() - begun < INVOKE_SECONDS
    loading.join(30)


def test_f44_descriptors(serve: Serve, faulty_worker: str) -> None:
    """Descriptors run out: those beyond get 503, "descriptors", and the rest goes on."""
    server = serve(MME_SHARDS="1", MME_WORKER=faulty_worker, MME_MAX_CONNECTIONS="40")
    site = Site(server)
    full = []
    with site.watched():
        try:
            for _ in range(100):
                connection = socket.create_connection(("127.0.0.1", server.port), 10)
                connection.sendall(b"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
                full.append(connection)
            answers = b"".join(connection.recv(4096) for connection in full[-20:])
        finally:
            for connection in full:
                connection.close()
    assert answers.count(b"HTTP/1.1 503 ") == 20
    assert answers.count(b"Retry-After: 1") == 20
    assert b"descriptors" in answers
    site.client.close()  # its connection was idle, and so may have made room for another

    def room() -> bool:
        return site.client.invoke("bystander", ROW).status == 200

    wait_until(room, SOON_SECONDS, "the end of those connections")
    site.ask_again("bystander")
