"""``mme logs``: what an endpoint's containers write, in time order, from all instances."""

import argparse
import datetime
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from mme.aws import Aws, code, one_line
from mme.deploy import config
from mme.deploy.names import Account, Names
from mme.errors import CommandError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LOOK_SECONDS = 1.0  # between two looks, while following
_LAST_LOOKS = 3
_LATE_MS = 20_000  # lines can come this much later than ones that were written after them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    config.add_arguments(parser)
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument(
        "--since", type=_seconds, default="10m", metavar="TIME", help="30s, 10m, 2h, 1d (10m)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the lines."""
    wanted = config.given(args)
    aws = Aws(args.profile, args.region)
    with one_line():
        names = Names(Account.of(aws), wanted)
        begin_ms = int(1000 * (time.time() - args.since))
        if args.follow:
            _follow(aws, names, begin_ms)
        else:
            _once(aws, names, begin_ms, args.since)
    return 0


def _once(aws: Aws, names: Names, begin_ms: int, since: float) -> None:
    count = 0
    try:
        for event in _events(aws, names.log_group, begin_ms):
            _print(event)
            count += 1
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        raise CommandError(
            f"there is no log group {names.log_group} yet: it comes with a container's first "
            "line; see mme status",
            status=1,
        ) from None
    if not count:
        sys.stderr.write(f"mme logs: nothing in the last {since:.0f} s; see --since\n")


def _follow(aws: Aws, names: Names, begin_ms: int) -> None:
    """Print until Ctrl-C, or until the endpoint is gone and nothing more has come for a while."""
    seen: dict[str, int] = {}
    looks = 0  # since the endpoint is gone, and without a new line
    while True:
        there = _is_there(aws, names.endpoint)
        fresh = False
        try:
            for event in _events(aws, names.log_group, begin_ms):
                if event["eventId"] not in seen:
                    seen[event["eventId"]] = event["timestamp"]
                    _print(event)
                    fresh = True
        except ClientError as error:
            if code(error) != "ResourceNotFoundException":
                raise
        looks = 0 if there or fresh else looks + 1
        if looks == _LAST_LOOKS:
            sys.stderr.write(f"mme logs: there is no endpoint {names.endpoint}\n")
            return
        if seen:
            begin_ms = max(begin_ms, max(seen.values()) - _LATE_MS)
            seen = {name: when for name, when in seen.items() if when >= begin_ms}
        time.sleep(_LOOK_SECONDS)


def _events(aws: Aws, group: str, begin_ms: int) -> Iterator[dict[str, Any]]:
    pages = aws.client("logs").get_paginator("filter_log_events")
    for page in pages.paginate(logGroupName=group, startTime=begin_ms, interleaved=True):
        yield from sorted(page["events"], key=lambda event: int(event["timestamp"]))


def _print(event: dict[str, Any]) -> None:
    when = datetime.datetime.fromtimestamp(event["timestamp"] / 1000, datetime.UTC)
    # VARIANT/INSTANCE, or VARIANT/INSTANCE/data-log
    instance = event["logStreamName"].partition("/")[2] or event["logStreamName"]
    text = event["message"].rstrip("\n")
    sys.stdout.write(f"{when:%Y-%m-%dT%H:%M:%SZ} {instance} {text}\n")
    sys.stdout.flush()


def _is_there(aws: Aws, endpoint: str) -> bool:
    # Not a description, for which mme local makes us wait while the endpoint is changing.
    pages = aws.client("sagemaker").get_paginator("list_endpoints").paginate(NameContains=endpoint)
    return any(one["EndpointName"] == endpoint for page in pages for one in page["Endpoints"])


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r}: give such as 30s, 10m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]
