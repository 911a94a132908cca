"""D. Attacks, each row of the fault table by its id."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.faults.conftest import ROW, Site, error
from tests.faults.test_artifact import _Hostile


@pytest.mark.parametrize("name", ["m.zip", "xgboost-model", "m.ubj"])
def test_f95_archive(site: Site, tmp_path: Path, name: str) -> None:
    """A zip whose entries lead elsewhere: refused; nothing is ever unpacked."""
    archive = tmp_path / "m.zip"
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("../../../evil", b"x")
    outside = {path.name for path in tmp_path.parent.iterdir()}
    url = Path(site.put({name: archive.read_bytes()}))
    site.refused_load(500, site.new_name(), str(url))
    site.refused_load(400, site.new_name(), str(url / name), "not a file")
    assert {path.name for path in tmp_path.parent.iterdir()} == outside
    assert not (site.server.root.parent / "evil").exists()


def test_f97_pickled_array(site: Site, tmp_path: Path) -> None:
    """application/x-npy with a pickled object: 400, and nothing runs."""
    canary = tmp_path / "canary"
    array = np.empty(1, dtype=object)
    array[0] = _Hostile(canary)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    for body in (file.getvalue(), b"\x93NUMPY\x01\x00" + pickle.dumps(array), pickle.dumps(array)):
        error(site.client.invoke("bystander", body, "application/x-npy"), 400)
    assert not canary.exists()


@pytest.mark.parametrize("place", ["name", "path", "target", "content-type", "accept"])
def test_f98_log_injection(site: Site, place: str) -> None:
    """Line ends in what is logged: one line a request, whatever the client writes."""
    evil = 'x\\n{"event": "forged"}\\r\\n"}'
    if place == "name":
        error(site.client.load("a\n{}", site.sound_url()), 400, "name")
    elif place == "path":
        answer = site.raw(b'GET /models/%0a{"event":"forged"} HTTP/1.1\r\nHost: x\r\n\r\n')
        assert answer.startswith(b"HTTP/1.1 400 ")
    else:
        header = {"target": "X-Amzn-SageMaker-Target-Model"}.get(place, place)
        reply = site.client.call(
            "POST", "/models/bystander/invoke", ROW, {"Content-Type": "text/csv", header: evil}
        )
        assert reply.status in (200, 406, 415)


def test_f98_one_line_a_record(sites: Callable[..., Site]) -> None:
    """Every line of the log is one JSON object, or one of MMS's."""
    site = sites()
    target = {"Content-Type": "text/csv", "X-Amzn-SageMaker-Target-Model": 'a"b\\n\tc.tar.gz'}
    site.client.call("POST", "/models/bystander/invoke", ROW, target)
    site.client.call("GET", "/models/%0a%0d%00")
    _, output = site.server.stop()
    lines = [json.loads(line) for line in output.splitlines()]
    events = {line["event"] for line in lines}
    assert events <= {"request", "serving", "stopping", "drained"}
    ids = [line["id"] for line in lines if line["event"] == "request"]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/predictions/shard-0"),
        ("POST", "/predictions/shard-0"),
        ("GET", "/api-description"),
        ("OPTIONS", "/"),
        ("POST", "/models/bystander"),
        ("PUT", "/models/bystander"),
        ("PUT", "/models"),
        ("DELETE", "/models"),
        ("GET", "/models/bystander/versions"),
        ("POST", "/invocations"),
        ("POST", "/ping"),
        ("POST", "/metrics"),
        ("GET", "//models"),
        ("GET", "/models/bystander/invoke/x"),
    ],
)
def test_f99_other_calls(site: Site, method: str, path: str) -> None:
    """MMS's other calls: 404 or 405 on the public port; MMS itself listens on no port."""
    reply = site.client.call(method, path)
    assert reply.status in (404, 405), reply
    error(reply, reply.status)


POST = b"POST /models/bystander/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
SECOND = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 11\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 11\r\n",
        b"Transfer-Encoding: x, chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\n",
    ],
)
def test_f100_smuggling(site: Site, head: bytes) -> None:
    """Two ways to say how long the body is: 400, close; the tail is no second request."""
    answer = site.raw(POST + head + b"\r\n0\r\n\r\n" + SECOND)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 11\r\nContent-Length: 11\r\n",
        b"Content-Length: 11\r\nContent-Length: 12\r\n",
        b"Content-Length: +11\r\n",
        b"Content-Length: 0x0b\r\n",
        b"Content-Length: 11, 11\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: \r\n",
        b"Content-Length : 11\r\n",
        b"Content-Length: 1_1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
    ],
)
def test_f101_lengths(site: Site, head: bytes) -> None:
    """Lengths that contradict, or are no decimal number: 400, close."""
    answer = site.raw(POST + head + b"\r\n" + ROW + SECOND)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /ping HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.0\r\n\r\n", 200),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 400),
        (b"GET /ping?" + b"y" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"TRACE /ping HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /ping HTTP/2.0\r\nHost: x\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 4000 + b"\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
    ],
)
def test_f102_heads(site: Site, request_bytes: bytes, status: int) -> None:
    """Bare line ends, no Host, old or unknown versions, too long a head: as the standard has it."""
    answer = site.raw(request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
