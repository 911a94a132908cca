"""The container's image: by its URI, or one of this machine, pushed to a repository of ECR."""

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mme.aws import Aws, one_line
from mme.errors import CommandError

_TAG_LETTERS = 12  # of the image's id: as many as Docker itself shows
_QUICK_SECONDS = 60
_CURE = "give `image` as a URI of ECR instead"
Say = Callable[[str], None]


def is_uri(image: str) -> bool:
    """Whether an image's name says the registry that it is in, by Docker's own rule."""
    host, slash, _ = image.partition("/")
    return bool(slash) and ("." in host or ":" in host)


def local_image(name: str) -> str:
    """The id of an image of this machine, ``sha256:…``: another for other content.

    Raises:
        CommandError: there is none, or no Docker that could say so.
    """
    done = _docker("image", "inspect", name, seconds=_QUICK_SECONDS)
    if done.returncode == 0:
        return str(json.loads(done.stdout)[0]["Id"])
    text = _last_line(done.stderr)
    if "o such image" in text:
        raise CommandError(f"Docker has no image {name!r}: make image, or {_CURE}", status=1)
    raise CommandError(f"Docker does not answer ({text}): start its engine, or {_CURE}", status=1)


def tag_of(identity: str) -> str:
    """The tag of an image in the repository; what is there under it is the same image."""
    return identity.removeprefix("sha256:")[:_TAG_LETTERS]


def push(aws: Aws, name: str, repository_uri: str, tag: str, say: Say) -> None:
    """Push an image of this machine; layers that are there are not sent again.

    The login is kept in a folder of its own while this lasts: the user's own logins stay as they
    are, and no password stays behind.

    Args:
        aws: the account of the repository.
        name: the image here.
        repository_uri: ``repositoryUri``, of ECR.
        tag: as ``tag_of`` makes it.
        say: is told a line at a time what is done.

    Raises:
        CommandError: ECR or Docker refused.
    """
    user, password, registry = _login(aws)
    target = f"{repository_uri}:{tag}"
    with tempfile.TemporaryDirectory(prefix="mme-docker-") as folder:
        config = _config(Path(folder))
        # The host alone, without a scheme, is what image names are compared with.
        host = repository_uri.partition("/")[0]
        login = ["login", "--username", user, "--password-stdin", host]
        _check(_docker(*config, *login, text=password), f"log in to {registry}")
        _check(_docker("tag", name, target), f"tag {name}")
        _push(config, target, say)


def _login(aws: Aws) -> tuple[str, str, str]:
    """User, password and registry."""
    with one_line():
        (answer,) = aws.client("ecr").get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(answer["authorizationToken"]).decode().partition(":")
    return user, password, str(answer["proxyEndpoint"])


def _config(folder: Path) -> list[str]:
    """Docker's options for logins of its own, with the engine that the user has chosen."""
    # A context lies in the user's own folder: name its engine instead.
    done = _docker("context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    engine = done.stdout.strip() if done.returncode == 0 else ""
    (folder / "config.json").write_text("{}")  # no helper that would store the password elsewhere
    options = ["--config", str(folder)]
    return (
        [*options, "--host", engine] if engine.startswith(("unix:", "ssh:", "npipe:")) else options
    )


def _push(config: list[str], target: str, say: Say) -> None:
    lines: list[str] = []
    with subprocess.Popen(
        [_program(), *config, "push", target],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                if line.strip():
                    lines.append(line.strip())
                    say(lines[-1])
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise CommandError(
            f"docker cannot push {target}: {lines[-1] if lines else 'no reason given'}", status=1
        )


def _program() -> str:
    found = shutil.which("docker")
    if found is None:
        raise CommandError(f"there is no docker here: install it, or {_CURE}", status=1)
    return found


def _docker(*words: str, text: str = "", seconds: float | None = _QUICK_SECONDS) -> Any:
    """Run one docker command; what it printed, and its status."""
    try:
        return subprocess.run(
            [_program(), *words],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(
            f"Docker has not answered for {seconds:.0f} s: start its engine anew, or {_CURE}",
            status=1,
        ) from None


def _check(done: Any, what: str) -> None:
    if done.returncode:
        raise CommandError(f"docker cannot {what}: {_last_line(done.stderr)}", status=1)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
