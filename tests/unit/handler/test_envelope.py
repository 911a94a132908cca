"""The envelope of the gate's requests: what the gate seals is unsealed, and nothing else is."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.envelope import HEAD, seal
from handler import envelope
from handler.envelope import EnvelopeError, unseal

OPERATIONS = ("invoke", "load", "unload", "try")
HEADERS = st.fixed_dictionaries(
    {envelope.OPERATION: st.sampled_from(OPERATIONS)},
    optional={
        envelope.MODEL: st.text(min_size=1, max_size=50),
        envelope.CONTENT_TYPE: st.text("abc/-; =", min_size=1),
        envelope.ACCEPT: st.text("abc/*,; =q.1", min_size=1),
        envelope.ATTRIBUTES: st.text("abc=,;", min_size=1),
        envelope.DIRECTORY: st.binary(min_size=1).map(os.fsdecode),
        envelope.UNTIL: st.floats(0.001, 1e12).map(repr),
    },
)
TEXTS = (envelope.CONTENT_TYPE, envelope.ACCEPT, envelope.ATTRIBUTES)


def sealed(headers: dict[str, str], body: bytes = b"") -> bytes:
    """The body of the gate's request to MMS."""
    content_type, accept, attributes = (headers.get(name, "").encode() for name in TEXTS)
    request = seal(
        HEAD % b"m",
        headers[envelope.OPERATION][:1].encode(),
        float(headers.get(envelope.UNTIL, 0)),
        headers.get(envelope.MODEL, "").encode(),
        (content_type, accept, attributes),
        os.fsencode(headers.get(envelope.DIRECTORY, "")),
        body,
    )
    head, _, found = request.partition(b"\r\n\r\n")
    assert head.endswith(b"Content-Length: %d" % len(found))
    return found


@given(HEADERS, st.binary())
def test_there_and_back(headers: dict[str, str], body: bytes) -> None:
    """All texts, and the body behind them."""
    assert unseal(sealed(headers, body)) == (headers, body)


@given(HEADERS, st.integers(0, 21), st.integers(0, 255))
def test_what_is_none(headers: dict[str, str], place: int, byte: int) -> None:
    """Cut short, or with another head, it is another envelope or none: nothing is read past it."""
    whole = sealed(headers)
    with pytest.raises(EnvelopeError):
        unseal(whole[:place])
    changed = whole[:place] + bytes([byte]) + whole[place + 1 :]
    try:
        found, body = unseal(changed)
    except EnvelopeError:
        return
    assert found[envelope.OPERATION] in OPERATIONS
    assert len(body) <= len(changed) - 22
