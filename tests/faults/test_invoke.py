"""B. Invocations that fail, each row of the fault table by its id."""

import concurrent.futures
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xgboost

from mme.client import Client, Reply
from tests.faults import injected
from tests.faults.conftest import (
    INVOKE_SECONDS,
    RECEIVE_SECONDS,
    ROW,
    Site,
    error,
    row,
)
from tests.support import FEATURES, Serve, saved, train, wait_until

SLOW = row(injected.SLOW) + (b"\n" + ROW) * 2000


@pytest.fixture
def model(site: Site) -> Iterator[str]:
    """A sound model of the test's own."""
    name = site.new_name()
    site.good(name)
    yield name
    site.client.unload(name)


def test_f45_unknown_model(site: Site) -> None:
    """The model is not loaded: 404."""
    error(site.client.invoke("no-such-model", ROW), 404, "Model not found")


def test_f46_empty_body(site: Site, model: str) -> None:
    """The body is empty: 400, "empty body"."""
    error(site.client.invoke(model, b""), 400, "empty body")
    site.ask_again(model)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "HEAD2"])
def test_f47_method(site: Site, model: str, method: str) -> None:
    """Another method than POST: 405, with what is allowed."""
    if method == "HEAD2":  # no method at all
        answer = site.raw(b"HEAD2 /models/x/invoke HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        return
    reply = site.client.call(method, f"/models/{model}/invoke", ROW)
    error(reply, 405)
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "image/png"},
        {"Content-Type": "text/csv", "Content-Encoding": "gzip"},
        {"Content-Type": "text/csv; charset=utf-16"},
        {},
    ],
)
def test_f48_content_type(site: Site, model: str, headers: dict[str, str]) -> None:
    """A content type, encoding or charset that is not read: 415, with those that are."""
    with site.watched():
        error(site.client.call("POST", f"/models/{model}/invoke", ROW, headers), 415)
    site.ask_again(model)


def test_f49_accept(site: Site, model: str) -> None:
    """An Accept that cannot be served: 406."""
    error(site.client.invoke(model, ROW, accept="image/png"), 406)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"a,b,c,d,e,f", "row 1"),
        (b"1,2,3,4,5,6\n1,2", "row 2"),
        (b"h1,h2,h3,h4,h5,h6\n1,2,3,4,5,6", "row 1"),
        (b"1,2,3\0,4,5,6", "row 1, column 3"),
    ],
)
def test_f50_csv(site: Site, model: str, body: bytes, words: str) -> None:
    """CSV that is not numbers, or not a table: 400, with the row and column."""
    error(site.client.invoke(model, body), 400, words)
    site.ask_again(model)


def test_f50_byte_order_mark(site: Site, model: str) -> None:
    """A byte-order mark before the CSV: skipped."""
    assert site.client.invoke(model, b"\xef\xbb\xbf" + ROW).body == site.expected


@pytest.mark.parametrize("columns", [2, 9])
def test_f51_columns(site: Site, model: str, columns: int) -> None:
    """Too few or many columns: 400, "has 9 columns, the model has 6"."""
    body = b",".join([b"1"] * columns)
    error(site.client.invoke(model, body), 400, f"has {columns} columns, the model has 6")
    site.ask_again(model)


def test_f52_quoted(site: Site, model: str) -> None:
    """Quoted numbers: the same answer as without quotes."""
    assert site.client.invoke(model, b'"1","2",3,"4",5,"6"').body == site.expected


@pytest.mark.parametrize("missing", [b"", b"nan", b"NaN"])
def test_f53_missing(site: Site, model: str, missing: bytes) -> None:
    """An empty field or nan: 200, a missing value."""
    reply = site.client.invoke(model, b"1,%b,3,4,5,6" % missing)
    array = np.array([[1, np.nan, 3, 4, 5, 6]], dtype=np.float32)
    assert json.loads(reply.body) == train().predict(xgboost.DMatrix(array)).tolist()


@pytest.mark.parametrize("value", [b"inf", b"-inf", b"1e999", b"1e39", b"Infinity"])
def test_f54_infinite(site: Site, model: str, value: bytes) -> None:
    """A number that float32 does not hold: 400, with the row and column."""
    error(site.client.invoke(model, b"1,2,%b,4,5,6" % value), 400, "row 1", "column 3")


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"\xff\xfe1,2", "text/csv"), (b"[1, 2", "application/json"), (b"\xff", "application/json")],
)
def test_f55_not_text(site: Site, model: str, body: bytes, kind: str) -> None:
    """Bytes that are not UTF-8, or JSON that is broken: 400."""
    error(site.client.invoke(model, body, kind), 400)
    site.ask_again(model)


@pytest.mark.parametrize("body", [b"1 x:y", b"1 999:1", b"1 0:1 0:2", b"1 -1:3", b"a:b"])
def test_f56_libsvm(site: Site, model: str, body: bytes) -> None:
    """Libsvm that is wrong: 400."""
    error(site.client.invoke(model, body, "text/libsvm"), 400, "row 1")
    site.ask_again(model)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-recordio-protobuf", b"\n#\xd7\xce\x04\0\0\0xxxx"),
        ("application/x-parquet", b"PAR1"),
    ],
)
def test_f56_not_read_yet(site: Site, model: str, kind: str, body: bytes) -> None:
    """Protobuf and parquet are not read yet: 415, with what is."""
    error(site.client.invoke(model, body, kind), 415, "text/csv")


