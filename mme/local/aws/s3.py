"""moto's S3 with objects in plain folders: they are there alone, and whatever lies there is one."""

import datetime
import itertools
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from moto.s3 import exceptions
from moto.s3.exceptions import S3ClientError
from moto.s3.models import (
    FakeBucket,
    FakeDeleteMarker,
    FakeKey,
    FakeMultipart,
    S3Backend,
    s3_backends,
)
from moto.s3.utils import STORAGE_CLASS, compute_checksum

from mme.local.aws.file_key import KEPT, FileKey, md5
from mme.local.aws.objects import Objects
from mme.local.aws.parts import checksum, chosen
from mme.local.aws.records import Records

_REGION = "us-east-1"  # of buckets that somebody has made as folders
_PAGE = 1000
_TOKEN = "mme-page-"  # noqa: S105  # a place in a list, no secret


def install(state: Path) -> None:
    """Make moto keep buckets in ``state/s3``; to be called before S3 is used."""
    FolderBackend.objects = Objects(state / "s3")
    FolderBackend.objects.root.mkdir(parents=True, exist_ok=True)
    FolderBackend.records = Records(state / "s3.sqlite")
    FolderBackend.uploads = state / "s3.uploads"
    shutil.rmtree(FolderBackend.uploads, ignore_errors=True)  # of an earlier process
    for bucket in FolderBackend.objects.buckets():
        FolderBackend.objects.remove_temporary(bucket)
    s3_backends.backend = FolderBackend


