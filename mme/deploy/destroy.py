"""``mme destroy``: what ``mme deploy`` made goes, and nothing else."""

import argparse
import sys

from mme.aws import Aws, one_line
from mme.deploy import archives, config, demolition, executor
from mme.deploy.command import agree, say, settled
from mme.deploy.names import Account, Names
from mme.deploy.steps import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    config.add_arguments(parser)
    parser.add_argument("--plan", action="store_true", help="print what would go, and end")
    parser.add_argument("--logs", action="store_true", help="what its containers wrote goes, too")
    parser.add_argument("--yes", action="store_true", help="do not ask before it goes")


def run(args: argparse.Namespace) -> int:
    """Plan, ask, do."""
    wanted = config.given(args)
    aws = Aws(args.profile, args.region)
    with one_line():
        names = Names(Account.of(aws), wanted)
        plan = _planned(aws, names, args.logs, only_look=args.plan)
    if not plan.steps:
        say(f"nothing of {names.endpoint} is left in account {aws.account}, {aws.region}")
        sys.stdout.write(str(plan))
        return 0
    say(f"of {names.endpoint} in account {aws.account}, {aws.region}, this goes:")
    sys.stdout.write(str(plan))
    if args.plan:
        return 0
    if not args.yes:
        agree("Is that what you want?")
        with one_line():
            plan = _planned(aws, names, args.logs)
    executor.execute(aws, plan, say)
    return 0


def _planned(aws: Aws, names: Names, with_logs: bool, only_look: bool = False) -> Plan:
    there = settled(aws, names, only_look)
    uploads = {}
    for bucket in {names.made_bucket if there.bucket else "", names.config.bucket} - {""}:
        uploads[bucket] = len(archives.remote(aws, bucket, names.uploads, absent_is_empty=True))
    groups = aws.client("logs").describe_log_groups(logGroupNamePrefix=names.log_group)["logGroups"]
    has_logs = names.log_group in [group["logGroupName"] for group in groups]
    return demolition.plan(names, there, uploads, has_logs, with_logs)
