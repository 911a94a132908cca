"""One S3 object as moto sees it, whose content is a file and stays there."""

import datetime
import functools
import hashlib
import io
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from moto.core.base_backend import BaseBackend
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeKey

from mme.local.aws.records import Record, Records

_WHOLE_BYTES = 8 << 20  # files up to this are read at once
_BLOCK_BYTES = 1 << 20
_CLOCK_NS = 100_000_000  # a file system's clock may stand still so long
KEPT = (  # of a key's attributes, those that are kept beside its file
    "_storage_class",
    "checksum_algorithm",
    "checksum_value",
    "checksum_type",
    "checksum_parts",
    "website_redirect_location",
    "encryption",
    "kms_key_id",
    "bucket_key_enabled",
)

md5 = functools.partial(hashlib.md5, usedforsecurity=False)


class Content:
    """The bytes of a large file, read where and when they are needed."""

    def __init__(self, file: io.FileIO, size: int) -> None:
        self._file, self._size = file, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._file.fileno(), max(0, stop - start), start)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, self._size, _BLOCK_BYTES):
            yield self[start : start + _BLOCK_BYTES]


class FileKey(FakeKey):
    """An object as moto sees it: made from its file, for as long as somebody looks at it."""

    is_latest = True
    _records: Records | None = None  # where to keep what moto sets

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Without moto's list of all keys that ever were."""
        return object.__new__(cls)

    def __init__(
        self,
        name: str,
        path: Path,
        backend: BaseBackend,
        bucket: str = "",
        etag: str | None = None,
    ) -> None:
        super().__init__(
            name,
            b"",
            account_id=backend.account_id,
            region_name=backend.region_name,
            bucket_name=bucket,
            etag=etag,
            version_id="null",
        )
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(path)
        self.path, self._mtime_ns, self.contentsize = path, found.st_mtime_ns, found.st_size
        modified = datetime.datetime.fromtimestamp(found.st_mtime, datetime.UTC)
        self.last_modified = modified.replace(tzinfo=None)  # as moto's are

    def know(self, records: Records, bucket: str) -> None:
        """Take what has been kept of this very file, and keep what moto will set."""
        record = records.get(bucket, self.name)
        if record is not None and record[:2] == (self._mtime_ns, self.contentsize):
            kept = json.loads(record.kept)
            self._etag = record.etag
            self._metadata.update(kept.pop("_metadata"))
            self.__dict__.update(kept)
        self._records = records

    def write(self, records: Records, etag: str, kept: Mapping[str, Any]) -> None:
        """Keep what is known of an object that has just been written."""
        self._etag = etag
        self.__dict__.update(kept)
        self._records = records
        self._keep()

    def _keep(self) -> None:
        if self._records is not None and self._etag is not None:
            kept = {name: value for name in KEPT if (value := getattr(self, name)) is not None}
            kept["_metadata"] = dict(self._metadata)
            record = Record(self._mtime_ns, self.contentsize, self._etag, json.dumps(kept))
            self._records.put(str(self.bucket_name), self.name, record)

    def __setattr__(self, name: str, value: object) -> None:
        # moto sets some things of an object after it has stored it.
        super().__setattr__(name, value)
        if name in KEPT:
            self._keep()

    def set_metadata(self, metadata: Any, replace: bool = False) -> None:
        """As moto does, and keep it."""
        super().set_metadata(metadata, replace)
        self._keep()

    @property
    def etag(self) -> str:
        """The MD5 of the content, unless a multipart upload gave another."""
        if self._etag is None:
            with self._open() as file:
                self._etag = hashlib.file_digest(file, md5).hexdigest()
            if time.time_ns() - self._mtime_ns > _CLOCK_NS:
                self._keep()
        return f'"{self._etag}"'

    @property
    def value(self) -> bytes:
        """The content; of a large file, something that is read when it is sent."""
        file = self._open()
        if self.contentsize > _WHOLE_BYTES:
            return Content(file, self.contentsize)  # type: ignore[return-value]  # it will do
        with file:
            return file.read()

    @value.setter
    def value(self, _: bytes) -> None:
        """The file has it."""

    def blocks(self) -> Iterator[bytes]:
        """The content, a little at a time."""
        yield from Content(self._open(), self.contentsize)

    def _open(self) -> io.FileIO:
        file = self.path.open("rb", buffering=0)
        found = os.fstat(file.fileno())
        if (found.st_mtime_ns, found.st_size) != (self._mtime_ns, self.contentsize):
            file.close()
            raise S3ClientError("SlowDown", "The object has just been replaced; try again.")
        return file

    def dispose(self, garbage: bool = False) -> None:
        """There is nothing to dispose of."""
