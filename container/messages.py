"""What goes in and out of the gate: one request, one answer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from container.faults import Fault, FaultError

JSON = b"application/json"
TARGET = b"x-amzn-sagemaker-target-model"  # the name that the client asked the platform for
CLIENT_GONE = 499  # only in the log: there is nobody to read it
_PHRASES = {s.value: s.phrase for s in HTTPStatus} | {CLIENT_GONE: "Client Closed Request"}
_STATUS_LINES = {code: f"HTTP/1.1 {code} {text}\r\n".encode() for code, text in _PHRASES.items()}


@dataclass(slots=True)
class Request:
    """One request, whole. Header names are lower-case; all is as the client sent it.

    Attributes:
        fault: what is wrong with it, before anyone has looked at what it asks for.
        received_at: when it was whole (``time.monotonic()``), as are the next two.
        sent_at: when it went to a shard; 0 if it did not.
        answered_at: when the shard's answer was here; 0 if it was not.
        gone: the client has sent the end of its connection, and perhaps does not wait any more.
        app: answers it, where that is not who answers all requests.
    """

    method: bytes = b""
    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    keep_alive: bool = True
    fault: FaultError | None = None
    received_at: float = 0.0
    sent_at: float = 0.0
    answered_at: float = 0.0
    gone: bool = False
    app: "Callable[[Request], Awaitable[Response]] | None" = None


@dataclass(slots=True)
class Response:
    """One answer: an HTTP status, the body and its type, and headers beside those."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def to_bytes(self, keep_alive: bool) -> bytes:
        """The answer as it goes over the wire."""
        head = [
            # A model's script may answer with a number that has no name.
            _STATUS_LINES.get(self.status) or b"HTTP/1.1 %d Error\r\n" % self.status,
            b"Content-Type: %b\r\nContent-Length: %d\r\n" % (self.content_type, len(self.body)),
        ]
        head += [b"%b: %b\r\n" % header for header in self.headers]
        head += [b"\r\n" if keep_alive else b"Connection: close\r\n\r\n", self.body]
        return b"".join(head)


def to_response(fault: FaultError) -> Response:
    """The answer for a fault; for one that passes, when to try again."""
    retry: tuple[tuple[bytes, bytes], ...] = ()
    if fault.fault is Fault.UNAVAILABLE:
        retry = ((b"Retry-After", b"%d" % max(1, round(fault.retry_after))),)
    return Response(fault.fault.status, fault.body(), headers=retry)
