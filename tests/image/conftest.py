"""The real image: built once, and run as SageMaker runs it."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mme.client import Client
from mme.process import free_port
from tests.image.support import START_SECONDS, build, docker
from tests.support import saved, train, wait_until


@pytest.fixture(scope="session")
def image() -> str:
    """The image, built from this checkout as ``make image`` builds it."""
    return build()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model root that the image's user can read; none of its models was saved by the image."""
    tmp_path.chmod(0o755)
    for seed in range(3):
        directory = tmp_path / f"m{seed}" / "model"
        directory.mkdir(parents=True)
        (directory / "xgboost-model").write_bytes(saved(train(seed=seed)))
    return tmp_path


Run = Callable[..., tuple[str, Client]]


@pytest.fixture
def run(image: str, models: Path) -> Iterator[Run]:
    """Runs containers as a careful operator does: read-only, without rights, /tmp in memory."""
    names: list[str] = []
    clients: list[Client] = []

    def start(*options: str) -> tuple[str, Client]:
        name, port = f"mme-test-{uuid.uuid4().hex[:8]}", free_port()
        names.append(name)
        docker(
            *("run", "--detach", "--name", name, "--read-only", "--tmpfs", "/tmp"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--publish", f"127.0.0.1:{port}:8080", "--volume", f"{models}:/opt/ml/models:ro"),
            *("--env", "SAGEMAKER_MULTI_MODEL=true", *options, image, "serve"),
        )
        client = Client("127.0.0.1", port)
        clients.append(client)
        wait_until(client.healthy, START_SECONDS, "a healthy container")
        return name, client

    yield start
    for client in clients:
        client.close()
    for name in names:
        docker("rm", "--force", name)


@pytest.fixture
def container(run: Run) -> tuple[str, Client]:
    """One container with a gigabyte."""
    return run("--memory", "1g")
