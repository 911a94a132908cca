"""``mme invoke``: ask one model of an endpoint, on AWS or of ``mme local``."""

import argparse
import sys
import time
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from mme.errors import CommandError


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
    """Print the answer's body; where AWS_ENDPOINT_URL says, or on AWS."""
    if args.target_model is not None and not args.target_model.isprintable():
        raise CommandError("--target-model must be printable")
    body = _read(args.body)
    optional = {
        "TargetModel": args.target_model,
        "TargetVariant": args.target_variant,
        "Accept": args.accept,
    }
    try:
        session = boto3.Session(profile_name=args.profile, region_name=args.region)
        runtime = session.client("sagemaker-runtime")
        begun = time.perf_counter()
        answer = runtime.invoke_endpoint(
            EndpointName=args.endpoint,
            ContentType=args.content_type,
            Body=body,
            **{name: value for name, value in optional.items() if value is not None},
        )
        data = answer["Body"].read()
        seconds = time.perf_counter() - begun
    except (BotoCoreError, ClientError) as error:
        raise CommandError(str(error), status=1) from None
    sys.stdout.buffer.write(data if data.endswith(b"\n") else data + b"\n")
    if args.time:
        sys.stderr.write(f"{1000 * seconds:.1f} ms, {answer['InvokedProductionVariant']}\n")
    return 0


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None
