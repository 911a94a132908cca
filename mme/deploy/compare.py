"""The models of a folder against those of an S3 prefix: what is new there, and what is another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from botocore.exceptions import ClientError

from mme.aws import Aws, code, explain
from mme.deploy.archives import DIGEST, Archive, Remote
from mme.deploy.parallel import GoOn, Progress, each
from mme.errors import CommandError

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_DENIED = {"403", "AccessDenied", "Forbidden"}


class Difference(NamedTuple):
    """The folder's archives: not in S3, there with other content, and there."""

    new: list[Archive]
    changed: list[Archive]
    same: list[Archive]


def difference(
    aws: Aws, bucket: str, prefix: str, here: Sequence[Archive], there: Mapping[str, Remote]
) -> Difference:
    """Compare; content is read only where sizes agree, of many at once, with a bar.

    Times decide nothing: a fresh checkout is newer than what it holds.

    Args:
        aws: the account.
        bucket: of the objects; asked for the metadata of those whose ETag is another.
        prefix: before each key.
        here: of the folder.
        there: of the prefix. What is there alone stays there, and is nobody's concern here.

    Raises:
        CommandError: a file, or an object's metadata, cannot be read.
    """
    alike = [one for one in here if one.key in there and there[one.key].size == one.size]
    same = {one.key for one in alike} - _others(aws, bucket, prefix, alike, there)
    found = Difference([], [], [])
    for one in here:
        if one.key in same:
            found.same.append(one)
        else:
            (found.changed if one.key in there else found.new).append(one)
    return found


def _others(
    aws: Aws, bucket: str, prefix: str, alike: list[Archive], there: Mapping[str, Remote]
) -> set[str]:
    """The keys of those whose objects hold other content of the same size."""
    if not alike:
        return set()
    s3 = aws.client("s3")
    others = set()

    def look(one: Archive, go_on: GoOn) -> None:
        go_on(0)
        if one.etag == there[one.key].etag:
            return
        # An ETag is not of the content where KMS encrypts it, and of other parts where somebody
        # has copied it: what ``upload`` has noted is of the content in any case.
        try:
            noted = s3.head_object(Bucket=bucket, Key=prefix + one.key)["Metadata"].get(DIGEST)
        except ClientError as error:
            if code(error) in _DENIED:  # an answer to HEAD has no text that would say so
                raise CommandError(
                    "access denied: whoever calls needs the permission s3:GetObject"
                ) from None
            if code(error) not in _ABSENT:
                raise
            noted = None  # it went meanwhile
        if noted != one.etag:
            others.add(one.key)

    with Progress(len(alike), "archives compared", brief=True) as progress:
        failed = each(look, alike, progress.advance)
    if failed:
        one, error = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise CommandError(
            f"nobody can say whether {one.key}{more} has changed: {explain(error)}", status=1
        )
    return others
