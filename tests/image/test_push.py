"""A real push of a real image, to a registry that asks for the password that ECR gives."""

import contextlib
import io
import json
import socket
import socketserver
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mme.aws import Aws
from mme.deploy import image
from mme.errors import CommandError
from tests.image.registry import Registry
from tests.image.support import docker
from tests.local.moto import MotoChild, own

__all__ = ["own"]  # a fixture
pytestmark = pytest.mark.docker
SECONDS = 60
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
USER, PASSWORD = "AWS", "123456789012-auth-token"  # moto's, for this account


class Forward(contextlib.AbstractContextManager["Forward"]):
    """A port on loopback that leads to a socket; leaving it closes it.

    Attributes:
        host: where it is.
        asked: all that came by it.
    """

    def __init__(self, path: str) -> None:
        self.asked = bytearray()
        forward = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.socket(socket.AF_UNIX) as behind:
                    behind.connect(path)
                    back = threading.Thread(target=_copy, args=(behind, self.request, bytearray()))
                    back.start()
                    _copy(self.request, behind, forward.asked)
                    back.join(SECONDS)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _copy(source: socket.socket, target: socket.socket, noted: bytearray) -> None:
    with contextlib.suppress(OSError):  # either side may close at any time
        while data := source.recv(65536):
            noted += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def aws(own: MotoChild, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """An account whose ECR gives a token; nothing that is pushed elsewhere gets there by itself."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", own.url)
    return Aws(region="us-east-1")


@pytest.fixture
def small() -> Iterator[str]:
    """An image of one file; gone afterwards, with all names that it was given."""
    name = f"mme-test-{uuid.uuid4().hex[:8]}"
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as archive:
        member = tarfile.TarInfo("file")
        member.size = len(name)
        archive.addfile(member, io.BytesIO(name.encode()))
    subprocess.run(
        ["docker", "import", "-", name], input=tape.getvalue(), check=True, capture_output=True
    )
    identity = docker("image", "inspect", "--format", "{{.Id}}", name)
    yield name
    docker("image", "rm", "--force", identity)


def note(aws: Aws, repository: str, tag: str) -> None:
    """Let ECR know an image, as if the push had gone there."""
    ecr = aws.client("ecr")
    ecr.create_repository(repositoryName=repository)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {}, "layers": []}
    ecr.put_image(repositoryName=repository, imageManifest=json.dumps(manifest), imageTag=tag)


def test_push(aws: Aws, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest and the layer arrive; a second push sends none; the user's logins stay."""
    users = tmp_path / "users"
    users.mkdir()
    (users / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(users))
    found = image.local_image(small)
    assert found.architecture in ("amd64", "arm64")
    tag = image.tag_of(found.identity)
    note(aws, "xgboost-mme/houses", tag)
    said: list[str] = []
    with Registry(USER, PASSWORD) as registry:
        repository = f"{registry.host}/xgboost-mme/houses"
        image.push(aws, small, repository, tag, said.append)
        assert registry.refused >= 1  # it was asked for
        manifest = json.loads(registry.manifests["xgboost-mme/houses", tag])
        needed = {manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"])}
        assert needed == set(registry.blobs)
        sent = registry.uploads
        image.push(aws, small, repository, tag, said.append)
        assert registry.uploads == sent
    assert any("Pushed" in line for line in said)
    assert all("\n" not in line for line in said)
    assert (users / "config.json").read_text() == "{}"
    assert list(users.iterdir()) == [users / "config.json"]


def test_push_by_context(aws: Aws, small: str, tmp_path: Path) -> None:
    """An engine that a context of the user's names, by TCP, is the one that pushes."""
    engine = docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").strip()
    if not engine.startswith("unix://"):
        pytest.skip("the engine is reached by no socket")
    note(aws, "houses", "1")
    with (
        Forward(engine.removeprefix("unix://")) as forward,
        Registry(USER, PASSWORD) as registry,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DOCKER_CONFIG", str(tmp_path / "users"))
        patch.delenv("DOCKER_HOST", raising=False)
        docker("context", "create", "theirs", "--docker", f"host=tcp://{forward.host}")
        docker("context", "use", "theirs")
        before = (tmp_path / "users" / "config.json").read_bytes()
        image.push(aws, small, f"{registry.host}/houses", "1", lambda _: None)
        assert ("houses", "1") in registry.manifests
        assert b"/houses/push?tag=1 " in forward.asked
    assert (tmp_path / "users" / "config.json").read_bytes() == before


def test_push_refused(aws: Aws, small: str) -> None:
    """A registry that does not take the password, and one that is not there, are one line."""
    with Registry(USER, "another") as registry:
        with pytest.raises(CommandError, match="docker cannot push 127") as error:
            image.push(aws, small, f"{registry.host}/a", "1", lambda _: None)
        assert "\n" not in str(error.value)
        assert not registry.blobs
    with pytest.raises(CommandError, match="docker cannot push 127"):
        image.push(aws, small, f"{registry.host}/a", "1", lambda _: None)


def test_no_such_image() -> None:
    """An image that Docker has not is named, with what makes it."""
    with pytest.raises(CommandError, match="Docker has no image 'mme-test-none': make image"):
        image.local_image("mme-test-none")
