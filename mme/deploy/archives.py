"""The models of a folder, those of an S3 prefix, and how they get there and go."""

import contextlib
import datetime
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urlencode

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from mme.aws import Aws, code, explain, one_line
from mme.deploy.names import TAG
from mme.deploy.parallel import GoOn, Progress, each
from mme.errors import CommandError

SUFFIX = ".tar.gz"
DIGEST = "mme-etag"  # in an object's metadata: its archive's etag, whatever S3's own is
PART_BYTES = 8 * 1024**2  # of an upload; it may never change, for ETags are made of the parts
_BLOCK_BYTES = 1024**2
_GZIP = b"\x1f\x8b"
_A_CALL = 1000  # objects, of delete_objects
_NAMED = 5  # of bad files, before the rest is but counted


@dataclass(frozen=True)
class Archive:
    """A file of the folder.

    Attributes:
        key: its path below the folder, with slashes.
        path: where it is.
        size: in bytes.
    """

    key: str
    path: Path
    size: int
    _read: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    # Not functools.cached_property, which before Python 3.12 computes one at a time, of all.

    @property
    def etag(self) -> str:
        """What S3 calls the content: MD5, or where it is uploaded in parts, that of the parts'."""
        if "etag" not in self._read:
            self._read["etag"] = self.md5 if self.size <= PART_BYTES else self._of_parts()
        return self._read["etag"]

    @property
    def md5(self) -> str:
        """Of the content, in hex."""
        if "md5" not in self._read:
            with one_file(self.path) as file:
                self._read["md5"] = _md5(file, self.size).hexdigest()
        return self._read["md5"]

    def _of_parts(self) -> str:
        with one_file(self.path) as file:
            parts = [_md5(file, PART_BYTES).digest() for _ in range(-(-self.size // PART_BYTES))]
        whole = hashlib.md5(b"".join(parts), usedforsecurity=False)
        return f"{whole.hexdigest()}-{len(parts)}"


class Remote(NamedTuple):
    """An object of the prefix.

    Attributes:
        etag: without quotes.
        size: in bytes.
        modified: seconds since 1970.
    """

    etag: str
    size: int
    modified: float


def local(folder: Path) -> list[Archive]:
    """The archives below a folder, by key; nothing of them is read but how they begin.

    Links to files are followed, and those to folders are not.

    Raises:
        CommandError: there are none, or some cannot be read or are no archives.
    """
    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder}")
    bad: list[str] = []

    def unreadable(error: OSError) -> None:
        bad.append(f"{error.filename}: {error.strerror}")

    found = []
    for top, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(top).relative_to(folder).as_posix()
        for name in files:
            if name.endswith(SUFFIX) and not name.startswith("."):
                key = name if below == "." else f"{below}/{name}"
                try:
                    found.append(archive(Path(top, name), key))
                except CommandError as error:
                    bad.append(str(error))
    _raise_for(bad)
    if not found:
        raise CommandError(f"{folder} holds no *{SUFFIX}: mme train makes them")
    return sorted(found, key=lambda one: one.key)


def archive(path: Path, key: str) -> Archive:
    """One file as an archive.

    Raises:
        CommandError: it cannot be read, or is no archive.
    """
    try:  # the shortest way: there can be a hundred thousand
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            begins, about = os.read(descriptor, len(_GZIP)), os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", status=1) from None
    if not begins:
        raise CommandError(f"{path}: is empty")
    if begins != _GZIP:
        raise CommandError(f"{path}: is not gzip")
    if not _is_text(key):
        shown = str(path).encode(errors="backslashreplace").decode()
        raise CommandError(f"{shown}: its name is no Unicode text")
    return Archive(key, path, about.st_size)


@contextlib.contextmanager
def one_file(path: Path) -> Iterator[BinaryIO]:
    """A file to read.

    Raises:
        CommandError: it cannot be.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", status=1) from None


def remote(
    aws: Aws, bucket: str, prefix: str, *, absent_is_empty: bool = False
) -> dict[str, Remote]:
    """The archives below a prefix, by key below it.

    Args:
        aws: the account.
        bucket: of S3.
        prefix: whole folders, with a slash at the end, or empty.
        absent_is_empty: a bucket that does not exist holds none, and is no error.

    Raises:
        CommandError: they cannot be listed, or there is no such bucket.
    """
    found = {}
    with one_line():
        for item in _objects(aws, bucket, prefix, absent_is_empty):
            key = item["Key"].removeprefix(prefix)
            if key.endswith(SUFFIX):
                modified: datetime.datetime = item["LastModified"]
                etag = item["ETag"].strip('"')
                found[key] = Remote(etag, item["Size"], modified.timestamp())
    return found


def _objects(
    aws: Aws, bucket: str, prefix: str, absent_is_empty: bool
) -> Iterator[Mapping[str, Any]]:
    pages = aws.client("s3").get_paginator("list_objects_v2")
    try:
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", ())
    except ClientError as error:
        if code(error) != "NoSuchBucket":
            raise
        if not absent_is_empty:
            raise CommandError(
                f"bucket {bucket} does not exist: make it, or name none and mme deploy makes one",
                status=1,
            ) from None


def upload(
    aws: Aws,
    bucket: str,
    prefix: str,
    archives: Sequence[Archive],
    tags: Mapping[str, str],
    kms_key: str = "",
) -> None:
    """Upload in parallel, with a bar on a terminal. One that fails does not keep others back.

    Args:
        aws: where.
        bucket: of the models.
        prefix: before each key.
        archives: to upload, whatever is there.
        tags: of each object, ten at most, so that they are known as ours.
        kms_key: that they are encrypted by; else as the bucket does it.

    Raises:
        CommandError: some could not be; another run uploads those alone.
    """
    settings: dict[str, Any] = {"Tagging": urlencode(tags)}
    if kms_key:
        settings |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
    s3 = aws.client("s3")

    def send(one: Archive, go_on: GoOn) -> None:
        key = prefix + one.key
        more = settings | {"Metadata": {DIGEST: one.etag}}
        try:
            s3.upload_file(str(one.path), bucket, key, more, Callback=go_on, Config=_TRANSFER)
        except S3UploadFailedError as error:
            # Its text alone is a paragraph; what AWS said is what it was raised for.
            raise (error.__context__ or error) from None

    with Progress(len(archives), "archives uploaded") as progress:
        failed = each(send, archives, progress.advance)
    if failed:
        raise CommandError(
            f"{len(failed)} of {len(archives)} archives could not be uploaded; run it again for "
            f"these alone. The first is {failed[0][0].key}: {explain(failed[0][1])}",
            status=1,
        )


# Each file's parts one after the other: it is the files that are many. S3 makes two parts of a
# file that is a byte over one, and so does ``Archive.etag``; the client of awscrt, which boto3
# takes where that is installed, would choose parts of its own.
_TRANSFER = TransferConfig(
    multipart_threshold=PART_BYTES + 1,
    multipart_chunksize=PART_BYTES,
    use_threads=False,
    preferred_transfer_client="classic",
)


def remove(aws: Aws, bucket: str, prefix: str, endpoint: str) -> tuple[int, int]:
    """Delete the objects of a prefix that are an endpoint's by their tag.

    Returns:
        How many are gone, and how many, not ours, are there still.

    Raises:
        CommandError: some cannot be read or deleted.
    """
    with one_line():
        keys = [item["Key"] for item in _objects(aws, bucket, prefix, absent_is_empty=True)]
    removed = 0
    with Progress(len(keys), "objects looked at") as progress:
        for begin in range(0, len(keys), _A_CALL):
            some = keys[begin : begin + _A_CALL]
            ours = _tagged(aws, bucket, some, endpoint, progress.advance)
            removed += delete(aws, bucket, ours)
    return removed, len(keys) - removed


def _tagged(
    aws: Aws, bucket: str, keys: list[str], endpoint: str, done: Callable[[], None]
) -> list[str]:
    """The keys of those objects that carry our tag."""
    s3 = aws.client("s3")
    ours: list[str] = []

    def read(key: str, go_on: GoOn) -> None:
        del go_on
        try:
            tags = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        except ClientError as error:
            if code(error) != "NoSuchKey":  # it went meanwhile
                raise
            return
        if {"Key": TAG, "Value": endpoint} in tags:
            ours.append(key)

    failed = each(read, keys, done)
    if failed:
        key, error = failed[0]
        raise CommandError(
            f"nobody can say whose s3://{bucket}/{key} is: {explain(error)}", status=1
        )
    return sorted(ours)


def delete(aws: Aws, bucket: str, keys: Sequence[str]) -> int:
    """Delete objects; how many.

    Raises:
        CommandError: some could not be.
    """
    for begin in range(0, len(keys), _A_CALL):
        chosen = [{"Key": key} for key in keys[begin : begin + _A_CALL]]
        with one_line():
            answer = aws.client("s3").delete_objects(
                Bucket=bucket, Delete={"Objects": chosen, "Quiet": True}
            )
        errors = answer.get("Errors", [])
        if errors:
            first = errors[0]
            raise CommandError(
                f"{len(errors)} objects could not be deleted, first s3://{bucket}/{first['Key']}: "
                f"{first.get('Message') or first['Code']}",
                status=1,
            )
    return len(keys)


def _raise_for(bad: list[str]) -> None:
    if bad:
        more = f", and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        raise CommandError(
            f"these cannot be uploaded: {', '.join(sorted(bad)[:_NAMED])}{more}", status=1
        )


def _md5(file: Any, most: int) -> "hashlib._Hash":
    digest = hashlib.md5(usedforsecurity=False)
    while most > 0 and (block := file.read(min(_BLOCK_BYTES, most))):
        digest.update(block)
        most -= len(block)
    return digest


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
