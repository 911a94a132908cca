"""The fixtures: the real container, started by the test session and stopped with it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import HealthCheck, settings

from tests.support import FEATURES, Serve, Server, train

# A stall of the machine is no slow property; pytest's limit of a test holds.
settings.register_profile(
    "mme", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mme")


def pytest_configure() -> None:
    """A shell that starts us in the background has us ignore SIGINT; what we start must not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs Docker where no engine runs; MME_REQUIRE_DOCKER insists on one."""
    wanting = [item for item in items if item.get_closest_marker("docker")]
    if wanting and not os.environ.get("MME_REQUIRE_DOCKER") and not _docker_runs():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no Docker Engine runs here"))


def _docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers; those still running at the end of the test are stopped, and must stop well."""
    with serving(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="session")
def keep_serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Likewise, for several tests."""
    with serving(tmp_path_factory) as start:
        yield start


@contextlib.contextmanager
def serving(places: pytest.TempPathFactory) -> Iterator[Serve]:
    """What starts servers, which are stopped in the end."""
    servers: list[Server] = []

    def start(root: Path | None = None, healthy: bool = True, **environ: str) -> Server:
        server = Server(root or places.mktemp("root"), environ)
        servers.append(server)
        if healthy:
            server.wait_healthy()
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            status, output = server.stop()
            assert status == 0, output
        server.close()


WORKERS = {
    "our-worker": {},
    "mms-worker": {"MME_WORKER": sys.executable, "MME_LANES": "1"},
}


@pytest.fixture(scope="session", params=WORKERS)
def server(keep_serving: Serve, request: pytest.FixtureRequest) -> Server:
    """The one server that tests share which leave it as they found it, with either worker."""
    return keep_serving(**WORKERS[request.param])


@pytest.fixture(scope="session")
def booster() -> xgboost.Booster:
    """A regression model."""
    return train()


@pytest.fixture
def rows() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Five rows of input, one value missing."""
    rows = np.random.default_rng(7).normal(size=(5, FEATURES)).astype(np.float32)
    rows[2, 3] = np.nan
    return rows
