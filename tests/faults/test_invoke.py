"""B. Invocations that fail on their way, each row of the fault table by its id."""

import concurrent.futures
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
import xgboost

from mme.client import Client, Reply
from tests.faults import injected
from tests.faults.conftest import (
    BUSY_SECONDS,
    INVOKE_SECONDS,
    ROW,
    Site,
    error,
    row,
)
from tests.support import FEATURES, SOON_SECONDS, Serve, saved, train, wait_until

SLOW = row(injected.SLOW) + (b"\n" + ROW) * 6000


def test_f60_client_leaves(serve: Serve, faulty_worker: str) -> None:
    """Clients leave while they wait in the queue: their requests are dropped, not computed."""
    server = serve(MME_SHARDS="1", MME_LANES="1", MME_WORKER=faulty_worker)
    site = Site(server)
    name = "left"
    site.good(name)
    first = site.in_flight(name, SLOW)
    wait_until(lambda: in_flight(site) >= 2, SOON_SECONDS, "the first request")
    head = b"POST /models/left/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    body = row(injected.SLOW)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: in_flight(site) >= 3, SOON_SECONDS, "a request in the queue")
    begun = time.monotonic()
    assert site.client.invoke(name, ROW).status == 200
    assert time.monotonic() - begun < BUSY_SECONDS  # behind one slow request, not eleven
    assert first.result().status == 200
    _, output = server.stop()
    left = [json.loads(line) for line in output.splitlines() if '"status": 499' in line]
    assert len(left) == 10


def in_flight(site: Site) -> int:
    """Requests that the gate has, this question among them."""
    text = site.client.call("GET", "/metrics").body.decode()
    return int(
        float(next(x for x in text.splitlines() if x.startswith("mme_in_flight ")).split()[1])
    )


def test_f61_pipelining(site: Site, model: str) -> None:
    """A slow request and a fast one on one connection: answered in order, each with its id."""
    slow, fast = row(injected.SLOW) + b"\n" + b"\n".join([ROW] * 6000), ROW
    parts = [
        b"POST /models/%b/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (name.encode(), len(body), body)
        for name, body in ((model, slow), ("bystander", fast))
    ]
    with socket.create_connection(("127.0.0.1", site.server.port), 30) as connection:
        connection.sendall(b"".join(parts))
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 2 or not received.endswith(site.expected):
            received += connection.recv(65536)
    one, other = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(json.loads(one.partition(b"\r\n\r\n")[2])) == 6001
    assert other.endswith(site.expected)
    ids = [answer.partition(b"X-Request-Id: ")[2].partition(b"\r\n")[0] for answer in (one, other)]
    assert all(ids)
    assert ids[0] != ids[1]


def test_f62_large_answer(serve: Serve) -> None:
    """An answer over the limit: 400, "send fewer rows", at once; the limit is 100 MB as a rule."""
    server = serve(MME_SHARDS="1", MME_MAX_RESPONSE_BYTES="100000")
    site = Site(server)
    many = b"\n".join([ROW] * 20_000)
    error(site.client.invoke("bystander", many), 400, "send fewer rows")
    site.ask_again("bystander")


@pytest.mark.parametrize(
    ("mark", "how"),
    [
        (injected.SEGV, "crashed (SIGSEGV)"),
        (injected.EXIT, "crashed (exit status 3)"),
        (injected.EXIT_0, "crashed (exit status 0)"),
        (injected.KILL, "crashed (SIGKILL)"),
    ],
    ids=["segfault", "exit", "exit-0", "f67"],
)
def test_f63_f67_prediction_crashes(site: Site, model: str, mark: int, how: str) -> None:
    """A prediction crashes: 500, "the model crashed (SIGSEGV)", to that request alone.

    Others in the same process are answered; the model goes on in a process of its own.
    """
    site.good(other := site.new_name())
    beside = [site.in_flight(other, SLOW) for _ in range(2)]
    with site.nothing_left(), site.watched():
        error(site.client.invoke(model, row(mark)), 500, how)
        site.ask_again(model)
        site.ask_again(model)
    assert [one.result().status for one in beside] == [200, 200]


@pytest.mark.parametrize(
    "mark", [injected.SLEEP, injected.GIL, injected.STOP], ids=["f64", "f64-gil", "f65"]
)
def test_f64_f65_prediction_hangs(site: Site, model: str, mark: int) -> None:
    """A prediction hangs, asleep or stopped: 500, "no answer", in time; nobody else notices."""
    with site.nothing_left(), site.watched():
        asked = [site.in_flight(model, row(mark)) for _ in range(3)]
        replies = [one.result() for one in asked]
        assert max(one.seconds for one in asked) < INVOKE_SECONDS + 5  # not twice that
    late = [error(reply, 500, "no answer in") for reply in replies if reply.status != 503]
    assert late  # the others wait for its verdict, and may be told that the model rests
    for reply in replies:
        if reply.status == 503:
            error(reply, 503, "it rests")
    wait_until(lambda: site.client.invoke(model, ROW).status == 200, 10, "the model's answer")


def test_f66_prediction_without_memory(site: Site, model: str) -> None:
    """A prediction finds no memory: 507."""
    with site.watched():
        error(site.client.invoke(model, row(injected.MEMORY)), 507, "not enough memory")
    site.ask_again(model)


