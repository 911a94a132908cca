"""The places in S3 that training uses: listed, filled, and archives copied between them."""

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from mme import aws
from mme.errors import CommandError
from mme.training.fit import SUFFIX

T = TypeVar("T")
R = TypeVar("R")
_SCHEME = "s3://"
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
        bucket, _, prefix = url.removeprefix(_SCHEME).partition("/")
        if not url.startswith(_SCHEME) or not bucket or not prefix.strip("/"):
            raise CommandError(f"{option} must be s3://BUCKET/PREFIX/, and is {url!r}")
        return cls(bucket, prefix.rstrip("/") + "/")

    @property
    def url(self) -> str:
        """As ``s3://bucket/prefix/``."""
        return f"{_SCHEME}{self.bucket}/{self.prefix}"

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

    def fill(self, place: Place, files: Mapping[str, Callable[[], bytes]]) -> int:
        """Put files there that are not there; how many were put.

        Args:
            place: where.
            files: what makes each one's bytes, by name.
        """
        there = {entry.key: entry.etag for entry in self.entries(place)}

        def put(name: str) -> bool:
            key, body = f"{place.prefix}{name}", files[name]()
            if there.get(key) == f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"':
                return False
            self._client.put_object(Bucket=place.bucket, Key=key, Body=body)
            return True

        return sum(in_parallel(put, files))

    def copy_archives(self, source: Place, target: Place) -> tuple[int, int]:
        """Copy ``*.tar.gz`` from one place to another, those that are not there already.

        Returns:
            How many are there now of the source's, and how many of them were copied.
        """
        there = {entry.key: (entry.etag, entry.size) for entry in self.entries(target)}
        found = [entry for entry in self.entries(source) if entry.key.endswith(SUFFIX)]

        def copy(entry: Entry) -> None:
            name = entry.key[len(source.prefix) :]
            self.copy(source, name, target)

        missing = [
            entry
            for entry in found
            if there.get(target.prefix + entry.key[len(source.prefix) :])
            != (entry.etag, entry.size)
        ]
        for _ in in_parallel(copy, missing):
            pass
        return len(found), len(missing)

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
            if entry.key[len(place.prefix) :].startswith("metrics-"):
                body = self._client.get_object(Bucket=place.bucket, Key=entry.key)["Body"].read()
                yield from csv.DictReader(io.StringIO(body.decode(), newline=""))


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The results of a function that mostly waits for S3; the first error ends it."""
    with ThreadPoolExecutor(aws.CONNECTIONS) as pool:
        try:
            return list(pool.map(work, items))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
