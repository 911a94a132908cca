"""The short form of ``make soak``."""

import pytest

from tests.faults.soak import DEADLINE_SECONDS, MIB, Soak, failures
from tests.support import Serve

SECONDS = 60


@pytest.mark.timeout(SECONDS + 120)
def test_soak(serve: Serve) -> None:
    """A minute of traffic while processes are killed: all is answered, right, and flat."""
    server = serve(
        MME_SHARDS="2",
        MME_INVOKE_DEADLINE_SECONDS=str(DEADLINE_SECONDS),
        MME_ACCESS_LOG="false",
    )
    tally = Soak(server, seed=7).run(SECONDS, java_kills=1)
    print(tally.line(SECONDS))  # noqa: T201  # with -s, or when it fails
    assert failures(tally, 60 * MIB, 40) == []
    assert sum(tally.kills.values()) > 15
