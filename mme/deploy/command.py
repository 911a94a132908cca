"""``mme deploy``: from one small file to a running endpoint; again, and nothing changes."""

import argparse
import sys

from mme.aws import Aws, one_line
from mme.deploy import archives, config, executor, found, image, planner, smoke
from mme.deploy.archives import Remote
from mme.deploy.found import CHANGING, Found
from mme.deploy.names import Account, Names
from mme.deploy.planner import Archives, Image
from mme.deploy.steps import Plan, Wait
from mme.errors import CommandError
from mme.plan import prices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    config.add_arguments(parser, flags=True)
    parser.add_argument("--plan", action="store_true", help="print what would be done, and end")
    parser.add_argument("--yes", action="store_true", help="do not ask before it is done")


def run(args: argparse.Namespace) -> int:
    """Plan, ask, do, and invoke one model."""
    wanted = config.given(args)
    aws = Aws(args.profile, args.region)
    with one_line():
        names = Names(Account.of(aws), wanted)
        plan = planned(aws, names, only_look=args.plan)
    if not plan.steps:
        say(f"{names.endpoint} is as {args.file} wants it: nothing to do")
        return 0
    say(f"{names.endpoint} in account {aws.account}, {aws.region}, as {aws.identity}:")
    sys.stdout.write(str(plan))
    if any(isinstance(step, Wait) for step in plan.steps) and (costs := _costs(names)):
        say(f"  note: {costs}")
    if args.plan:
        return 0
    agree(args.yes, "Go on?")
    _execute(aws, plan)
    if any(isinstance(step, Wait) for step in plan.steps):
        _invoke(aws, names)
    return 0


def planned(aws: Aws, names: Names, only_look: bool = False) -> Plan:
    """The steps from what there is.

    Args:
        aws: the account.
        names: of the resources, with the configuration.
        only_look: do not wait for what is going on.
    """
    there = settled(aws, names, only_look)
    return planner.plan(names, image_of(names), there, _archives(aws, names, there))


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def agree(yes: bool, question: str) -> None:
    """Return when the user says yes, or has said so.

    Raises:
        CommandError: the user does not, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("there is nobody to ask: give --yes")
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing has been done", status=1)


def settled(aws: Aws, names: Names, only_look: bool = False) -> Found:
    """What there is, once the endpoint is at rest: an apply that was interrupted goes on by itself.

    Args:
        aws: the account.
        names: of the resources.
        only_look: do not wait.
    """
    there = found.find(aws, names)
    if there.status in CHANGING and not only_look:
        say(f"  {names.endpoint} is {there.status}: waiting for that first")
        executor.settle(aws, names.endpoint, say)
        there = found.find(aws, names)
    return there


def _costs(names: Names) -> str:
    """What the instances cost; nothing where their price is not known."""
    wanted = names.config
    try:
        known = prices.read(None, names.where.region)
        month = known.month(wanted.instance_type, wanted.instance_count)
    except CommandError:
        return ""
    return (
        f"{wanted.instance_count} x {wanted.instance_type} are about ${month:,.0f} a month, by "
        f"prices of {known.date} (mme plan)"
    )


def _execute(aws: Aws, plan: Plan) -> None:
    try:
        executor.execute(aws, plan, say)
    except KeyboardInterrupt:
        sys.stderr.write("mme deploy: interrupted; run it again and it goes on from here\n")
        raise


def image_of(names: Names) -> Image:
    """What SageMaker is to pull: somebody's, or what is pushed to our repository."""
    wanted = names.config.image
    if image.is_uri(wanted):
        return Image(uri=wanted)
    tag = image.tag_of(image.local_image(wanted))
    return Image(uri=f"{names.where.registry}/{names.repository}:{tag}", local=wanted)


def _archives(aws: Aws, names: Names, there: Found) -> Archives:
    if names.config.prefix:
        return Archives()
    here = archives.local(names.config.folder)
    remote = uploaded(aws, names, there)
    kms = bool(remote) and archives.by_kms(aws, names.prefix[0], names.config.kms_key)
    new, changed, _ = archives.difference(here, remote, kms)
    keys = {archive.key for archive in here}
    return Archives(new=new, changed=changed, only_there=len(remote.keys() - keys))


def uploaded(aws: Aws, names: Names, there: Found) -> dict[str, Remote]:
    """What is in S3 where a folder is uploaded to; nothing, where the models are in S3 anyway."""
    if names.config.prefix or (names.own_bucket and there.bucket is None):
        return {}
    return archives.remote(aws, *names.prefix)


def _invoke(aws: Aws, names: Names) -> None:
    bucket, prefix = names.prefix
    with one_line():
        tried = smoke.first(aws, names.endpoint, bucket, prefix)
    say(
        f"  {tried.target_model}: {tried.answer.strip()[:60]}; cold {tried.cold_ms:.0f} ms, "
        f"warm {tried.warm_ms:.1f} ms"
    )
    say(f"  mme invoke {names.endpoint} --target-model {tried.target_model}")