class FolderBackend(S3Backend):
    """moto's S3, with buckets that are folders."""

    objects: Objects
    records: Records
    uploads: Path
    _placing = threading.Lock()

    # Buckets

    def get_bucket(self, bucket_name: str) -> FakeBucket:
        """The bucket, as long as its folder is there."""
        if not self.objects.is_bucket(bucket_name):
            self._forget(bucket_name)
            raise exceptions.MissingBucket(bucket=bucket_name)
        return self.buckets.get(bucket_name) or self._adopt(bucket_name, _REGION)

    def _adopt(self, name: str, region: str) -> FakeBucket:
        made = (self.objects.root / name).stat().st_mtime
        region, made = self.records.add_bucket(name, region, made)
        bucket = FakeBucket(  # type: ignore[abstract]  # moto makes it itself
            name=name, account_id=self.account_id, region_name=region
        )
        bucket.creation_date = datetime.datetime.fromtimestamp(made, datetime.UTC)
        return self.buckets.setdefault(name, bucket)

    def _forget(self, name: str) -> None:
        self.buckets.pop(name, None)
        s3_backends.bucket_accounts.pop(name, None)

    def create_bucket(
        self, bucket_name: str, region_name: str, bucket_namespace: str | None = None
    ) -> FakeBucket:
        """Make its folder."""
        del bucket_namespace
        if self.objects.is_bucket(bucket_name):
            raise exceptions.BucketAlreadyExists(bucket=bucket_name)
        try:
            self.objects.add_bucket(bucket_name)
        except ValueError:
            raise exceptions.InvalidBucketName from None
        self._forget(bucket_name)
        self.records.remove_bucket(bucket_name)
        return self._adopt(bucket_name, region_name)

    def list_buckets(
        self, prefix: str | None, bucket_region: str | None, max_buckets: str | None
    ) -> list[FakeBucket]:
        """Those whose folders are there."""
        self.buckets = {name: self.get_bucket(name) for name in self.objects.buckets()}
        return super().list_buckets(prefix, bucket_region, max_buckets)

    def delete_bucket(self, bucket_name: str) -> FakeBucket | None:
        """Delete its folder; None if anything is in it."""
        bucket = self.get_bucket(bucket_name)
        if not self.objects.remove_bucket(bucket_name):
            return None
        self._forget(bucket_name)
        self.records.remove_bucket(bucket_name)
        return bucket

    def put_bucket_versioning(self, bucket_name: str, status: str) -> None:
        """Refuse it: a folder has no versions."""
        self.get_bucket(bucket_name)
        if status == "Enabled":
            raise S3ClientError("NotImplemented", "Buckets here are folders: without versions.")
        super().put_bucket_versioning(bucket_name, status)

    # Objects

    def get_object(
        self, bucket_name: str, key_name: str, version_id: str | None = None, *_: Any, **__: Any
    ) -> FileKey | None:
        """The object, if there is one."""
        self.get_bucket(bucket_name)
        return self._find(bucket_name, key_name) if version_id in (None, "null") else None

    def _find(self, bucket: str, name: str) -> FileKey | None:
        try:
            key = FileKey(name, self.objects.path(bucket, name), self, bucket)
        except (ValueError, OSError):
            return None
        key.know(self.records, bucket)
        return key

    def put_object(
        self, bucket_name: str, key_name: str, value: bytes, *_: Any, **settings: Any
    ) -> FileKey:
        """Write the file."""
        storage = settings.get("storage") or "STANDARD"
        if storage not in STORAGE_CLASS:
            raise exceptions.InvalidStorageClass(storage=storage)
        kept = {name: settings.get(name) for name in KEPT if name in settings}
        content: Iterable[bytes] = [value] if isinstance(value, bytes) else value
        return self._write(bucket_name, key_name, content, kept | {"_storage_class": storage})

    def _write(
        self,
        bucket: str,
        name: str,
        content: Iterable[bytes],
        kept: Mapping[str, Any],
        etag: str | None = None,
    ) -> FileKey:
        self.get_bucket(bucket)
        file = self.objects.temporary(bucket)
        try:
            digest = _fill(file, content)
            with self._placing:
                path = self.objects.place(bucket, name, file)
                key = FileKey(name, path, self, bucket)
                key.write(self.records, etag or digest, kept)
        except ValueError as error:
            raise S3ClientError("KeyTooLongError", f"Your key is refused: {error}.") from None
        except OSError as error:
            reason = f"The object cannot be written: {error.strerror}."
            raise S3ClientError("AccessDenied", reason) from None
        finally:
            file.unlink(missing_ok=True)
        return key

    def put_object_tagging(self, key: FakeKey, tags: dict[str, str] | None) -> FakeKey:
        """As moto does, which would remember an object without tags, too."""
        if tags or self.tagger.has_tags(key.arn):
            return super().put_object_tagging(key, tags)
        return key

    def delete_object(
        self, bucket_name: str, key_name: str, version_id: str | None = None, bypass: bool = False
    ) -> tuple[bool, dict[str, Any]]:
        """Delete the file."""
        del bypass
        key = self.get_object(bucket_name, key_name, version_id)
        if key is None:
            return False, {}
        with self._placing:
            self.objects.remove(bucket_name, key_name)
            self.records.remove(bucket_name, key_name)
        self.tagger.delete_all_tags_for_resource(key.arn)
        return True, {}

    # Uploads in parts, which do not survive the process

    def create_multipart_upload(
        self, bucket_name: str, *args: Any, **settings: Any
    ) -> FakeMultipart:
        """Make a folder for the parts."""
        upload = super().create_multipart_upload(bucket_name, *args, **settings)
        tracked: list[FakeMultipart] = FakeMultipart.instances_tracked  # type: ignore[attr-defined]  # of moto's metaclass
        tracked.remove(upload)  # it would stay there for good
        (self.uploads / upload.id).mkdir(parents=True)
        return upload

    def _upload(self, bucket: str, upload_id: str) -> FakeMultipart:
        upload = self.get_bucket(bucket).multiparts.get(upload_id)
        if upload is None:
            raise exceptions.NoSuchUpload(upload_id=upload_id)
        return upload

    def upload_part(
        self, bucket_name: str, multipart_id: str, part_id: int, value: bytes
    ) -> FileKey:
        """Write the part as a file."""
        upload = self._upload(bucket_name, multipart_id)
        algorithm = upload.metadata.get("x-amz-checksum-algorithm")
        file = self.uploads / upload.id / secrets.token_hex(8)
        digest = _fill(file, [value])
        part = FileKey(part_id, file, self, etag=digest)  # type: ignore[arg-type]  # moto's way
        if algorithm:
            part.checksum_value = compute_checksum(value, algorithm).decode()
        with self._placing:
            replaced = upload.parts.get(part_id)
            upload.parts[part_id] = part
            upload.partlist = sorted(upload.parts)
        if isinstance(replaced, FileKey):
            replaced.path.unlink(missing_ok=True)
        return part

    def upload_part_copy(
        self,
        dest_bucket_name: str,
        multipart_id: str,
        part_id: int,
        src_bucket_name: str,
        src_key_name: str,
        src_version_id: str | None,
        start_byte: int | None,
        end_byte: int | None,
    ) -> FileKey:
        """Write a part of another object as a part."""
        source = self.get_object(src_bucket_name, src_key_name, src_version_id)
        if source is None:
            raise exceptions.MissingKey(key=src_key_name)
        stop = None if end_byte is None else end_byte + 1
        value = source.value[start_byte:stop]
        return self.upload_part(dest_bucket_name, multipart_id, part_id, value)

    def complete_multipart_upload(
        self, bucket_name: str, multipart_id: str, body: Iterator[tuple[int, str]]
    ) -> FileKey:
        """Join the parts to an object."""
        upload = self._upload(bucket_name, multipart_id)
        parts = chosen(upload, body)
        md5s = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
        etag = f"{md5(md5s).hexdigest()}-{len(parts)}"
        kept = {
            "_storage_class": upload.storage or "STANDARD",
            "encryption": upload.sse_encryption,
            "kms_key_id": upload.kms_key_id,
            **checksum(upload, parts),
        }
        content = itertools.chain.from_iterable(part.blocks() for part in parts)
        key = self._write(bucket_name, upload.key_name, content, kept, etag)
        key.set_metadata(upload.metadata)
        self.put_object_tagging(key, upload.tags)
        self._drop(bucket_name, multipart_id)
        return key

    def abort_multipart_upload(self, bucket_name: str, multipart_id: str) -> None:
        """Delete the parts."""
        self._upload(bucket_name, multipart_id)
        self._drop(bucket_name, multipart_id)

    def _drop(self, bucket: str, upload_id: str) -> None:
        self.get_bucket(bucket).multiparts.pop(upload_id, None)
        shutil.rmtree(self.uploads / upload_id, ignore_errors=True)

    # Lists

    def list_objects(  # type: ignore[override]  # moto says sets, and gives lists
        self,
        bucket: FakeBucket,
        prefix: str | None,
        delimiter: str | None,
        marker: str | None,
        max_keys: int | None,
    ) -> tuple[list[FileKey], list[str], bool, str | None]:
        """A page of keys and common prefixes."""
        after = _last(marker)
        found, more = self._page(bucket.name, prefix, delimiter, after, max_keys)
        keys = [item for item in found if isinstance(item, FileKey)]
        # moto encodes the keys as SDKs ask for, and forgets these.
        folders = [_encoded(item) for item in found if isinstance(item, str)]
        return keys, folders, more, _token(found) if more and delimiter else None

    def list_objects_v2(  # type: ignore[override]  # as above
        self,
        bucket: FakeBucket,
        prefix: str | None,
        delimiter: str | None,
        continuation_token: str | None,
        start_after: str | None,
        max_keys: int,
    ) -> tuple[list[FileKey | str], bool, str | None]:
        """A page of keys and common prefixes, in order."""
        after = _last(continuation_token or start_after)
        found, more = self._page(bucket.name, prefix, delimiter, after, max_keys)
        return found, more, _token(found) if more else None

    def list_object_versions(  # type: ignore[override]  # as above
        self,
        bucket_name: str,
        delimiter: str | None = None,
        key_marker: str | None = None,
        max_keys: int | None = None,
        prefix: str = "",
        version_id_marker: str | None = None,
    ) -> tuple[list[FileKey], list[str], list[FakeDeleteMarker], str | None, str | None]:
        """The one version that each object has."""
        del version_id_marker
        after = key_marker or ""
        found, more = self._page(bucket_name, prefix, delimiter, after, max_keys)
        keys = [item for item in found if isinstance(item, FileKey)]
        folders = [item for item in found if isinstance(item, str)]
        return keys, folders, [], _name(found[-1]) if more else None, "null" if more else None

    def _page(
        self, bucket: str, prefix: str | None, delimiter: str | None, after: str, most: int | None
    ) -> tuple[list[FileKey | str], bool]:
        """Keys and common prefixes beyond one of them, and whether there are more."""
        self.get_bucket(bucket)
        most = _PAGE if most is None else min(most, _PAGE)
        found: list[FileKey | str] = []
        for name, is_common in self._names(bucket, prefix or "", delimiter, after) if most else ():
            if len(found) == most:
                return found, True
            item = name if is_common else self._listed(bucket, name)
            if item is not None:
                found.append(item)
        return found, False

    def _names(
        self, bucket: str, prefix: str, delimiter: str | None, after: str
    ) -> Iterator[tuple[str, bool]]:
        """Keys, and what those with the delimiter begin with, once and marked, in order."""
        last = after
        for key in self.objects.keys(bucket, prefix, after, by_folder=delimiter == "/"):
            head, mark, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            common = prefix + head + mark
            if not mark:
                yield key, False
            elif common > last:
                last = common
                yield common, True

    def _listed(self, bucket: str, name: str) -> FileKey | None:
        """An object with its ETag; None if it went, or cannot be read."""
        while (key := self._find(bucket, name)) is not None:
            try:
                _ = key.etag
            except S3ClientError:  # it has been replaced just now
                continue
            except OSError:
                return None
            return key
        return None


def _fill(file: Path, content: Iterable[bytes]) -> str:
    """Write a file; the MD5 of what is in it."""
    digest = md5()
    with file.open("xb") as out:
        for block in content:
            out.write(block)
            digest.update(block)
    return digest.hexdigest()


def _encoded(name: str) -> str:
    return name.replace("%", "%25").replace("+", "%2B")


def _name(item: FileKey | str) -> str:
    return item if isinstance(item, str) else item.name


def _token(found: Sequence[FileKey | str]) -> str:
    """What asks for the page after this one; no client's URL encoding changes it."""
    return _TOKEN + _name(found[-1]).encode().hex()


def _last(token: str | None) -> str:
    """The name that a token, or a client's own marker, begins after."""
    if not token or not token.startswith(_TOKEN):
        return token or ""
    return bytes.fromhex(token.removeprefix(_TOKEN)).decode()
