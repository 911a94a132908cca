"""B. Requests that cannot be answered with numbers, each row of the fault table by its id."""

import json
import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import xgboost

from tests.faults.conftest import (
    BUSY_SECONDS,
    RECEIVE_SECONDS,
    ROW,
    Site,
    error,
)
from tests.support import train


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
        ("application/x-recordio-protobuf", b"\n#\xd7\xce\xff\0\0\0xxxx"),
        ("application/x-recordio-protobuf", b"1,2,3,4,5,6"),
        ("application/x-parquet", b"PAR1"),
        ("application/x-npy", b"\x93NUMPY\x01\x00"),
        ("application/jsonlines", b"[1, 2, 3, 4, 5, 6]\n[1, 2"),
    ],
)
def test_f56_damaged(site: Site, model: str, kind: str, body: bytes) -> None:
    """Protobuf, Parquet, npy or JSON Lines that are wrong: 400."""
    error(site.client.invoke(model, body, kind), 400)
    site.ask_again(model)


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
    assert time.monotonic() - begun < RECEIVE_SECONDS + BUSY_SECONDS
    assert all(answer.startswith(b"HTTP/1.1 400 ") for answer in answers)
    assert all(b"not received in" in answer for answer in answers)
