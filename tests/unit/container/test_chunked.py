"""Chunked bodies: what is one, what is none, and what is too large."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.chunked import MAX_LINE_BYTES, MAX_TRAILERS, Chunked, ChunkError, TooLargeError
from tests.unit.container.support import cut

LIMIT = 1000
NEXT = b"GET /next HTTP/1.1\r\n"

extensions = st.sampled_from([b"", b" ", b"\t ", b";", b";a=b", b' ; name="quoted; \'"'])
sizes = st.sampled_from(["%x", "%X", "%04x", "%016x"])
trailers = st.sampled_from([b"X: y\r\n", b"Content-Length: 7\r\n", b"Host:\r\n"])


@st.composite
def encoded(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A body, and one of its many encodings."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    wire = b""
    for chunk in [*chunks, b""]:
        wire += (draw(sizes) % len(chunk)).encode() + draw(extensions) + b"\r\n" + chunk
        wire += b"\r\n" if chunk else b""
    return b"".join(chunks), wire + b"".join(draw(st.lists(trailers, max_size=3))) + b"\r\n"


def decoded(pieces: list[bytes], limit: int = LIMIT) -> tuple[bytes, bytes, bool]:
    """The body, what follows it, and whether it has come to its end."""
    one, body, rest = Chunked(limit), b"", b""
    for piece in pieces:
        if one.complete:
            rest += piece
            continue
        parts, rest = one.feed(piece)
        body += b"".join(parts)
        assert one.complete or not rest
    return body, rest, one.complete


@settings(deadline=None)
@given(case=encoded(), follows=st.sampled_from([b"", NEXT]), places=st.lists(st.integers(1, 400)))
def test_cut_anywhere(case: tuple[bytes, bytes], follows: bytes, places: list[int]) -> None:
    """A body that is cut into any pieces is the same body, and what follows it is left alone."""
    body, wire = case
    assert decoded(cut(wire + follows, places)) == (body, follows, True)


@settings(deadline=None)
@given(case=encoded(), places=st.lists(st.integers(1, 400)), missing=st.integers(1, 400))
def test_not_all_is_here(case: tuple[bytes, bytes], places: list[int], missing: int) -> None:
    """A body of which the end is missing is not complete, and what is here of it is right."""
    body, wire = case
    part, rest, complete = decoded(cut(wire[:-missing], places))
    assert (body.startswith(part), rest, complete) == (True, b"", False)


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b"1_0\r\n",
        b" 1\r\n",
        b"1 1\r\n",
        b"1,1\r\n",
        b"\xd9\xa1\r\n",
        b"00000000000000001\r\n",
        b";a=b\r\n",
        b"1\nx\r\n",
        b"1\rx\r\n",
        b"1;a\nb\r\n",
        b"1;" + b"a" * 2 * MAX_LINE_BYTES,
        b"1\r\nxy\r\n",
        b"1\r\nx\n0\r\n\r\n",
        b"1\r\nx0\r\n\r\n",
        b"0\r\nX: y\nZ: w\r\n",
        b"0\r\nX: y\rZ: w\r\n",
        b"0\r\nX: " + b"y" * 2 * MAX_LINE_BYTES,
        b"0\r\n" + b"X: y\r\n" * (MAX_TRAILERS + 1),
    ],
)
def test_malformed(wire: bytes) -> None:
    """What is no chunked body is refused, whole and byte by byte."""
    with pytest.raises(ChunkError):
        decoded([wire])
    with pytest.raises(ChunkError):
        decoded([bytes([byte]) for byte in wire])


@settings(deadline=None)
@given(wire=st.binary(max_size=200), places=st.lists(st.integers(1, 200)))
def test_any_bytes(wire: bytes, places: list[int]) -> None:
    """Whatever comes, it is a body within its limit or one of the two errors."""
    try:
        body, rest, _ = decoded(cut(b"5\r\n" + wire, places), limit=20)
    except (ChunkError, TooLargeError):
        return
    assert len(body) <= 20
    assert (b"5\r\n" + wire).endswith(rest)


@pytest.mark.parametrize("size", [b"b", b"10000000000", b"7fffffffffffffff", b"ffffffffffffffff"])
def test_too_large_is_said_at_once(size: bytes) -> None:
    """A chunk over the limit is refused when its size is read: none of its bytes are waited for."""
    one = Chunked(10)
    assert one.feed(size) == ([], b"")
    with pytest.raises(TooLargeError):
        one.feed(b"\r\n")


def test_the_sum_counts() -> None:
    """Small chunks may come up to the limit, and not a byte beyond it."""
    chunk = b"5\r\nhello\r\n"
    assert decoded([chunk * 2 + b"0\r\n\r\n"], limit=10) == (b"hellohello", b"", True)
    with pytest.raises(TooLargeError):
        decoded([chunk * 2 + b"1\r\n"], limit=10)
