"""``mme local``: what may be chosen, and ``mme local env``."""

import argparse
import os
import sys
from pathlib import Path

import uvloop

from mme.errors import CommandError
from mme.local.server import Options, Server, StartError
from mme.local.settings import Settings, SettingsError

# Our own clients, which go to moto, are nobody's of the AWS CLI's files.
_NO_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
_ENV = """\
export AWS_ENDPOINT_URL=http://127.0.0.1:{port}
export AWS_ACCESS_KEY_ID=local
export AWS_SECRET_ACCESS_KEY=local
export AWS_DEFAULT_REGION={region}
export AWS_REGION={region}
export AWS_EC2_METADATA_DISABLED=true
export NO_PROXY=127.0.0.1,localhost${{NO_PROXY:+,$NO_PROXY}}
unset AWS_PROFILE AWS_SESSION_TOKEN
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=("env",),
        help="print what a shell exports so that boto3 and the AWS CLI come here: "
        'eval "$(mme local env)"',
    )
    parser.add_argument("--port", type=int, help="(default: $MME_LOCAL_PORT, or 4599)")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(".mme-local"),
        metavar="DIR",
        help="buckets, models and endpoints are kept here (default: %(default)s)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="have an endpoint in service over this folder of archives; needs --endpoint",
    )
    parser.add_argument("--endpoint", metavar="NAME", help="the name of that endpoint")
    parser.add_argument(
        "--docker",
        action="store_true",
        help="run the image that a model names in Docker, instead of mme serve as a process",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; or print the exports."""
    try:
        settings = Settings.from_environ(os.environ)
        port = int(settings.port) if args.port is None else args.port
        if args.what == "env":
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            sys.stdout.write(_ENV.format(port=port, region=region or "us-east-1"))
            return 0
        if (args.models is None) != (args.endpoint is None):
            raise CommandError("--models and --endpoint belong together")
        if args.models is not None and not args.models.is_dir():
            raise CommandError(f"--models: there is no folder {args.models}")
        if args.models is not None and next(args.models.rglob("*.tar.gz"), None) is None:
            raise CommandError(f"--models: there is no *.tar.gz in {args.models} yet")
        options = Options(
            port=port,
            state=args.state.resolve(),
            models=args.models.resolve() if args.models else None,
            endpoint=args.endpoint,
            docker=args.docker,
            settings=settings,
        )
        os.environ |= _NO_FILES
        os.environ.pop("AWS_PROFILE", None)
        return uvloop.run(Server(options).run())
    except (SettingsError, StartError) as error:
        raise CommandError(str(error), status=1) from None
