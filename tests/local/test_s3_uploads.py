"""S3 of the local endpoint: what is large, what is much, and what is killed in the middle."""

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.local.moto import MotoChild, code_of, keys
from tests.support import wait_until

PART = 5 << 20


def test_uploads_in_parts(s3: Any, moto: MotoChild, bucket: str, folder: Path) -> None:
    """Parts make one file, in their order; what is aborted leaves nothing."""
    content = os.urandom(3 * PART)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big", Metadata={"a": "b"})["UploadId"]
    where = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    parts = []
    for number in (3, 1, 2, 1):  # the second one with number 1 replaces the first
        body = content[(number - 1) * PART : number * PART]
        etag = s3.upload_part(**where, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    assert not folder.joinpath("big").exists()
    assert [part["PartNumber"] for part in s3.list_parts(**where)["Parts"]] == [1, 2, 3]
    done = sorted(parts[:3], key=lambda part: int(part["PartNumber"]))
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    assert folder.joinpath("big").read_bytes() == content
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ETag"].endswith('-3"')
    assert head["Metadata"] == {"a": "b"}
    copy = s3.create_multipart_upload(Bucket=bucket, Key="copy")["UploadId"]
    where = {"Bucket": bucket, "Key": "copy", "UploadId": copy}
    part = s3.upload_part_copy(
        **where,
        PartNumber=1,
        CopySource={"Bucket": bucket, "Key": "big"},
        CopySourceRange=f"bytes=1-{PART}",
    )["CopyPartResult"]
    done = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    assert folder.joinpath("copy").read_bytes() == content[1 : PART + 1]
    aborted = s3.create_multipart_upload(Bucket=bucket, Key="no")["UploadId"]
    where = {"Bucket": bucket, "Key": "no", "UploadId": aborted}
    s3.upload_part(**where, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(**where)
    for call in (s3.upload_part, s3.complete_multipart_upload, s3.abort_multipart_upload):
        words = {"PartNumber": 1, "Body": b"x"} if call == s3.upload_part else {}
        with pytest.raises(ClientError) as error:
            call(**where, **words)
        assert code_of(error) in {"NoSuchUpload", "MalformedXML"}
    assert not (moto.state / "s3.uploads" / aborted).exists()
    assert sorted(path.name for path in folder.iterdir()) == ["big", "copy"]


def test_transfers_of_large_files_take_no_memory(own: MotoChild, tmp_path: Path) -> None:
    """128 MB go up, down and across as SDKs do it, and the child has not held them."""
    s3, size = own.client("s3"), 128 << 20
    s3.create_bucket(Bucket="bucket")
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(1 << 20) * (size >> 20))
    s3.upload_file(str(source), "bucket", "big")
    s3.copy({"Bucket": "bucket", "Key": "big"}, "bucket", "copy")
    s3.copy_object(Bucket="bucket", Key="copy2", CopySource={"Bucket": "bucket", "Key": "big"})
    s3.download_file("bucket", "copy", str(target))
    assert target.read_bytes() == source.read_bytes()
    assert (own.s3 / "bucket/copy2").read_bytes() == source.read_bytes()
    assert s3.get_object(Bucket="bucket", Key="big")["Body"].read() == source.read_bytes()
    assert own.memory_bytes() < 300 << 20


def test_many_objects_take_no_memory(own: MotoChild) -> None:
    """20,000 objects cost the child nothing, dropped in or put, listed and got."""
    s3 = own.client("s3")
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="first", Body=b"")
    keys(s3, "bucket")
    before = own.memory_bytes()
    folder = own.s3 / "bucket/models"
    folder.mkdir()
    for number in range(20_000):
        (folder / f"{number:05}.tar.gz").write_bytes(b"12 KB of it")
    for number in range(200):
        s3.put_object(Bucket="bucket", Key=f"put/{number}", Body=bytes(12_000))
    assert len(keys(s3, "bucket")) == 20_201
    assert own.memory_bytes() - before < 64 << 20


def test_kill_in_the_middle_of_uploads(own: MotoChild) -> None:
    """After kill -9 every object is whole, old or new, and nothing half written is left."""
    s3 = own.client("s3", retries={"max_attempts": 0})
    s3.create_bucket(Bucket="bucket")
    told: dict[str, int] = {}

    def upload(number: int) -> None:
        client = own.client("s3", retries={"max_attempts": 0})
        for version in range(1, 1000):
            body = f"{version:06}".encode() * 50_000
            with contextlib.suppress(ClientError, BotoCoreError):
                client.put_object(Bucket="bucket", Key=f"key/{number}", Body=body)
                told[f"key/{number}"] = version
            if own.process.poll() is not None:
                return

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(told) == 4 and sum(told.values()) > 40, 30, "uploads")
    own.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    again = MotoChild(own.state)
    try:
        s3 = again.client("s3")
        assert len(keys(s3, "bucket")) == 4
        for key, version in told.items():
            body = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
            assert len(body) == 300_000
            assert body == body[:6] * 50_000
            assert int(body[:6]) >= version
        assert [path.name for path in (again.s3 / "bucket").iterdir()] == ["key"]
    finally:
        assert again.stop() == 0
