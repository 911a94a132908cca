"""The fixtures: the real container, started by the test session and stopped with it."""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from mme.client import Client
from tests.support import FEATURES, START_SECONDS, Serve, Server, free_port, train, wait_until


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers; those still running at the end are stopped, and must stop well."""
    servers: list[Server] = []

    def start(root: Path | None = None, healthy: bool = True, **environ: str) -> Server:
        root = root or tmp_path_factory.mktemp("root")
        port = int(environ.pop("SAGEMAKER_BIND_TO_PORT", 0)) or free_port()
        process = subprocess.Popen(
            [Path(sysconfig.get_path("scripts")) / "mme", "serve"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | {"SAGEMAKER_BIND_TO_PORT": str(port), "MME_MODEL_ROOT": str(root)}
            | environ,
        )
        server = Server(process, port, root, Client("127.0.0.1", port))
        servers.append(server)
        if healthy:
            wait_until(server.client.healthy, START_SECONDS, "a healthy container")
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            status, output = server.stop()
            assert status == 0, output


@pytest.fixture(scope="session")
def server(serve: Serve) -> Server:
    """The one server that tests share which leave it as they found it."""
    return serve()


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
