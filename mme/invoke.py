"""``mme invoke``: ask one model of an endpoint, on AWS or of ``mme local``."""

import argparse
import re
import sys
import time
from pathlib import Path

from botocore.exceptions import ClientError

from mme.aws import Aws, code, explain, model_said, one_line
from mme.errors import CommandError

_ATTEMPTS = 3  # who asks by hand waits for no more
_SERVER_ERROR = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument("endpoint", help="its name")
    parser.add_argument("--target-model", metavar="NAME", help="such as Houston_TX.tar.gz")
    parser.add_argument("--target-variant", metavar="NAME", help="one variant, whatever its weight")
    parser.add_argument(
        "--body", default="-", metavar="FILE", help="the rows; - is standard input (the default)"
    )
    parser.add_argument("--content-type", default="text/csv", help="(default: %(default)s)")
    parser.add_argument("--accept", help="the content type of the answer")
    parser.add_argument("--region", help="of AWS; else as the AWS CLI finds it")
    parser.add_argument("--profile", help="of the AWS CLI's files")
    parser.add_argument(
        "--time", action="store_true", help="say on standard error how long the answer took"
    )


def run(args: argparse.Namespace) -> int:
    """Print the answer's body; where AWS_ENDPOINT_URL says, or on AWS.

    Raises:
        CommandError: there is no answer; the first words are the container's, if it said any.
    """
    if args.target_model is not None and not args.target_model.isprintable():
        raise CommandError("--target-model must be printable")
    aws = Aws(args.profile, args.region)
    body = _read(args.body)
    optional = {
        "TargetModel": args.target_model,
        "TargetVariant": args.target_variant,
        "Accept": args.accept,
    }
    with one_line():
        runtime = aws.client("sagemaker-runtime", _ATTEMPTS)
        begun = time.perf_counter()
        try:
            answer = runtime.invoke_endpoint(
                EndpointName=args.endpoint,
                ContentType=args.content_type,
                Body=body,
                **{name: value for name, value in optional.items() if value is not None},
            )
        except ClientError as error:
            raise CommandError(refused(error, args.endpoint, aws.region), status=1) from None
        data = answer["Body"].read()
        seconds = time.perf_counter() - begun
    sys.stdout.buffer.write(data if data.endswith(b"\n") else data + b"\n")
    if args.time:
        sys.stderr.write(f"{1000 * seconds:.1f} ms, {answer['InvokedProductionVariant']}\n")
    return 0


def refused(error: ClientError, endpoint: str, region: str) -> str:
    """One line: what is wrong, and the cure.

    Args:
        error: of InvokeEndpoint.
        endpoint: that was asked.
        region: where.
    """
    if code(error) == "ModelError":
        status = error.response.get("OriginalStatusCode", "no status")
        mine = isinstance(status, int) and status < _SERVER_ERROR
        return f"{status}: {model_said(error.response)}{'' if mine else ' (more: mme logs)'}"
    said = " ".join(str(error.response["Error"].get("Message", "")).split())
    if code(error) == "ModelNotReadyException":
        return "the model is still being loaded: ask again"
    if code(error) != "ValidationError":
        return explain(error)
    # AWS's sentences; it has no codes of their own for these.
    if said.startswith("Endpoint ") and said.endswith("not found."):
        return f"there is no endpoint {endpoint} in {region}: mme status, or mme deploy"
    if "missing a target model header" in said:
        return "which model? --target-model NAME, one of mme models list"
    absent = re.search(r"Failed to download model data ?\(bucket: (.+), key: (.+?)\)", said)
    if absent:
        there = f"s3://{absent[1]}/{absent[2]}"
        return f"{there} is not there, or the endpoint's role may not read it: mme models list"
    return said


def _read(name: str) -> bytes:
    if name == "-":
        if sys.stdin.isatty():
            sys.stderr.write("reading rows from the terminal, until Ctrl-D (else: --body FILE)\n")
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None