LIMIT = 25 * 1024 * 1024


@pytest.mark.parametrize("how", ["length", "expect", "chunked"])
def test_f57_too_large(site: Site, model: str, how: str) -> None:
    """A body over the limit: 413 before it is read; nothing of it is kept."""
    head = (
        b"POST /models/%b/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n" % model.encode()
    )
    before = resident(site)
    if how == "chunked":
        block = b"100000\r\n" + b"1" * 0x100000 + b"\r\n"
        answer = stream(site, head + b"Transfer-Encoding: chunked\r\n\r\n", block, 26)
    else:
        more = b"Expect: 100-continue\r\n" if how == "expect" else b""
        answer = site.raw(head + more + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1))
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:100]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == 413
    assert resident(site) - before < 40 * 1024**2
    site.ask_again(model)


def resident(site: Site) -> int:
    """Memory of the gate in bytes."""
    pages = int(Path(f"/proc/{site.server.pid('gate')}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def stream(site: Site, head: bytes, block: bytes, count: int) -> bytes:
    """Send a block again and again, and return what comes back."""
    with socket.create_connection(("127.0.0.1", site.server.port), 30) as connection:
        connection.sendall(head)
        for _ in range(count):
            connection.sendall(block)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


CHUNKED = (
    b"POST /models/NAME/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    b"Transfer-Encoding: chunked\r\n"
)


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (b"\r\n", b"4\r\n1,2,\r\n7;a=b\r\n3,4,5,6\r\n0\r\nx: y\r\n\r\n", 200),
        (b"\r\n", b"xyz\r\n1,2\r\n0\r\n\r\n", 400),
        (b"\r\n", b"-4\r\n1,2,\r\n0\r\n\r\n", 400),
        (b"\r\n", b"4\r\n1,2,3,4,5,6\r\n0\r\n\r\n", 400),
        (b"\r\n", b"10000000000\r\n1,2", 413),
        (b"\r\n", b"ffffffffffffffffff\r\n1,2", 400),
        (b"Expect: 100-continue\r\n\r\n", b"b\r\n1,2,3,4,5,6\r\n0\r\n\r\n", 200),
        (b"Expect: 200-ok\r\n\r\n", b"", 400),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_f58_chunked(
    site: Site, model: str, head: bytes, body: bytes, status: int, at_once: bool
) -> None:
    """Chunked bodies: 200 when sound, 400 when not, 413 as soon as a size is over the limit."""
    data = CHUNKED.replace(b"NAME", model.encode()) + head + body
    if at_once:
        answer = site.raw(data)
    else:
        with socket.create_connection(("127.0.0.1", site.server.port), 30) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(data)):
                connection.sendall(data[at : at + 1])
            answer = connection.recv(65536)
            if answer.startswith(b"HTTP/1.1 100 "):
                answer = answer.partition(b"\r\n\r\n")[2] or connection.recv(65536)
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    if status == 200:
        assert answer.endswith(site.expected)


def test_f59_slow_uploads(site: Site, model: str) -> None:
    """Three hundred uploads that do not go on: 400, "not received in", and nobody notices."""
    head = b"POST /models/%b/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n1,2" % (
        model.encode()
    )
    connections = []
    begun = time.monotonic()
    with site.watched():
        try:
            for _ in range(300):
                one = socket.create_connection(("127.0.0.1", site.server.port), 30)
                one.sendall(head)
                connections.append(one)
            answers = [connection.recv(65536) for connection in connections]
        finally:
            for connection in connections:
                connection.close()
    assert time.monotonic() - begun < RECEIVE_SECONDS + 3
    assert all(answer.startswith(b"HTTP/1.1 400 ") for answer in answers)
    assert all(b"not received in" in answer for answer in answers)


def test_f60_client_leaves(serve: Serve, faulty_worker: str) -> None:
    """Clients leave while they wait in the queue: their requests are dropped, not computed."""
    server = serve(MME_SHARDS="1", MME_LANES="1", MME_WORKER=faulty_worker)
    site = Site(server)
    name = "left"
    site.good(name)
    first = site.in_flight(name, SLOW)
    wait_until(lambda: in_flight(site) >= 2, 5, "the first request")
    head = b"POST /models/left/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    body = row(injected.SLOW)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: in_flight(site) >= 3, 5, "a request in the queue")
    begun = time.monotonic()
    assert site.client.invoke(name, ROW).status == 200
    assert time.monotonic() - begun < 2.5  # behind one slow request, not eleven
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
    slow, fast = row(injected.SLOW) + b"\n" + b"\n".join([ROW] * 1000), ROW
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
    assert len(json.loads(one.partition(b"\r\n\r\n")[2])) == 1001
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
        assert max(one.seconds for one in asked) < INVOKE_SECONDS + 1
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
    wait_until(lambda: in_flight(site) >= 2, 5, "the request")
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
    wait_until(lambda: in_flight(site) >= 5, 5, "four requests")
    unloaded: list[float] = []

    def unload() -> None:
        with Client("127.0.0.1", site.server.port) as client:
            assert client.unload(name).status == 200
            unloaded.append(time.monotonic())

    unloading = threading.Thread(target=unload)
    unloading.start()
    wait_until(lambda: site.client.describe(name).status == 404, 5, "the unload")
    error(site.client.invoke(name, ROW), 404)
    assert [one.result().status for one in asked] == [200] * 4
    unloading.join(30)
    assert unloaded[0] > max(one.ended for one in asked) - 0.05


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
