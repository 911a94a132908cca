"""The frames between MMS and its worker, against bytes captured from MMS 1.1.11."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container import envelope as gate
from handler import envelope, forest, frames

LANE = b"x" * 60
LOAD = (
    bytes.fromhex("4c 00000002 6d31 00000003")
    + b"/m1"
    + bytes.fromhex("00000001 0000000e 7472697669616c3a68616e646c65 ffffffff 0000003c")
    + LANE
)
REQUEST_ID = b"0" * 36
INVOKE = (
    bytes.fromhex("49 00000024")
    + REQUEST_ID
    + bytes.fromhex("00000006 416363657074 00000008 746578742f637376 ffffffff")
    + bytes.fromhex("00000004 626f6479 00000008 746578742f637376 00000003 312c32 ffffffff ffffffff")
)
ANSWER = (
    bytes.fromhex("000000c8 00000012 50726564696374696f6e2073756363657373 00000024")
    + REQUEST_ID
    + bytes.fromhex("00000008 746578742f637376 000000c8 00000002 4f4b 00000000")
    + bytes.fromhex("00000004 34322e35 ffffffff")
)


def sealed_in_a_frame(sealed: bytes) -> bytes:
    """What MMS makes of a request of the gate."""

    def string(text: bytes) -> bytes:
        return len(text).to_bytes(4, "big") + text

    kind, end = envelope.MEDIA_TYPE.encode(), b"\xff" * 4
    headers = string(b"Content-Type") + string(kind) + string(b"content-length") + string(b"7")
    body = string(b"body") + string(kind) + string(sealed)
    return b"I" + string(REQUEST_ID) + headers + end + body + end + end


def test_load() -> None:
    """MMS's load message is read, and its reply ends with the process id as MMS looks for it."""
    assert frames.read(bytearray(LOAD)) == (frames.Load("m1"), len(LOAD))
    assert frames.loaded("m1", 27301) == bytes.fromhex(
        "000000c8 0000001c 6c6f61646564206d6f64656c206d312e205b5049445d3a3237333031 ffffffff"
    )


def test_invoke() -> None:
    """MMS's invoke message is read, header names in lower case, and what follows it is left."""
    expected = frames.Invoke(REQUEST_ID, {"accept": "text/csv"}, b"1,2")
    assert frames.read(bytearray(INVOKE + b"more")) == (expected, len(INVOKE))


def test_answer() -> None:
    """The answer is the frame that MMS takes, with no header in it."""
    assert frames.answered(REQUEST_ID, "text/csv", b"42.5") == ANSWER


@pytest.mark.parametrize("frame", [LOAD, INVOKE], ids=["load", "invoke"])
def test_pieces(frame: bytes) -> None:
    """A frame that ends early, wherever it does, is waited for."""
    for length in range(len(frame)):
        for kind in (bytes, bytearray):
            with pytest.raises(frames.IncompleteError) as incomplete:
                frames.read(kind(frame[:length]))
            assert length < incomplete.value.needed <= len(frame)


@pytest.mark.parametrize("junk", [b"X", b"L\xff\xff\xff\xf0", INVOKE[:-4] + b"\0\0\0\1"])
def test_junk(junk: bytes) -> None:
    """What is no frame is told apart from what is not here yet."""
    with pytest.raises(frames.FrameError):
        frames.read(bytearray(junk))


@given(
    st.sampled_from([gate.INVOKE, gate.LOAD, gate.UNLOAD, gate.TRY]),
    st.text(max_size=20),
    st.sampled_from([b"", b"text/csv", b"application/json"]),
    st.sampled_from([b"", b"*/*"]),
    st.sampled_from([b"", b"output=contributions"]),
    st.sampled_from([0.0, 12.5]),
    st.binary(max_size=50),
    st.data(),
)
def test_opened_at_once(
    operation: bytes,
    model: str,
    sent: bytes,
    accepted: bytes,
    attributes: bytes,
    until: float,
    body: bytes,
    draw: st.DataObject,
) -> None:
    """What is opened in one pass is what is read step by step, also where a byte is another."""
    texts = sent, accepted, attributes
    request = gate.seal(gate.HEAD % b"m", operation, until, model.encode(), texts, b"", body)
    sealed = request.partition(b"\r\n\r\n")[2]
    frame = sealed_in_a_frame(sealed)
    usual = operation == gate.INVOKE and bool(until) and not attributes
    opened = frames.open_invocation(frame)
    if opened is not None or (usual and forest.AVAILABLE):
        assert opened == (REQUEST_ID, until, model, sent.decode(), accepted.decode(), body)
    assert opened is None or usual
    cut = draw.draw(st.integers(0, len(frame) - 1))
    assert frames.open_invocation(frame[:cut]) is None
    assert frames.open_invocation(frame + b"x") is None
    changed = bytearray(frame)
    changed[cut] = draw.draw(st.integers(0, 255))
    again = frames.open_invocation(bytes(changed))
    if again is not None:
        message, size = frames.read(changed)
        assert isinstance(message, frames.Invoke)
        assert size == len(changed)
        found, rest = envelope.unseal(message.body)
        assert (again[0], again[5]) == (message.request_id, rest)
        assert again[2] == found.get(envelope.MODEL, "")
        assert again[1] == float(found[envelope.UNTIL])
