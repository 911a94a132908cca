"""Frames of event streams, read by botocore's own parser."""

from botocore.eventstream import EventStreamBuffer

from mme.local.runtime import eventstream


def test_payload() -> None:
    """A part arrives as it was sent, whatever its bytes."""
    buffer = EventStreamBuffer()
    for part in (b"", b"[1.5]\n", bytes(range(256))):
        buffer.add_data(eventstream.payload(part))
        event = next(iter(buffer))
        assert event.payload == part
        assert event.headers[":event-type"] == "PayloadPart"


def test_failure() -> None:
    """A failure is an exception, and its text may hold quotes."""
    buffer = EventStreamBuffer()
    buffer.add_data(eventstream.failure("ModelStreamError", 'it said "no"'))
    event = next(iter(buffer))
    assert event.headers[":exception-type"] == "ModelStreamError"
    assert event.payload == b'{"Message": "it said \\"no\\""}'
