"""Does the steps of a plan, one after another; it decides nothing."""

import re
import time
from collections.abc import Callable

from botocore.exceptions import ClientError

from mme.aws import Aws, code, explain, one_line
from mme.deploy import archives, image
from mme.deploy.found import CHANGING
from mme.deploy.steps import Call, Clear, Plan, Push, Remove, Step, Upload, Wait
from mme.errors import CommandError

Say = Callable[[str], None]
_PATIENCE_SECONDS = 60.0  # until a new role is known everywhere
_AGAIN_SECONDS = 3.0
_LOOK_SECONDS = 5.0  # between two looks at an endpoint
_WAIT_SECONDS = 9 * 3600.0  # SageMaker itself ends a deployment after eight hours at most
_SAY_SECONDS = 60.0  # between two lines of somebody who waits
_REFUSED = "ValidationException"
_OTHERS = "in-progress|already existing"  # what AWS says when two do the same


def execute(aws: Aws, plan: Plan, say: Say) -> None:
    """Do all steps.

    Args:
        aws: the account.
        plan: what to do.
        say: is given each step's line as it begins.

    Raises:
        CommandError: a step failed; those before it are done, and none after it.
    """
    for step in plan.steps:
        say(f"{step.sign} {step.what.partition(chr(10))[0].rstrip(':')}")
        with one_line():
            _do(aws, step, say)


def _do(aws: Aws, step: Step, say: Say) -> None:
    match step:
        case Call():
            _call(aws, step)
        case Push():
            image.push(aws, step.image, step.repository_uri, step.tag, say)
        case Upload():
            archives.upload(aws, step.bucket, step.prefix, step.archives, step.tags, step.kms_key)
        case Wait():
            _judge(step, settle(aws, step.endpoint, say))
        case Clear():
            _, kept = archives.remove(aws, step.bucket, step.prefix, step.endpoint)
            if kept:
                say(f"  {kept} objects without the endpoint's tag stay")
        case Remove():
            _remove(aws, step, say)


def _call(aws: Aws, step: Call) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            getattr(aws.client(step.service), step.operation)(**step.parameters)
        except ClientError as error:
            if code(error) == _REFUSED and re.search(_OTHERS, str(error)):
                raise CommandError(
                    f"{explain(error)}: somebody else is deploying it; run it again", status=1
                ) from None
            passing = code(error) == _REFUSED and step.patience
            if not passing or not re.search(step.patience, str(error)):
                raise
            if time.monotonic() > give_up:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def settle(aws: Aws, endpoint: str, say: Say) -> dict[str, str]:
    """Return when the endpoint has come to rest, or is gone; its description then, or nothing.

    Raises:
        CommandError: it does not in time.
    """
    begun = time.monotonic()
    shown, say_at = "", 0.0
    while time.monotonic() < begun + _WAIT_SECONDS:
        described = _describe(aws, endpoint)
        status = described.get("EndpointStatus", "")
        if status not in CHANGING:
            return described
        if status != shown or time.monotonic() > say_at:
            say(f"  {status} ({time.monotonic() - begun:.0f} s)")
            shown, say_at = status, time.monotonic() + _SAY_SECONDS
        time.sleep(_LOOK_SECONDS)
    raise CommandError(
        f"endpoint {endpoint} is still {shown} after {_WAIT_SECONDS / 3600:.0f} hours", 1
    )


def _describe(aws: Aws, endpoint: str) -> dict[str, str]:
    try:
        return dict(aws.client("sagemaker").describe_endpoint(EndpointName=endpoint))
    except ClientError as error:
        if code(error) == _REFUSED:
            return {}
        raise


def _judge(step: Wait, described: dict[str, str]) -> None:
    status = described.get("EndpointStatus", "")
    reason = described.get("FailureReason") or "AWS gives no reason"
    if not step.config:
        if status:
            raise CommandError(f"endpoint {step.endpoint} is {status}, not deleted: {reason}", 1)
        return
    if not status:
        raise CommandError(f"endpoint {step.endpoint} has been deleted meanwhile", 1)
    if status != "InService":
        raise CommandError(
            f"endpoint {step.endpoint} is {status}: {reason}. See mme logs; when the cause is "
            "gone, run mme deploy again",
            1,
        )
    if described["EndpointConfigName"] != step.config:
        raise CommandError(
            f"the update of endpoint {step.endpoint} was undone, and the old instances serve on: "
            f"{reason}. Archives that were replaced stay so. See mme logs and mme status",
            1,
        )


def _remove(aws: Aws, step: Remove, say: Say) -> None:
    try:
        aws.client("s3").delete_bucket(Bucket=step.bucket)
    except ClientError as error:
        if code(error) != "BucketNotEmpty":
            raise
        say(f"  bucket {step.bucket} stays: there are objects in it that mme deploy did not put")
