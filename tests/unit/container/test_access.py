"""The access log: what a request's line says, and what no client can make it say."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container import access
from container.faults import Fault, FaultError
from container.messages import TARGET, Request, Response, to_response
from tests.unit.container.support import piped, records

OK = Response(200, b"12345")
SHOWN = 300

evil = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b'"}\n{"event": "forged"}', b"\r\n", b'\\"', b"\xff\xfe\x00\x7f", b"x" * 400]),
)


def said(request: Request, response: Response) -> list[dict[str, Any]]:
    """The lines that there are for a request."""
    with piped() as out:
        access.note(b"id-1", request, response)
        return records(out)


def line(request: Request, response: Response = OK) -> dict[str, Any]:
    """The one line that there is for a request."""
    (record,) = said(request, response)
    return record


def test_fields() -> None:
    """The line of an invocation: who, what, how much, how long it waited, how long it took."""
    now = time.monotonic()
    request = Request(
        method=b"POST",
        target=b"/models/m/invoke?secret",
        headers={TARGET: b"m.tar.gz"},
        body=b"1,2",
        received_at=now - 4.0,
        sent_at=now - 3.0,
        answered_at=now - 1.0,
    )
    before = time.time()
    record = line(request)
    assert before - 1 < record.pop("time") < time.time() + 1
    assert record == {
        "event": "request",
        "id": "id-1",
        "method": "POST",
        "path": "/models/m/invoke",
        "model": "m",
        "target": "m.tar.gz",
        "status": 200,
        "in": 3,
        "out": 5,
        "queue_ms": pytest.approx(1000, abs=0.01),
        "model_ms": pytest.approx(2000, abs=0.01),
    }


def test_no_model() -> None:
    """A request that never went to a shard took no model's time, and names what it can."""
    request = Request(b"POST", b"/models", body=b"{", received_at=time.monotonic() - 2.0)
    record = line(request, to_response(FaultError(Fault.BAD_REQUEST, "why")))
    assert record["queue_ms"] >= 2000
    assert record["model_ms"] == 0
    assert record["status"] == 400
    assert record["error"] == "why"
    assert not record.keys() & {"model", "target"}


@pytest.mark.parametrize(
    ("method", "target"), [(b"GET", b"/ping"), (b"GET", b"/models?limit=5"), (b"GET", b"/metrics")]
)
def test_polls(method: bytes, target: bytes) -> None:
    """What the platform asks again and again is worth a line only when it goes wrong."""
    assert said(Request(method, target), OK) == []
    assert line(Request(method, target), Response(503, b"why"))["error"] == "why"


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"POST", b"/models"), (b"GET", b"/models/m"), (b"DELETE", b"/models/m"), (b"GET", b"/pin")],
)
def test_others_are_no_polls(method: bytes, target: bytes) -> None:
    """All else has its line, and no error where there was none."""
    record = line(Request(method, target))
    assert (record["method"], record["path"]) == (method.decode(), target.decode())
    assert "error" not in record


@settings(deadline=None)
@given(path=evil, name=evil, target=evil, error=evil)
def test_injection(path: bytes, name: bytes, target: bytes, error: bytes) -> None:
    """Line ends, quotes and bytes that are no text: one line, which says what the client sent."""
    path = b"/" + path.replace(b"/", b"").replace(b"?", b"") + b"/" + name
    request = Request(b"POST", path, {TARGET: target})
    record = line(request, Response(404, error))
    path = path.partition(b"?")[0]
    shown = {"path": path, "model": path.split(b"/")[2], "target": target}
    expected = {key: text[:SHOWN].decode("latin-1") for key, text in shown.items()}
    expected["error"] = error[:SHOWN].decode("utf-8", "replace")
    numbers = {"time", "status", "in", "out", "queue_ms", "model_ms"}
    text = {key: value for key, value in record.items() if key not in numbers}
    expected |= {"event": "request", "id": "id-1", "method": "POST"}
    optional = ("target", "error")  # where there is one
    assert text == {key: value for key, value in expected.items() if value or key not in optional}


def test_ids() -> None:
    """No two requests have the same id."""
    ids = [access.new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(identity.replace(b"-", b"").isalnum() for identity in ids)
