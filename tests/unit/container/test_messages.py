"""Answers as they go over the wire."""

import pytest

from container.messages import Response


@pytest.mark.parametrize(
    ("status", "line"), [(200, b"200 OK"), (404, b"404 Not Found"), (450, b"450 Error")]
)
def test_status_line(status: int, line: bytes) -> None:
    """Every status has a line, also one that only a model's script knows."""
    sent = Response(status, b"{}").to_bytes(keep_alive=True)
    assert sent == (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % line
    )
