"""One model of a new endpoint, asked once cold and then warm: does it answer, and how fast?"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from handler.directory import find
from handler.errors import HandlerError
from handler.trial import check
from mme.artifacts import ArtifactError, unpack
from mme.aws import Aws, code, model_said, one_line
from mme.deploy.archives import SUFFIX
from mme.errors import CommandError

_LOAD_SECONDS = 360.0  # the longest that SageMaker lets a model load
_AGAIN_SECONDS = 2.0
_WARM_TIMES = 10
_TRIED = 5  # archives, until one can be read
_MOST_BYTES = 256 * 1024**2  # of an archive that is fetched to see what it is
_MOST_UNPACKED_BYTES = 1024**3
_CONTENT_TYPE = "text/csv"


class Tried(NamedTuple):
    """A model that answered.

    Attributes:
        target_model: which.
        cold_ms: of the first request, with what it waited for.
        warm_ms: of those after it, the median.
        answer: the body.
    """

    target_model: str
    cold_ms: float
    warm_ms: float
    answer: str


def first(
    aws: Aws,
    endpoint: str,
    bucket: str,
    prefix: str,
    say: Callable[[str], None],
    target_model: str = "",
) -> Tried | None:
    """Ask the first model of a prefix whose archive can be read, of five at most.

    Args:
        aws: the account.
        endpoint: to ask.
        bucket: of the models.
        prefix: before each key.
        say: is told in a line why no model was asked: the image may serve what we cannot read.
        target_model: to ask this one, whatever is there beside it.

    Returns:
        None where there is none that can be read.

    Raises:
        CommandError: there is no archive, or one that can be read does not answer.
    """
    bad = []
    for key, size in _chosen(aws, bucket, prefix, target_model):
        try:
            body = row(_fetch(aws, bucket, prefix + key, size))
        except CommandError as error:
            bad.append(f"{key}: {error}")
        else:
            return invoke(aws, endpoint, key, body)
    say(
        f"  no model was tried, for {'it' if len(bad) == 1 else f'all {len(bad)} looked at'} could "
        f"not be read ({bad[0]}); try one: mme invoke {endpoint} --target-model NAME"
    )
    return None


def _chosen(aws: Aws, bucket: str, prefix: str, target_model: str) -> list[tuple[str, int]]:
    """Keys below the prefix, with sizes in bytes: of the one, or of the first that are small."""
    small: list[tuple[str, int]] = []
    large: list[tuple[str, int]] = []
    with one_line():
        pages = aws.client("s3").get_paginator("list_objects_v2")
        pages = pages.paginate(Bucket=bucket, Prefix=prefix + target_model)
        for item in (item for page in pages for item in page.get("Contents", ())):
            key, size = item["Key"].removeprefix(prefix), item["Size"]
            if key == target_model or (not target_model and key.endswith(SUFFIX)):
                (small if size <= _MOST_BYTES else large).append((key, size))
            if len(small) == _TRIED:
                break
    if not small and not large:
        which = target_model or f"*{SUFFIX}"
        raise CommandError(f"s3://{bucket}/{prefix} has no {which} to try: mme models add", 1)
    return small or large[:1]


def _fetch(aws: Aws, bucket: str, key: str, size: int) -> bytes:
    if size > _MOST_BYTES:
        raise CommandError(f"more than {_MOST_BYTES / 1e6:.0f} MB", status=1)
    with one_line():
        return bytes(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def row(archive: bytes) -> str:
    """A row that a model takes: of CSV, as many zeros as it has features.

    The model is read by the container's own code, so what that refuses is refused here.

    Raises:
        CommandError: the archive holds no model that the container can serve.
    """
    with tempfile.TemporaryDirectory(prefix="mme-smoke-") as folder:
        directory = Path(folder, "model")
        try:
            unpack(archive, directory, _MOST_UNPACKED_BYTES)
            found = find(directory)
            traits = [check(model)[0][2] for model in found.models]
        except ArtifactError as error:
            raise CommandError(str(error), status=1) from None
        except HandlerError as error:
            raise CommandError(error.message, status=1) from None
    if not traits:
        raise CommandError("no model but a script, whose rows only you know", status=1)
    return ",".join("0" * traits[0].features)


def invoke(
    aws: Aws, endpoint: str, target_model: str, body: str, content_type: str = _CONTENT_TYPE
) -> Tried:
    """Ask a model once, and then ten times.

    A model that takes over a minute to load is asked again until it has had six.

    Raises:
        CommandError: it does not answer, or with an error.
    """
    runtime = aws.client("sagemaker-runtime")

    def ask() -> tuple[float, str]:
        begun = time.perf_counter()
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint,
            TargetModel=target_model,
            ContentType=content_type,
            Body=body.encode(),
        )
        text = answer["Body"].read().decode(errors="replace")
        return 1000 * (time.perf_counter() - begun), text

    begun = time.perf_counter()
    try:
        with one_line():
            answer = _patiently(ask)
            cold_ms = 1000 * (time.perf_counter() - begun)
            warm_ms = statistics.median(ask()[0] for _ in range(_WARM_TIMES))
    except CommandError as error:
        raise CommandError(f"{target_model} does not answer: {error}", status=1) from None
    return Tried(target_model, cold_ms, warm_ms, answer)


def _patiently(ask: Callable[[], tuple[float, str]]) -> str:
    """The first answer, as late as a model may be."""
    give_up = time.monotonic() + _LOAD_SECONDS
    while True:
        try:
            return ask()[1]
        except ClientError as error:
            if code(error) == "ModelError":
                raise CommandError(model_error(error.response), status=1) from None
            if code(error) != "ModelNotReadyException" or time.monotonic() > give_up:
                raise
            time.sleep(_AGAIN_SECONDS)


def model_error(response: Mapping[str, Any]) -> str:
    """One line of a ModelError: what the container said, and where it said more."""
    _, _, group = str(response.get("LogStreamArn", "")).partition("log-group:")
    where = f"; more in the log group {group} (mme logs)" if group else ""
    return f"{model_said(response)} ({response.get('OriginalStatusCode', 'no status')}){where}"
