"""The fixtures of the containers: images, and containers of both kinds."""

import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mme.local.containers.container import SINGLE
from mme.local.containers.docker_container import DockerContainer
from mme.local.containers.serve_container import ServeContainer
from tests.image.support import BUILD_SECONDS, build, docker
from tests.local.containers.support import Make, labelled, put, spec
from tests.local.images import build_stock_mms
from tests.support import saved, train

_BY_DOCKER = [pytest.mark.docker, pytest.mark.timeout(BUILD_SECONDS + 300)]


@pytest.fixture(scope="session")
def ours() -> str:
    """This project's image."""
    return build()


@pytest.fixture(scope="session")
def stock_mms(ours: str) -> str:  # noqa: ARG001  # it is made from ours
    """An unmodified Multi Model Server."""
    return build_stock_mms()


@pytest.fixture
def label() -> Iterator[str]:
    """Names this test's containers; none of them may be left."""
    label = f"test-{uuid.uuid4().hex}"
    yield label
    left = labelled(label)
    for container in left:
        docker("rm", "--force", container)
    assert left == []


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for temporary files, with a path that leaves room for a socket's."""
    with tempfile.TemporaryDirectory() as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


@pytest.fixture(params=["serve", pytest.param("docker", marks=_BY_DOCKER)])
def make(request: pytest.FixtureRequest, tmp_path: Path, temporary: Path) -> Iterator[Make]:
    """Makes containers of either kind over models ``a`` and ``b`` and a single one."""
    for seed, name in enumerate(("a", "b", SINGLE)):
        put(tmp_path / "models" / name / "model", "xgboost-model", saved(train(seed=seed)))
    if request.param == "serve":
        yield lambda **changes: ServeContainer(spec(tmp_path, **changes))
        assert list(temporary.iterdir()) == []
        return
    image, label = request.getfixturevalue("ours"), request.getfixturevalue("label")
    yield lambda **changes: DockerContainer(spec(tmp_path, image=image, **changes), label)
