"""``mme models``: the archives of an endpoint, listed, added and removed while it runs."""

import argparse
import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from mme.aws import Aws, code, explain, one_line
from mme.deploy import archives, compare, config
from mme.deploy.archives import SUFFIX, Archive, Remote
from mme.deploy.command import agree
from mme.deploy.names import Account, Names
from mme.deploy.parallel import GoOn, each
from mme.errors import CommandError

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_NAMED = 5  # keys in a message, before the rest is but counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|add|remove")
    listing = actions.add_parser("list", help="the archives, by name")
    listing.add_argument("--json", action="store_true", help="one JSON document")
    adding = actions.add_parser("add", help="upload archives; the next request finds them")
    adding.add_argument("files", nargs="+", type=Path, metavar="FILE", help=f"a *{SUFFIX}")
    adding.add_argument(
        "--into", default="", metavar="FOLDER", help="below this folder of the models' prefix"
    )
    removing = actions.add_parser("remove", help="delete archives")
    removing.add_argument("keys", nargs="+", metavar="NAME", help="as list prints it")
    removing.add_argument("--yes", action="store_true", help="do not ask")
    for action in (listing, adding, removing):
        config.add_arguments(action, option=True)


def run(args: argparse.Namespace) -> int:
    """Do one of the three."""
    wanted = config.given(args)
    aws = Aws(args.profile, args.region)
    with one_line():
        names = Names(Account.of(aws), wanted)
    if args.action == "list":
        _list(aws, names, as_json=args.json)
    elif args.action == "add":
        _add(aws, names, args.files, args.into.strip("/"))
    else:
        _remove(aws, names, args.keys, yes=args.yes)
    return 0


def _list(aws: Aws, names: Names, as_json: bool) -> None:
    found = sorted(archives.remote(aws, *names.prefix).items())
    if as_json:
        rows = [
            {"name": key, "bytes": one.size, "modified": _time(one.modified)} for key, one in found
        ]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    width = max((len(key) for key, _ in found), default=0)
    for key, one in found:
        sys.stdout.write(f"{key:<{width}}  {one.size:>12,}  {_time(one.modified)}\n")
    size = sum(one.size for _, one in found)
    sys.stdout.write(f"{len(found):,} archives, {size / 1e6:,.1f} MB, at {names.models_url}\n")


def _add(aws: Aws, names: Names, files: Sequence[Path], into: str) -> None:
    here = [archives.archive(file, f"{into}/{file.name}" if into else file.name) for file in files]
    keys = [one.key for one in here]
    wrong = [key for key in keys if not key.endswith(SUFFIX)]
    if wrong:
        raise CommandError(f"{_few(wrong)}: an archive's name ends with {SUFFIX}")
    if len(set(keys)) < len(keys):
        raise CommandError("two of the files have one name: add them --into folders of their own")
    there = _find(aws, names, keys)
    new, changed, same = compare.difference(aws, *names.prefix, here, there)
    if changed:
        raise CommandError(
            f"there with other bytes: {_few([one.key for one in changed])}. Instances that have "
            "loaded one would go on with the old: add it under a new name, or put it into the "
            "folder of models and run mme deploy, which replaces the instances",
            status=1,
        )
    if new:
        archives.upload(aws, *names.prefix, new, names.tags, names.config.kms_key)
    _say_added(names, new, same)


def _say_added(names: Names, new: Sequence[Archive], same: Sequence[Archive]) -> None:
    if same:
        sys.stdout.write(f"there already: {_few([one.key for one in same])}\n")
    if new:
        sys.stdout.write(
            f"added: {_few([one.key for one in new])}\n"
            f"mme invoke {names.endpoint} --target-model {new[0].key}\n"
        )


def _remove(aws: Aws, names: Names, keys: Sequence[str], yes: bool) -> None:
    absent = sorted(set(keys) - _find(aws, names, keys).keys())
    if absent:
        raise CommandError(f"not at {names.models_url}: {_few(absent)}; see mme models list", 1)
    if not yes:
        agree(f"Delete {_few(list(keys))} from {names.models_url}?")
    bucket, prefix = names.prefix
    archives.delete(aws, bucket, [prefix + key for key in keys])
    sys.stdout.write(
        f"removed: {_few(list(keys))}. Instances that have loaded one answer for it until they "
        "unload it\n"
    )
    if names.config.prefix is None:
        left = [key for key in keys if (names.config.folder / key).is_file()]
        if left:
            sys.stdout.write(
                f"still in {names.config.folder}, so the next mme deploy would upload them again: "
                f"{_few(left)}\n"
            )


def _find(aws: Aws, names: Names, keys: Sequence[str]) -> dict[str, Remote]:
    """Those of some keys that are there; no list of all the others is needed for it."""
    bucket, prefix = names.prefix
    s3 = aws.client("s3")
    found: dict[str, Remote] = {}

    def look(key: str, go_on: GoOn) -> None:
        del go_on
        item: dict[str, Any] = s3.head_object(Bucket=bucket, Key=prefix + key)
        etag, modified = item["ETag"].strip('"'), item["LastModified"].timestamp()
        found[key] = Remote(etag, item["ContentLength"], modified)

    failed = [error for _, error in each(look, keys) if code(error) not in _ABSENT]
    if failed:
        raise CommandError(explain(failed[0]), status=1)
    if len(found) < len(keys):  # S3 says 404 for a bucket that is not there, too
        _look_for_bucket(s3, names)
    return found


def _look_for_bucket(s3: Any, names: Names) -> None:
    bucket, _ = names.prefix
    with one_line():
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if code(error) not in _ABSENT | {"NoSuchBucket"}:
                raise
            raise CommandError(f"there is no bucket {bucket}: mme deploy first", 1) from None


def _few(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")
