"""What is said of a sample that the container refuses."""

import pytest

from mme.client import Reply
from mme.errors import CommandError
from mme.plan import measure


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{\n "code": 400,\n "type": "Bad",\n "message": "no model in it"\n}\n', "no model in it"),
        (b"plain\n text ", "plain text"),
        (b"[1]", "[1]"),
    ],
)
def test_refused_sample(body: bytes, says: str) -> None:
    """The container's sentence, out of its JSON, in one line."""
    with pytest.raises(CommandError) as refused:
        measure.expect(Reply(400, {}, body), "load")
    assert str(refused.value) == f"the container does not load the sample (400): {says}"
