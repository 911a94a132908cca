"""The container's image: by its URI, or one of this machine, pushed to a repository of ECR."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from mme.aws import Aws, explain, one_line
from mme.errors import CommandError

_TAG_LETTERS = 12  # of the image's id: as many as Docker itself shows
_QUICK_SECONDS = 60
_CURE = "give `image` as a URI of ECR instead"
_GRAVITON = re.compile(r"ml\.[a-z]+\d+g")  # m7g, c6gn, r6gd, g5g; but g5 and p5e are none
INDEXES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
Say = Callable[[str], None]


class LocalImage(NamedTuple):
    """An image of this machine's Docker.

    Attributes:
        identity: ``sha256:…``, another for other content.
        architecture: as Go calls it: ``amd64``, ``arm64``.
    """

    identity: str
    architecture: str


def is_uri(image: str) -> bool:
    """Whether an image's name says the registry that it is in, by Docker's own rule."""
    host, slash, _ = image.partition("/")
    return bool(slash) and ("." in host or ":" in host)


def local_image(name: str) -> LocalImage:
    """An image of this machine.

    Raises:
        CommandError: there is none, or no Docker that could say so.
    """
    done = _docker("image", "inspect", name, seconds=_QUICK_SECONDS)
    if done.returncode == 0:
        (found,) = json.loads(done.stdout)
        return LocalImage(found["Id"], found["Architecture"])
    text = _last_line(done.stderr)
    if "o such image" in text:
        raise CommandError(f"Docker has no image {name!r}: make image, or {_CURE}", status=1)
    raise CommandError(f"Docker does not answer ({text}): start its engine, or {_CURE}", status=1)


def fits(architecture: str, instance_type: str) -> bool:
    """Whether an image can run on instances: Graviton's are arm64, and all others amd64.

    Args:
        architecture: the image's.
        instance_type: such as ``ml.m7g.large``.
    """
    wanted = "arm64" if _GRAVITON.match(instance_type) else "amd64"
    return architecture == wanted


def tag_of(identity: str) -> str:
    """The tag of an image in the repository; what is there under it is the same image."""
    return identity.removeprefix("sha256:")[:_TAG_LETTERS]


def push(aws: Aws, name: str, repository_uri: str, tag: str, say: Say) -> None:
    """Push an image of this machine; layers that are there are not sent again.

    The password of ECR is in a folder of its own while this lasts: the user's own logins stay as
    they are, no store of passwords is given it, and none stays behind.

    Args:
        aws: the account of the repository.
        name: the image here.
        repository_uri: ``repositoryUri``, of ECR.
        tag: as ``tag_of`` makes it.
        say: is told a line at a time what is done.

    Raises:
        CommandError: ECR or Docker refused, or SageMaker would refuse what has been pushed.
    """
    target = f"{repository_uri}:{tag}"
    host, _, repository = repository_uri.partition("/")
    with one_line():
        (token,) = aws.client("ecr").get_authorization_token()["authorizationData"]
    with tempfile.TemporaryDirectory(prefix="mme-docker-") as folder:
        config = _config(Path(folder), host, token["authorizationToken"])
        _check(_docker("tag", name, target), f"tag {name}")
        _push(config, target, say)
    with one_line():
        _check_kind(aws, repository, tag)


def _config(folder: Path, host: str, token: str) -> list[str]:
    """Docker's options for a login of its own, with the engine that the user has chosen.

    Args:
        folder: nobody else's.
        host: of the registry, without a scheme: what image names are compared with.
        token: user and password, as Docker keeps them: with a colon between, in base64.
    """
    file = folder / "config.json"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    # Never empty: with no login in it, Docker looks for the system's own store of passwords.
    with os.fdopen(descriptor, "w") as opened:
        json.dump({"auths": {host: {"auth": token}}}, opened)
    return ["--config", str(folder), *_context(folder)]


def _context(folder: Path) -> list[str]:
    """The user's context, brought into a folder of other logins; none where it is the default.

    With its name come its keys, so that it is the same engine by ``tcp:`` and TLS, too.
    """
    done = _docker("context", "inspect")
    try:
        (found,) = json.loads(done.stdout)
        name, kept = found["Name"], Path(found["Storage"]["MetadataPath"])  # …/meta/<hash>
    except (ValueError, KeyError, TypeError):  # an older Docker, or none of Docker's
        return []
    if name == "default":  # kept nowhere: it is what the environment says
        return []
    (folder / "contexts").symlink_to(kept.parents[1])
    return ["--context", name]


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


def _check_kind(aws: Aws, repository: str, tag: str) -> None:
    """Take a tag away again that names what SageMaker does not pull: a list of images."""
    ecr = aws.client("ecr")
    which = {"repositoryName": repository, "imageIds": [{"imageTag": tag}]}
    (found,) = ecr.describe_images(**which)["imageDetails"]
    kind = found.get("imageManifestMediaType", "")
    if kind not in INDEXES:
        return
    why = (
        f"SageMaker does not pull what was pushed, a list of images ({kind}): build one alone, "
        "make image or docker build --provenance=false"
    )
    # Or the next deployment would find it there, and take it for good.
    try:
        failures = ecr.batch_delete_image(**which)["failures"]
        reason = failures[0].get("failureReason", "no reason given") if failures else ""
    except ClientError as error:
        reason = explain(error)
    if reason:
        why += f"; and remove {repository}:{tag} from ECR first, which failed here: {reason}"
    raise CommandError(why, status=1)


def _program() -> str:
    found = shutil.which("docker")
    if found is None:
        raise CommandError(f"there is no docker here: install it, or {_CURE}", status=1)
    return found


def _docker(*words: str, seconds: float | None = _QUICK_SECONDS) -> Any:
    """Run one docker command; what it printed, and its status."""
    try:
        return subprocess.run(
            [_program(), *words],
            stdin=subprocess.DEVNULL,
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
