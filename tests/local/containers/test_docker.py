"""Docker's containers: the engine and images as they may be found, and a foreign image."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from mme.local.containers.container import ContainerError
from mme.local.containers.docker_container import DockerContainer, remove_stale
from tests.image.support import BUILD_SECONDS, docker
from tests.local.containers.support import END_SECONDS, labelled, put, running, spec, until
from tests.local.images import REGISTRY


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("unix:///nonexistent/docker.sock", "No such file or directory; does Docker run here?"),
        ("tcp://127.0.0.1:1", "is at tcp://127.0.0.1:1, and instances need one of this machine"),
    ],
)
def test_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, sentence: str
) -> None:
    """Without an engine that can be used, the error says where it was looked for."""
    monkeypatch.setenv("DOCKER_HOST", host)

    async def live() -> None:
        container = DockerContainer(spec(tmp_path, image="xgboost-mme"), "nothing")
        with pytest.raises(ContainerError, match="Docker Engine") as caught:
            await container.start()
        assert sentence in str(caught.value)
        await container.stop()
        with pytest.raises(ContainerError, match="Docker Engine"):
            await remove_stale("nothing")

    uvloop.run(live())


@pytest.mark.docker
def test_no_image(tmp_path: Path, label: str) -> None:
    """An image that is not there is asked for in its full name, with what to do."""
    name = f"{REGISTRY}/no-such-image-{label}:7"

    async def live() -> None:
        container = DockerContainer(spec(tmp_path, image=name), label)
        with pytest.raises(ContainerError) as caught:
            await container.start()
        assert f"the image {name} is not in the local Docker Engine" in str(caught.value)
        assert f"docker tag IMAGE no-such-image-{label}:7" in str(caught.value)
        await container.stop()

    uvloop.run(live())


@contextlib.contextmanager
def built(folder: Path, label: str, dockerfile: str) -> Iterator[DockerContainer]:
    """A container, not started, of an image that is there for so long."""
    (folder / "Dockerfile").write_text(dockerfile)
    docker("build", "-t", label, str(folder))
    try:
        yield DockerContainer(spec(folder, image=label), label)
    finally:
        docker("rmi", label)


@pytest.mark.docker
@pytest.mark.timeout(BUILD_SECONDS + 300)
def test_not_for_many_models(tmp_path: Path, label: str, ours: str) -> None:
    """An image without the label that SageMaker asks for is refused as it is there."""
    key = "com.amazonaws.sagemaker.capabilities.multi-models"
    with (
        built(tmp_path, label, f"FROM {ours}\nLABEL {key}=false\n") as container,
        pytest.raises(ContainerError, match=f"does not contain required {key}=true"),
    ):
        uvloop.run(container.start())


@pytest.mark.docker
@pytest.mark.timeout(BUILD_SECONDS + 300)
def test_cannot_be_run(tmp_path: Path, label: str, ours: str) -> None:
    """A container that the engine makes but cannot start is removed; the error is the engine's."""
    with built(tmp_path, label, f'FROM {ours}\nENTRYPOINT ["/no/such/program"]\n') as container:
        with pytest.raises(ContainerError, match=r"cannot be run: .*/no/such/program"):
            uvloop.run(container.start())
        assert labelled(label) == []


@pytest.mark.docker
@pytest.mark.timeout(BUILD_SECONDS + 300)
def test_stalelabelled(tmp_path: Path, label: str, ours: str) -> None:
    """What a killed run over the same state left is removed, and nothing of another's."""
    (tmp_path / "other").mkdir()

    async def live() -> None:
        mine = DockerContainer(spec(tmp_path, image=ours), label)
        other = DockerContainer(spec(tmp_path / "other", image=ours), f"{label}-other")
        try:
            await mine.start()
            await other.start()
            await remove_stale(label)
            assert labelled(label) == []
            assert await until(mine.ended, END_SECONDS, "noticed")
            assert other.ended() is None
            assert await other.memory_bytes() > 0
        finally:
            await mine.stop()
            await other.stop()
        assert labelled(f"{label}-other") == []

    uvloop.run(live())


@pytest.mark.docker
@pytest.mark.timeout(BUILD_SECONDS + 300)
def test_stock_mms(tmp_path: Path, label: str, stock_mms: str) -> None:
    """Somebody else's container, named as in a registry, serves models in the same way."""
    put(tmp_path / "models" / "m" / "model", "weights.json", b"[1, 10]")
    put(tmp_path / "models" / "bad" / "model", "weights.txt", b"[1, 10]")

    async def live() -> None:
        image = f"{REGISTRY}/{stock_mms}:latest"
        container = DockerContainer(spec(tmp_path, image=image), label)
        async with running(container) as client:
            assert list(client.models()) == []
            assert client.load("m", "/opt/ml/models/m/model").status == 200
            assert json.loads(client.invoke("m", b"3,4").body) == [43]
            assert client.load("m", "/opt/ml/models/m/model").status == 409
            assert client.load("bad", "/opt/ml/models/bad/model").status >= 500
            assert client.unload("m").status == 200
            assert client.invoke("m", b"3,4").status == 404
            assert await container.memory_bytes() > 50e6
        assert "status 0" in str(container.ended())
        assert b"Model server started" in (tmp_path / "instance.log").read_bytes()

    uvloop.run(live())
