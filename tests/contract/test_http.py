"""HTTP as it comes over the wire: files of raw requests, in folders named by their answer."""

import json
import socket
from pathlib import Path

import pytest
import xgboost

from tests.support import Server, error_of, saved

REQUESTS = Path(__file__).parent.parent / "corpus" / "requests"
DEADLINE_SECONDS = 10


def exchange(server: Server, request: bytes) -> bytes:
    """Send raw bytes, close our half, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


@pytest.mark.parametrize(
    "case", sorted(REQUESTS.glob("*/*.http")), ids=lambda case: f"{case.parent.name}/{case.stem}"
)
def test_raw_request(server: Server, case: Path) -> None:
    """Each raw request gets one answer, with the status that its folder names."""
    received = exchange(server, case.read_bytes())
    received = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert received.startswith(f"HTTP/1.1 {case.parent.name} ".encode()), received[:200]
    assert received.count(b"HTTP/1.1 ") == 1
    head, _, body = received.partition(b"\r\n\r\n")
    if case.parent.name.startswith("4"):
        error_of(int(case.parent.name), body)
    if case.parent.name in ("400", "413"):
        assert b"Connection: close" in head


def test_pipelined_requests(server: Server, booster: xgboost.Booster) -> None:
    """Answers on one connection come in the order of the requests, each model's own."""
    slow, fast = "pipelined-slow", "pipelined-fast"
    url = server.put("pipelined", {"model.ubj": saved(booster)})
    for name in (slow, fast):
        assert server.client.load(name, url).status == 200
    many = b"1,2,3,4,5,6\n" * 20_000
    requests = [(slow, many), (fast, b"1,2,3,4,5,6"), (slow, b"1,2,3,4,5,6\n1,2,3,4,5,6")]
    received = exchange(
        server,
        b"".join(
            b"POST /models/%b/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (name.encode(), len(body), body)
            for name, body in requests
        ),
    )
    answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    rows = [len(json.loads(answer.partition(b"\r\n\r\n")[2])) for answer in answers]
    assert rows == [20_000, 1, 2]
    for name in (slow, fast):
        assert server.client.unload(name).status == 200


def test_body_in_pieces(server: Server, booster: xgboost.Booster) -> None:
    """A chunked body that comes byte by byte is answered as the same body whole."""
    url = server.put("pieces", {"model.ubj": saved(booster)})
    assert server.client.load("pieces", url).status == 200
    whole = server.client.invoke("pieces", b"1,2,3,4,5,6").body
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in b"1,2,3,4,5,6") + b"0\r\n\r\n"
    head = b"POST /models/pieces/invoke HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks:
            connection.sendall(bytes([byte]))
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.partition(b"\r\n\r\n")[2] == whole
    assert server.client.unload("pieces").status == 200
