"""``mme export``: what ``mme deploy`` would make, as CloudFormation or Terraform."""

import argparse
import json
import re
import sys

from mme.aws import Aws, one_line
from mme.deploy import cloudformation, command, config, terraform, wanted
from mme.deploy.names import Account, Names
from mme.errors import CommandError

_ACCOUNT = re.compile(r"\d{12}")
_PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--cloudformation", action="store_true", help="a template, in JSON")
    kinds.add_argument("--terraform", action="store_true", help="a configuration: main.tf.json")
    config.add_arguments(parser, flags=True)
    parser.add_argument(
        "--account", metavar="ID", help="its twelve digits; else that of the credentials"
    )


def run(args: argparse.Namespace) -> int:
    """Print it; nothing on AWS is read but whose credentials these are."""
    asked = config.given(args)
    with one_line():
        names = Names(_where(args), asked)
    goal = wanted.wanted(names, command.image_of(names))
    make = cloudformation.template if args.cloudformation else terraform.configuration
    sys.stdout.write(json.dumps(make(names, goal), indent=2) + "\n")
    return 0


def _where(args: argparse.Namespace) -> Account:
    aws = Aws(args.profile, args.region)
    if args.account is None:
        return Account.of(aws)
    if not _ACCOUNT.fullmatch(args.account):
        raise CommandError("--account: twelve digits")
    found = (name for start, name in _PARTITIONS.items() if aws.region.startswith(start))
    return Account(next(found, "aws"), aws.region, args.account)