def test_f67_worker_killed_once(site: Site, model: str) -> None:
    """The worker is killed from outside in a prediction: it is asked again, 200."""
    asked = site.in_flight(model, SLOW)
    wait_until(lambda: in_flight(site) >= 2, SOON_SECONDS, "the request")
    os.kill(site.server.pid("mme-shard"), signal.SIGKILL)
    assert asked.result().status == 200
    site.ask_again(model)


def test_f68_queue_full(site: Site, model: str) -> None:
    """Too many requests at once for one model: 200 or 503 "queue full", with Retry-After."""

    def ask(_: int) -> Reply:
        with Client("127.0.0.1", site.server.port) as client:
            return client.invoke(model, ROW)

    slow = [site.in_flight(model, SLOW) for _ in range(6)]
    with concurrent.futures.ThreadPoolExecutor(250) as pool:
        replies = list(pool.map(ask, range(1500)))
    assert {reply.status for reply in replies} <= {200, 503}
    for reply in replies:
        if reply.status == 503:
            error(reply, 503, "queue full")
    assert {one.result().status for one in slow} == {200}
    site.ask_again(model)


def test_f69_unload_with_requests_in_flight(site: Site) -> None:
    """DELETE with four in flight: they get 200, new ones 404, and then DELETE 200."""
    name = site.new_name()
    site.good(name)
    asked = [site.in_flight(name, SLOW) for _ in range(4)]
    wait_until(lambda: in_flight(site) >= 5, SOON_SECONDS, "four requests")
    unloaded: list[float] = []

    def unload() -> None:
        with Client("127.0.0.1", site.server.port) as client:
            assert client.unload(name).status == 200
            unloaded.append(time.monotonic())

    unloading = threading.Thread(target=unload)
    unloading.start()
    wait_until(lambda: site.client.describe(name).status == 404, SOON_SECONDS, "the unload")
    error(site.client.invoke(name, ROW), 404)
    assert [one.result().status for one in asked] == [200] * 4
    unloading.join(30)
    assert unloaded[0] > max(one.ended for one in asked) - 0.5  # as these threads saw it


@pytest.mark.parametrize("ids", ["f70", "f71", "f72", "f73"])
def test_f70_f71_f72_f73_scripts(site: Site, ids: str) -> None:
    """Scripts that raise, answer nonsense, print or break their process: no script is run."""
    codes = {
        "f70": b"raise ValueError",
        "f71": b"def handle(data, context): context.set_response_header(0, 'a', 'b\\r\\nc: d')",
        "f72": b"print('[PID] 1' * 100000)",
        "f73": b"import os\nos.close(1)\nos.close(2)\nos.chdir('/')\nos.environ.clear()",
    }
    with site.watched():
        name = site.new_name()
        url = site.put({"m.ubj": site.sound, "inference.py": codes[ids], "code.py": codes[ids]})
        assert site.client.load(name, url).status == 200
        site.ask_again(name)
        assert site.client.unload(name).status == 200


def test_f91_crash_loop(site: Site, model: str) -> None:
    """A model that crashes at each request: soon 503, longer each time; the machine stays idle."""
    statuses = []
    with site.watched():
        begun = time.monotonic()
        while time.monotonic() - begun < 4:
            reply = site.client.invoke(model, row(injected.SEGV))
            statuses.append(reply.status)
            if reply.status == 503:
                error(reply, 503, "it rests")
    assert set(statuses) == {500, 503}
    assert statuses.count(500) <= 4


def test_f92_log_is_not_read(sites: Callable[..., Site]) -> None:
    """Nobody reads the log: lines are dropped and counted, and all is answered in time."""
    site = sites()
    requests = 12_000  # more than the pipe and what is kept hold

    def ask(client: Client) -> None:
        for _ in range(requests // 4):
            assert client.invoke("bystander", ROW).status == 200

    with site.watched():
        clients = [Client("127.0.0.1", site.server.port) for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, clients))
    for client in clients:
        client.close()
    status, output = site.server.stop()
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert any(line["event"] == "log lines dropped" and line["lines"] > 0 for line in lines)


def test_f103_query(site: Site, model: str) -> None:
    """A query beside the body: ignored."""
    reply = site.client.call(
        "POST", f"/models/{model}/invoke?body=9,9,9,9,9,9", ROW, {"Content-Type": "text/csv"}
    )
    assert reply.body == site.expected


def test_models_of_all_widths_beside_crashes(site: Site) -> None:
    """While one model crashes again and again, others of all kinds answer right."""
    names = []
    for seed in range(5):
        booster = train(seed=seed)
        name = site.new_name()
        assert site.client.load(name, site.put({"m.ubj": saved(booster)})).status == 200
        names.append((name, booster))
    bad = site.new_name()
    site.good(bad)
    picks = random.Random(0)  # noqa: S311  # the same each time
    for _ in range(60):
        if picks.random() < 0.1:
            assert site.client.invoke(bad, row(injected.SEGV)).status in (500, 503)
        name, booster = picks.choice(names)
        values = [picks.gauss(0, 1) for _ in range(FEATURES)]
        reply = site.client.invoke(name, ",".join(map(repr, values)).encode())
        predicted = booster.predict(xgboost.DMatrix(np.array([values], dtype=np.float32)))
        assert json.loads(reply.body) == predicted.tolist()
