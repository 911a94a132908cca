"""What tests of containers share."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from mme.client import Client
from mme.local.containers.container import Container, Spec
from mme.local.containers.docker_container import DockerContainer
from mme.local.containers.serve_container import ServeContainer
from mme.process_tree import descendants
from tests.image.support import START_SECONDS, docker
from tests.support import wait_until

MEMORY = 1024**3
END_SECONDS = 15

Make = Callable[..., Container]


def spec(home: Path, **changes: Any) -> Spec:
    """What to run over a folder of models, all of them the same."""
    values: dict[str, Any] = {
        "instance": f"i-{uuid.uuid4().hex[:17]}",
        "endpoint": "houses",
        "image": "",
        "multi_model": True,
        "models": home / "models",
        "log": home / "instance.log",
        "environment": {},
        "memory_bytes": MEMORY,
        "region": "eu-west-1",
    }
    return Spec(**{**values, **changes})


def put(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(data)


@contextlib.asynccontextmanager
async def running(container: Container) -> AsyncIterator[Client]:
    """Start it, wait until it is healthy, and stop it at the end."""
    try:
        await container.start()
        with Client(container.url_host, container.url_port) as client:
            await until(client.healthy, START_SECONDS, "a healthy container")
            yield client
    finally:
        await container.stop()


async def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """As ``wait_until``, while the loop goes on."""
    return await asyncio.to_thread(wait_until, condition, seconds, what)


def processes(container: Container) -> list[int]:
    """Those on this machine."""
    if isinstance(container, DockerContainer):
        return [int(docker("inspect", "--format", "{{.State.Pid}}", container.name))]
    assert isinstance(container, ServeContainer)
    assert container.pid is not None
    return descendants(container.pid)


def labelled(label: str) -> list[str]:
    """The containers with this label."""
    return docker("ps", "-aq", "--filter", f"label=mme.local.state={label}").split()
