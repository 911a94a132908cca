"""The fixtures: a real ``mme local``, and boto3 that knows nothing but environment variables."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.moto import bucket, folder, moto, own, s3
from tests.local.support import Local
from tests.support import saved, train

# The fixtures of the tests that need no more than moto.
__all__ = ["bucket", "folder", "moto", "own", "s3"]

Start = Callable[..., Local]

# So short that tests of what happens when time is over are over soon themselves.
QUICK = {
    "MME_LOCAL_INVOKE_SECONDS": "3",
    "MME_LOCAL_PING_SECONDS": "0.2",
    "MME_LOCAL_FAILURE_SECONDS": "2",
    "MME_LOCAL_MINUTE_SECONDS": "2",
}


@pytest.fixture(scope="session")
def start_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start ``mme local`` processes; those still running at the end must stop well."""
    running: list[Local] = []

    def start(*words: str, state: Path | None = None, **environ: str) -> Local:
        local = Local(state or tmp_path_factory.mktemp("state"), *words, environ=environ)
        running.append(local)
        local.wait_ready()
        return local

    yield start
    for local in running:
        if local.process.poll() is None:
            assert local.stop() == 0
        local.close()


@pytest.fixture(scope="session")
def local(start_local: Start) -> Local:
    """The one that tests share, each with endpoints of its own."""
    return start_local(**QUICK)


@pytest.fixture(scope="session")
def model() -> bytes:
    """A model's file."""
    return saved(train())


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for what the test makes: its own."""
    words: str = request.node.name.removeprefix("test_")
    letters = "".join(letter if letter.isalnum() else "-" for letter in words)
    return letters.strip("-")[:40].strip("-")
