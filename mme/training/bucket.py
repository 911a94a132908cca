"""The places in S3 that training uses: listed, filled, and archives copied between them."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from mme import aws
from mme.errors import CommandError
from mme.local.aws.objects import SCHEME, split_url
from mme.training.fit import SUFFIX

T = TypeVar("T")
_ABSENT = ("404", "NoSuchKey", "NotFound")
DIGEST = "mme-digest"  # of an object's metadata: what its model was made from


class Place(NamedTuple):
    """A prefix: a bucket, and what keys begin with, ending in a slash."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, url: str, option: str) -> "Place":
        """Read ``s3://bucket/prefix/``.

        Raises:
            CommandError: it is none, or a whole bucket.
        """
        bucket, prefix = split_url(url)
        if not url.startswith(SCHEME) or not bucket or not prefix.strip("/"):
            raise CommandError(f"{option} must be s3://BUCKET/PREFIX/, and is {url!r}")
        return cls(bucket, prefix.rstrip("/") + "/")

    @property
    def url(self) -> str:
        """As ``s3://bucket/prefix/``."""
        return f"{SCHEME}{self.bucket}/{self.prefix}"

    def below(self, name: str) -> "Place":
        """A folder of it."""
        return Place(self.bucket, f"{self.prefix}{name}/")

    def beside(self, words: str) -> "Place":
        """One whose name has more words at its end."""
        return Place(self.bucket, f"{self.prefix[:-1]}{words}/")


class Entry(NamedTuple):
    """An object of a list."""

    key: str
    etag: str
    size: int


class Bucket:
    """S3, as training uses it.

    Args:
        client: of S3.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def entries(self, place: Place) -> list[Entry]:
        """The objects below a place, by key; markers of folders are none."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=place.bucket, Prefix=place.prefix
        )
        return [
            Entry(one["Key"], one["ETag"], one["Size"])
            for page in pages
            for one in page.get("Contents", [])
            if not one["Key"].endswith("/")
        ]

    def fill(self, place: Place, files: Iterable[Path]) -> int:
        """Put files there that are not there; how many were put.

        Args:
            place: where, for these very files: what is of the same name and size is the same.
            files: what to put.
        """
        there = {entry.key: entry.size for entry in self.entries(place)}
        missing = [
            file for file in files if there.get(f"{place.prefix}{file.name}") != file.stat().st_size
        ]

        def put(file: Path) -> None:
            key = f"{place.prefix}{file.name}"
            alone = TransferConfig(use_threads=False)  # we are many already
            self._client.upload_file(str(file), place.bucket, key, Config=alone)

        _in_parallel(put, missing)
        return len(missing)

    def archives(self, place: Place) -> dict[str, Entry]:
        """The objects ``*.tar.gz`` of a place, by what their keys have behind it."""
        return {
            entry.key[len(place.prefix) :]: entry
            for entry in self.entries(place)
            if entry.key.endswith(SUFFIX)
        }

    def copy_archives(self, source: Place, target: Place) -> tuple[set[str], int]:
        """Copy ``*.tar.gz`` from one place to another, those that are not there already.

        Returns:
            The source's, which all are there now, and how many of them were copied.
        """
        found, there = self.archives(source), self.archives(target)
        missing = [
            name
            for name, entry in found.items()
            if name not in there or there[name][1:] != entry[1:]
        ]
        _in_parallel(lambda name: self.copy(source, name, target), missing)
        return set(found), len(missing)

    def copy(self, source: Place, name: str, target: Place, digest: str | None = None) -> None:
        """Copy one object inside S3; with a digest, that is its metadata."""
        more: dict[str, Any] = {}
        if digest is not None:
            more = {"MetadataDirective": "REPLACE", "Metadata": {DIGEST: digest}}
        self._client.copy_object(
            Bucket=target.bucket,
            Key=f"{target.prefix}{name}",
            CopySource={"Bucket": source.bucket, "Key": f"{source.prefix}{name}"},
            **more,
        )

    def digest(self, place: Place, name: str) -> str | None:
        """The digest in an object's metadata, if there is the object and it has one."""
        try:
            head = self._client.head_object(Bucket=place.bucket, Key=f"{place.prefix}{name}")
        except ClientError as error:
            if aws.code(error) in _ABSENT:
                return None
            raise
        found: str | None = head["Metadata"].get(DIGEST)
        return found

    def metrics(self, place: Place) -> Iterator[dict[str, str]]:
        """The rows of all hosts' tables."""
        for entry in self.entries(place):
            name = entry.key[len(place.prefix) :]
            if name.startswith("metrics-") and name.endswith(".csv"):  # a group may begin so
                body = self._client.get_object(Bucket=place.bucket, Key=entry.key)["Body"].read()
                yield from csv.DictReader(io.StringIO(body.decode(), newline=""))


def _in_parallel(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do what mostly waits for S3; the first error ends it, unlike ``mme.deploy.parallel.each``."""
    with ThreadPoolExecutor(aws.CONNECTIONS) as pool:
        try:
            list(pool.map(work, items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
