"""The frames between MMS and its worker, against bytes captured from MMS 1.1.11."""

import pytest

from handler import frames

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
