"""The fixtures: a real ``mme local``, and boto3 that knows nothing but environment variables."""

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from tests.local.moto import bucket, folder, moto, own, s3
from tests.local.support import FAILURE_SECONDS, SECONDS, Local
from tests.support import saved, train, wait_until

# The fixtures of the tests that need no more than moto.
__all__ = ["bucket", "folder", "moto", "own", "s3"]

Start = Callable[..., Local]

# So short that tests of what happens when time is over are over soon themselves.
QUICK = {
    "MME_LOCAL_INVOKE_SECONDS": "30",
    "MME_LOCAL_PING_SECONDS": "0.2",
    "MME_LOCAL_FAILURE_SECONDS": str(FAILURE_SECONDS),
    "MME_LOCAL_MINUTE_SECONDS": "2",
}


@pytest.fixture
def start_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start ``mme local`` processes; those still running when the test is over must stop well."""
    running: list[Local] = []

    def start(*words: str, state: Path | None = None, **environ: str) -> Local:
        local = Local(state or tmp_path_factory.mktemp("state"), *words, environ=environ)
        running.append(local)
        local.wait_ready()
        return local

    yield start
    for local in running:
        _stop(local)


def _stop(local: Local) -> None:
    if local.process.poll() is None:
        assert local.stop() == 0
    local.close()


_shared: list[Local] = []


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """The one that tests share, each with endpoints of its own."""
    local = Local(tmp_path_factory.mktemp("state"), environ=QUICK)
    _shared.append(local)
    local.wait_ready()
    yield local
    _shared.remove(local)
    _stop(local)


@pytest.fixture(scope="module", autouse=True)
def _no_endpoints_of_the_module_stay() -> Iterator[None]:
    """What a module's tests leave running would make all others slower."""
    yield
    wait_until(lambda: not _deleting(), SECONDS, "the end of all endpoints")


@pytest.fixture(autouse=True)
def _no_endpoints_of_the_test_stay() -> Iterator[None]:
    """Likewise; but those that its module's tests share do."""
    shared = _endpoints()
    yield
    _deleting(shared)


def _deleting(kept: Collection[str] = ()) -> set[str]:
    """Delete endpoints; their names, as long as they are there."""
    names = _endpoints() - set(kept)
    for local in _shared:
        sagemaker = local.client("sagemaker")
        for name in names:
            with contextlib.suppress(sagemaker.exceptions.ClientError):  # it changes just now
                sagemaker.delete_endpoint(EndpointName=name)
    return names


def _endpoints() -> set[str]:
    return {
        endpoint["EndpointName"]
        for local in _shared
        for page in local.client("sagemaker").get_paginator("list_endpoints").paginate()
        for endpoint in page["Endpoints"]
    }


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
