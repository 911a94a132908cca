"""``mme deploy``: from one small file to a running endpoint; again, and nothing changes."""

import argparse
import difflib
import re
import sys

from mme.aws import Aws, one_line
from mme.deploy import (
    archives,
    compare,
    config,
    environment,
    executor,
    found,
    image,
    planner,
    smoke,
)
from mme.deploy.archives import Remote
from mme.deploy.found import CHANGING, Found
from mme.deploy.names import Account, Names
from mme.deploy.planner import Archives
from mme.deploy.steps import Plan, Wait
from mme.deploy.wanted import Image
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
        _check(aws, names)
        plan = planned(aws, names, only_look=args.plan)
    if not plan.steps:
        say(f"{names.endpoint} is as {args.file} wants it: nothing to do")
        sys.stdout.write(str(plan))
        return 0
    say(f"{names.endpoint} in account {aws.account}, {aws.region}, as {aws.identity}:")
    sys.stdout.write(str(plan))
    if any(isinstance(step, Wait) for step in plan.steps) and (costs := _costs(names, plan)):
        say(f"  note: {costs}")
    if args.plan:
        return 0
    if not args.yes:
        agree("Go on?")
        with one_line():  # a person takes their time, and others deploy, too
            if str(planned(aws, names)) != str(plan):
                raise CommandError("what there is has changed meanwhile: run it again", status=1)
    _execute(aws, plan)
    _invoke(aws, names)
    return 0


def _check(aws: Aws, names: Names) -> None:
    """Find what AWS would only refuse after half of the deployment.

    Raises:
        CommandError: the instance type is a typo, a setting is none, or there are no models.
    """
    environment.check(names.config.environment)
    wanted = names.config.instance_type
    types = aws.client("sagemaker").meta.service_model.shape_for("ProductionVariantInstanceType")
    near = difflib.get_close_matches(wanted, types.enum, 1)
    if wanted not in types.enum and near:  # else it may be newer than what boto3 knows
        raise CommandError(f"instance_type: there is no {wanted}; did you mean {near[0]}?")
    if names.config.prefix:
        bucket, prefix = names.prefix
        listed = aws.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        if not listed["KeyCount"]:
            raise CommandError(f"models: there is nothing at {names.models_url}")


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


def agree(question: str) -> None:
    """Return when the user says yes.

    Raises:
        CommandError: the user does not, or there is nobody to ask.
    """
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
    if there.status in CHANGING and only_look:
        say(f"  {names.endpoint} is {there.status}: this is planned from what it was before")
    elif there.status in CHANGING:
        say(f"  {names.endpoint} is {there.status}: waiting for that first")
        executor.settle(aws, names.endpoint, say)
        there = found.find(aws, names)
    return there


def _costs(names: Names, plan: Plan) -> str:
    """What the instances cost; nothing where their price is not known."""
    wanted, count = names.config, plan.instances
    try:
        known = prices.read(None, names.where.region)
        month = known.month(wanted.instance_type, 1)
    except CommandError:
        return ""
    most = wanted.autoscaling.max if wanted.autoscaling else count
    scaled = f", {most} of them ${most * month:,.0f}" if most > count else ""
    return (
        f"{count} x {wanted.instance_type} are about ${count * month:,.0f} a month{scaled}; twice "
        f"that while an update runs. By a price list of {known.date}, not AWS's own (mme plan)"
    )


def _execute(aws: Aws, plan: Plan) -> None:
    try:
        executor.execute(aws, plan, say)
    except KeyboardInterrupt:
        sys.stderr.write("mme deploy: interrupted; run it again and it goes on from here\n")
        raise


def image_of(names: Names) -> Image:
    """What SageMaker is to pull: somebody's, or what is pushed to our repository.

    Raises:
        CommandError: SageMaker cannot pull it, or it is not there.
    """
    wanted, region = names.config.image, names.where.region
    if not image.is_uri(wanted):
        here = image.local_image(wanted)
        if not image.fits(here.architecture, names.config.instance_type):
            raise CommandError(
                f"image {wanted} is for {here.architecture}, and {names.config.instance_type} is "
                "not: docker build --platform linux/amd64, or linux/arm64 for Graviton"
            )
        tag = image.tag_of(here.identity)
        return Image(uri=f"{names.where.registry}/{names.repository}:{tag}", local=wanted)
    host = re.fullmatch(r"\d{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?/.+", wanted)
    if host is None or host[1] != region:
        raise CommandError(
            f"image {wanted}: SageMaker pulls from ECR in its own region, "
            f"ACCOUNT.dkr.ecr.{region}.amazonaws.com/NAME:TAG"
        )
    return Image(uri=wanted)


def _archives(aws: Aws, names: Names, there: Found) -> Archives:
    if names.config.prefix:
        return Archives()
    here = archives.local(names.config.folder)
    there_now = uploaded(aws, names, there)
    new, changed, _ = compare.difference(aws, *names.prefix, here, there_now)
    keys = {archive.key for archive in here}
    return Archives(new=new, changed=changed, only_there=len(there_now.keys() - keys))


def uploaded(aws: Aws, names: Names, there: Found) -> dict[str, Remote]:
    """What is in S3 where a folder is uploaded to; nothing, where the models are in S3 anyway."""
    if names.config.prefix or (names.own_bucket and there.bucket is None):
        return {}
    return archives.remote(aws, *names.prefix)


def _invoke(aws: Aws, names: Names) -> None:
    with one_line():
        tried = smoke.first(aws, names.endpoint, *names.prefix, say)
    if tried is not None:
        say(
            f"  {tried.target_model}, asked with zeros: {tried.answer.strip()[:60]}; cold "
            f"{tried.cold_ms:.0f} ms, warm {tried.warm_ms:.1f} ms"
        )
        say(f"  echo ROW | mme invoke {names.endpoint} --target-model {tried.target_model}")
