"""``mme destroy``: what ``mme deploy`` made goes, and nothing else."""

import argparse
import sys

from mme.aws import Aws, one_line
from mme.deploy import config, demolition, executor
from mme.deploy.command import agree, say, settled, uploaded
from mme.deploy.names import Account, Names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    config.add_arguments(parser)
    parser.add_argument("--plan", action="store_true", help="print what would go, and end")
    parser.add_argument("--yes", action="store_true", help="do not ask before it goes")


def run(args: argparse.Namespace) -> int:
    """Plan, ask, do."""
    wanted = config.given(args)
    aws = Aws(args.profile, args.region)
    with one_line():
        names = Names(Account.of(aws), wanted)
        there = settled(aws, names, only_look=args.plan)
        plan = demolition.plan(names, there, len(uploaded(aws, names, there)))
    if not plan.steps:
        say(f"nothing of {names.endpoint} is left in account {aws.account}, {aws.region}")
        return 0
    say(f"of {names.endpoint} in account {aws.account}, {aws.region}, this goes:")
    sys.stdout.write(str(plan))
    if args.plan:
        return 0
    agree(args.yes, "Is that what you want?")
    executor.execute(aws, plan, say)
    return 0
