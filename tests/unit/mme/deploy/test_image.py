"""What is done where there is no Docker, or one that does not answer as it should."""

import base64
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mme.deploy import image
from mme.errors import CommandError


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("xgboost-mme", False),
        ("mine/xgboost-mme:2", False),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:1", True),
        ("localhost:5000/xgboost-mme", True),
        ("registry.example.com/a/b@sha256:0", True),
    ],
)
def test_is_uri(name: str, uri: bool) -> None:
    """A name whose first part is a host is somebody's registry's."""
    assert image.is_uri(name) is uri


def test_tag() -> None:
    """It is the beginning of the image's id."""
    assert image.tag_of("sha256:0123456789abcdef") == "0123456789ab"


def script(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``docker`` that does as the text says."""
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo 'Cannot connect to the Docker daemon at unix:///x.' >&2; exit 1",
         r"Docker does not answer \(Cannot connect to the Docker daemon at unix:///x\.\): start"),
        ("echo 'Error: No such image: a' >&2; exit 1", "Docker has no image 'a': make image, or"),
        ("exit 1", r"Docker does not answer \(no reason given\)"),
        ("while :; do :; done", "Docker has not answered for 0 s"),
    ],
    ids=["no engine", "no image", "no reason", "no end"],
)  # fmt: skip
def test_no_engine(text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong with Docker is one line with two cures."""
    script(tmp_path, text, monkeypatch)
    monkeypatch.setattr(image, "_QUICK_SECONDS", 0.3 if "while" in text else 20.0)
    with pytest.raises(CommandError, match=why) as error:
        image.local_image("a")
    assert "give `image` as a URI of ECR" in str(error.value)


def test_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program, too."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="there is no docker here: install it, or give"):
        image.local_image("a")


def test_local_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Id and architecture are what Docker says they are."""
    found = '[{"Id": "sha256:00ff", "More": 1, "Architecture": "arm64"}]'
    script(tmp_path, f"echo '{found}'", monkeypatch)
    assert image.local_image("a") == ("sha256:00ff", "arm64")


@pytest.mark.parametrize(
    ("instance_type", "architecture"),
    [
        *((f"ml.{one}.xlarge", "arm64") for one in ("m7g", "c6gn", "r6gd", "g5g", "x2gd", "m6g")),
        *((f"ml.{one}.xlarge", "amd64") for one in ("m5", "g5", "g4dn", "p4d", "c7i", "gr6", "t2")),
        ("ml.m5.large", "amd64"),
    ],
)
def test_fits(instance_type: str, architecture: str) -> None:
    """Graviton's instances run arm64 and nothing else, and all others amd64."""
    assert image.fits(architecture, instance_type)
    assert not image.fits({"arm64": "amd64", "amd64": "arm64"}[architecture], instance_type)


# A push

REPOSITORY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mme/houses"
HOST = REPOSITORY.partition("/")[0]
TOKEN = base64.b64encode(b"AWS:secret").decode()
WHICH = {"repositoryName": "mme/houses", "imageIds": [{"imageTag": "00ff"}]}
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
# Notes each call, with the folder of logins as it is then; ``context inspect`` answers CONTEXT.
DOCKER = """#!{python} -ES
import json, os, sys
words = sys.argv[1:]
note = {{"words": words, "mode": 0, "config": None, "contexts": ""}}
if words[0] == "--config":
    folder = words[1]
    file = os.path.join(folder, "config.json")
    note["mode"] = os.stat(file).st_mode & 0o777 | (os.stat(folder).st_mode & 0o777) << 9
    note["config"] = json.load(open(file))
    link = os.path.join(folder, "contexts")
    note["contexts"] = os.path.realpath(link) if os.path.exists(link) else ""
with open({log!r}, "a") as log:
    log.write(json.dumps(note) + "\\n")
if words[:2] == ["context", "inspect"]:
    print({context!r})
    sys.exit(not {context!r})
"""


class Docker:
    """A ``docker`` that notes what it is asked."""

    def __init__(self, folder: Path, context: str) -> None:
        self.log = folder / "log"
        path = folder / "docker"
        text = DOCKER.format(python=sys.executable, log=str(self.log), context=context)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def notes(self) -> list[dict[str, Any]]:
        """Of all calls."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class Account:
    """One whose ECR is a stub: it answers in AWS's own shapes, in the order that was given."""

    def __init__(self) -> None:
        self.ecr = boto3.client(
            "ecr", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"  # noqa: S106  # nobody's
        )  # fmt: skip
        self.stub = Stubber(self.ecr)
        self.stub.add_response(
            "get_authorization_token", {"authorizationData": [{"authorizationToken": TOKEN}]}
        )

    def pushed(self, kind: str) -> None:
        """Let an image of a media type be there."""
        details = [{"imageManifestMediaType": kind}]
        self.stub.add_response("describe_images", {"imageDetails": details}, WHICH)

    def client(self, service: str) -> Any:
        """The one."""
        assert service == "ecr"
        return self.ecr


@pytest.fixture
def account() -> Iterator[Any]:
    """All answers must have been asked for."""
    made = Account()
    with made.stub:
        yield made
        made.stub.assert_no_pending_responses()
    made.ecr.close()


def contexts(folder: Path, name: str) -> str:
    """A folder of contexts as Docker keeps them, and what it says of one."""
    meta = folder / "contexts" / "meta" / "0123"
    meta.mkdir(parents=True)
    return json.dumps([{"Name": name, "Storage": {"MetadataPath": str(meta)}}])


@pytest.mark.parametrize("name", ["", "default", "theirs"])
def test_push(name: str, account: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password is in a private file while Docker pushes, by the engine of the user's context.

    Docker is never told to log in, which would hand the password to a store of the system's.
    """
    docker = Docker(tmp_path, contexts(tmp_path / "users", name) if name else "")
    monkeypatch.setenv("PATH", str(tmp_path))
    account.pushed(MANIFEST)
    image.push(account, "xgboost-mme", REPOSITORY, "00ff", lambda _: None)
    _, tag, push = docker.notes
    folder = push["words"][1]
    theirs = ["--context", "theirs"] if name == "theirs" else []
    assert tag["words"] == ["tag", "xgboost-mme", f"{REPOSITORY}:00ff"]
    assert push["words"] == ["--config", folder, *theirs, "push", f"{REPOSITORY}:00ff"]
    assert push["config"] == {"auths": {HOST: {"auth": TOKEN}}}
    assert push["mode"] == 0o700600
    assert push["contexts"] == (str(tmp_path / "users" / "contexts") if theirs else "")
    assert not Path(folder).exists()
    assert (tmp_path / "users" / "contexts" / "meta" / "0123").exists() == bool(name)
    assert all("secret" not in word and TOKEN not in word for word in push["words"])


@pytest.mark.parametrize(
    ("kind", "failures", "also"),
    [
        (INDEX, [], ""),
        ("application/vnd.docker.distribution.manifest.list.v2+json", [], ""),
        (INDEX, [{"failureReason": "it is used"}], "which failed here: it is used"),
        (INDEX, None, "needs the permission ecr:BatchDeleteImage"),
    ],
    ids=["index", "list", "kept", "denied"],
)
def test_pushed_index(
    kind: str,
    failures: list[dict[str, str]] | None,
    also: str,
    account: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What SageMaker would refuse is taken away again, and the line says how to build another."""
    Docker(tmp_path, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    account.pushed(kind)
    if failures is None:
        why = "me is not authorized to perform: ecr:BatchDeleteImage on it"
        account.stub.add_client_error("batch_delete_image", "AccessDeniedException", why)
    else:
        account.stub.add_response("batch_delete_image", {"failures": failures}, WHICH)
    with pytest.raises(CommandError, match="docker build --provenance=false") as error:
        image.push(account, "xgboost-mme", REPOSITORY, "00ff", lambda _: None)
    message = str(error.value)
    assert kind in message
    assert message.endswith(also or "--provenance=false")
    assert "\n" not in message
