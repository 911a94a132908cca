"""What is done where there is no Docker, or one that does not answer as it should."""

import stat
from pathlib import Path

import pytest

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
    """The id is what Docker says it is."""
    script(tmp_path, """echo '[{"Id": "sha256:00ff", "More": 1}]'""", monkeypatch)
    assert image.local_image("a") == "sha256:00ff"
