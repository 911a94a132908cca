"""A real push of a real image, to a registry that asks for the password that ECR gives."""

import io
import json
import subprocess
import tarfile
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
USER, PASSWORD = "AWS", "123456789012-auth-token"  # moto's, for this account


@pytest.fixture
def aws(own: MotoChild, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """An account whose ECR gives a token."""
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


def test_push(aws: Aws, small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest and the layer arrive; a second push sends none; the user's logins stay."""
    users = tmp_path / "users"
    users.mkdir()
    (users / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(users))
    identity = image.local_image(small)
    tag = image.tag_of(identity)
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


def test_push_refused(aws: Aws, small: str) -> None:
    """A registry that does not take the password, and one that is not there, are one line."""
    with Registry(USER, "another") as registry:
        with pytest.raises(CommandError, match="docker cannot log in to") as error:
            image.push(aws, small, f"{registry.host}/a", "1", lambda _: None)
        assert "\n" not in str(error.value)
        assert not registry.blobs
    with pytest.raises(CommandError, match="docker cannot log in to"):
        image.push(aws, small, f"{registry.host}/a", "1", lambda _: None)


def test_no_such_image() -> None:
    """An image that Docker has not is named, with what makes it."""
    with pytest.raises(CommandError, match="Docker has no image 'mme-test-none': make image"):
        image.local_image("mme-test-none")
