"""S3 by boto3 against the real child: buckets are folders, and outlive it."""

import hashlib
import os
import signal
import threading
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.moto import MotoChild, code_of, keys


def prefixes(pages: Any) -> list[str]:
    return [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", ())]


def test_what_is_put_is_a_file(s3: Any, bucket: str, folder: Path) -> None:
    """An object is a file of its key's name, with its bytes, until it is deleted."""
    s3.put_object(Bucket=bucket, Key="models/a.tar.gz", Body=b"archive")
    assert (folder / "models/a.tar.gz").read_bytes() == b"archive"
    s3.copy_object(
        Bucket=bucket,
        Key="models/b.tar.gz",
        CopySource={"Bucket": bucket, "Key": "models/a.tar.gz"},
    )
    assert (folder / "models/b.tar.gz").read_bytes() == b"archive"
    s3.delete_object(Bucket=bucket, Key="models/a.tar.gz")
    assert [path.name for path in folder.rglob("*")] == ["models", "b.tar.gz"]


def test_what_is_dropped_in_is_an_object(s3: Any, bucket: str, folder: Path) -> None:
    """A file is listed, headed and got as soon as it is there, and no longer than it is."""
    (folder / "models").mkdir()
    file = folder / "models/a.tar.gz"
    file.write_bytes(b"one")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    (listed,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (listed["Key"], listed["Size"]) == ("models/a.tar.gz", 3)
    assert listed["ETag"] == f'"{hashlib.md5(b"one").hexdigest()}"'  # noqa: S324  # it is S3's
    head = s3.head_object(Bucket=bucket, Key="models/a.tar.gz")
    assert head["LastModified"].timestamp() == listed["LastModified"].timestamp() == 1_000_000_000
    file.write_bytes(b"another")
    assert s3.get_object(Bucket=bucket, Key="models/a.tar.gz")["Body"].read() == b"another"
    etag = s3.head_object(Bucket=bucket, Key="models/a.tar.gz")["ETag"]
    assert etag == f'"{hashlib.md5(b"another").hexdigest()}"'  # noqa: S324  # as S3's ETags
    file.unlink()
    assert keys(s3, bucket) == []
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="models/a.tar.gz")
    assert code_of(error) == "NoSuchKey"


def test_folders_are_buckets(s3: Any, moto: MotoChild, tmp_path: Path) -> None:
    """A folder, or a link to one, that appears among the buckets is one, until it goes."""
    (tmp_path / "key").write_text("linked")
    link = moto.s3 / f"linked-{uuid.uuid4().hex}"
    link.symlink_to(tmp_path)
    assert s3.get_object(Bucket=link.name, Key="key")["Body"].read() == b"linked"
    assert link.name in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    link.unlink()
    assert link.name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=link.name)
    assert code_of(error) == "NoSuchBucket"
    s3.create_bucket(Bucket=link.name)
    assert link.is_dir()


def test_buckets_come_and_go(s3: Any, bucket: str, folder: Path) -> None:
    """A bucket with objects stays; an empty one goes, with its folder."""
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=bucket)
    assert code_of(error) == "BucketNotEmpty"
    s3.delete_object(Bucket=bucket, Key="a/b")
    (folder / "empty/folder").mkdir(parents=True)
    s3.delete_bucket(Bucket=bucket)
    assert not folder.exists()
    with pytest.raises(ClientError) as error:
        s3.create_bucket(Bucket="No_Bucket")
    assert code_of(error) == "InvalidBucketName"


def test_nasty_keys(s3: Any, bucket: str, moto: MotoChild) -> None:
    """Any key is one of an object, and none leads out of the bucket's folder."""
    nasty = ["..", "../../../escaped", "a//b", "a", "a/b", "/lead", "tail/", ".", "%!61", "%2e%2e"]
    nasty += ["a b+c%20&?#=é", "\0", ".mme-x", " ", "*", "\N{SNOWMAN}/\N{PILE OF POO}", "\x01\t"]
    for key in nasty:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in nasty:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert keys(s3, bucket) == sorted(nasty, key=str.encode)
    assert not list(moto.state.parent.glob("**/escaped*"))[1:]
    for key in ("\0", "\x01\t"):  # XML cannot say these
        s3.delete_object(Bucket=bucket, Key=nasty.pop(nasty.index(key)))
    everything = {"Objects": [{"Key": key} for key in nasty]}
    assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete=everything)
    assert keys(s3, bucket) == []


def test_refused_keys(s3: Any, bucket: str, folder: Path, tmp_path: Path) -> None:
    """A key that no file can have, or that leads through a link, is refused; nothing is left."""
    (folder / "link").symlink_to(tmp_path)
    for key in ("x" * 256, "a/" * 600, "link/key"):
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        assert code_of(error) == "KeyTooLongError"
    assert [path.name for path in folder.iterdir()] == ["link"]
    assert list(tmp_path.rglob("key")) == []


def test_lists(s3: Any, bucket: str, folder: Path) -> None:
    """Prefixes, delimiters and pages give together what is there, in order, once."""
    for group in ("a", "b", "c+ü"):
        (folder / group / "below").mkdir(parents=True)
        for number in range(5):
            (folder / group / f"{number}").touch()
            (folder / group / "below" / f"{number}").touch()
    for name in ("a!", "a0", "z"):
        (folder / name).touch()
    everything = keys(s3, bucket)
    assert len(everything) == 33
    assert everything == sorted(everything, key=str.encode)
    for size in (1, 2, 7):
        assert keys(s3, bucket, PaginationConfig={"PageSize": size}) == everything
        for operation in ("list_objects", "list_objects_v2"):
            pages = list(
                s3.get_paginator(operation).paginate(
                    Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}
                )
            )
            assert prefixes(pages) == ["a/", "b/", "c+ü/"]
            assert [i["Key"] for page in pages for i in page.get("Contents", ())] == [
                "a!",
                "a0",
                "z",
            ]
        paged = s3.get_paginator("list_objects").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": size}
        )
        assert [item["Key"] for page in paged for item in page["Contents"]] == everything
    one = s3.list_objects_v2(Bucket=bucket, Prefix="a/", Delimiter="/")
    assert [item["Prefix"] for item in one["CommonPrefixes"]] == ["a/below/"]
    assert one["KeyCount"] == 6
    assert keys(s3, bucket, Prefix="c+ü/b") == [f"c+ü/below/{number}" for number in range(5)]
    assert keys(s3, bucket, StartAfter="b/below/3") == everything[everything.index("b/below/4") :]
    odd = s3.list_objects_v2(Bucket=bucket, Delimiter="low/")
    assert [item["Prefix"] for item in odd["CommonPrefixes"]] == [
        "a/below/",
        "b/below/",
        "c+ü/below/",
    ]
    versions = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, PaginationConfig={"PageSize": 10}
    )
    assert [item["Key"] for page in versions for item in page["Versions"]] == everything


def test_listing_of_1000_dropped_files_is_quick(
    moto: MotoChild, s3: Any, bucket: str, folder: Path
) -> None:
    """The first list of 1,000 new files, whose ETags are not known, takes no work to speak of."""
    for number in range(1000):
        (folder / f"{number:04}.tar.gz").write_bytes(os.urandom(12_000))
    begun = moto.cpu_seconds()
    page = s3.list_objects_v2(Bucket=bucket)
    assert moto.cpu_seconds() - begun < 5.0  # 0.3 s where nothing else runs
    assert page["KeyCount"] == 1000
    assert not page["IsTruncated"]


def test_ranges_and_conditions(s3: Any, bucket: str, folder: Path) -> None:
    """Parts of small and of large objects, and conditions, are as S3 has them."""
    for size in (1000, 9 << 20):
        content = os.urandom(size)
        (folder / "key").write_bytes(content)
        got = s3.get_object(Bucket=bucket, Key="key", Range=f"bytes=10-{size - 11}")
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"] == f"bytes 10-{size - 11}/{size}"
        assert got["Body"].read() == content[10:-10]
        assert (
            s3.get_object(Bucket=bucket, Key="key", Range="bytes=-5")["Body"].read() == content[-5:]
        )
        whole = s3.get_object(Bucket=bucket, Key="key")
        assert whole["Body"].read() == content
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key="key", IfNoneMatch=whole["ETag"])
        assert code_of(error) == "304"
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=bucket, Key="key", Range=f"bytes={size}-")
        assert code_of(error) == "InvalidRange"
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="key", Body=b"", IfNoneMatch="*")
    assert code_of(error) == "PreconditionFailed"


def test_presigned_urls(s3: Any, bucket: str) -> None:
    """Who has a presigned URL can put and get without more."""
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a b/ü"})
    put = urllib.request.Request(url, b"signed", {"Content-Type": ""}, method="PUT")  # noqa: S310  # it is ours
    with urllib.request.urlopen(put) as answer:  # noqa: S310  # it is ours
        assert answer.status == 200
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"})
    with urllib.request.urlopen(url) as answer:  # noqa: S310  # our own
        assert answer.read() == b"signed"


def test_what_a_user_says_of_an_object_survives(own: MotoChild) -> None:
    """Type, metadata, ETag and checksum of an object are there after kill -9; so is the bucket."""
    s3 = own.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    said = {"ContentType": "text/x", "Metadata": {"a_b": "1"}, "CacheControl": "no-store"}
    s3.put_object(Bucket="bucket", Key="a", Body=b"a", **said)
    s3.copy_object(Bucket="bucket", Key="b", CopySource={"Bucket": "bucket", "Key": "a"})
    before = [s3.head_object(Bucket="bucket", Key=key, ChecksumMode="ENABLED") for key in "ab"]
    created = s3.list_buckets()["Buckets"][0]["CreationDate"]
    own.stop(signal.SIGKILL)
    again = MotoChild(own.state)
    try:
        s3 = again.client("s3")
        after = [s3.head_object(Bucket="bucket", Key=key, ChecksumMode="ENABLED") for key in "ab"]
        for old, new in zip(before, after, strict=True):
            assert {key: new[key] for key in said} == said
            assert new["ChecksumCRC32"]
            for changing in (old, new):
                del changing["ResponseMetadata"]
            assert old == new
        assert s3.get_bucket_location(Bucket="bucket")["LocationConstraint"] == "eu-west-1"
        assert s3.list_buckets()["Buckets"][0]["CreationDate"] == created
        (again.s3 / "bucket/a").write_bytes(b"other")  # another object
        assert s3.head_object(Bucket="bucket", Key="a")["Metadata"] == {}
    finally:
        assert again.stop() == 0


def test_versions_are_refused(s3: Any, bucket: str) -> None:
    """Versioning cannot be enabled, and that is said."""
    with pytest.raises(ClientError) as error:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert code_of(error) == "NotImplemented"
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


def test_objects_side_by_side(moto: MotoChild, s3: Any, bucket: str) -> None:
    """Threads that put and delete keys in each other's way leave what the last of them said."""

    def work(key: str) -> None:
        client = moto.client("s3")
        for number in range(15):
            client.put_object(Bucket=bucket, Key=key, Body=f"{key}{number}".encode())
            if number < 14:
                client.delete_object(Bucket=bucket, Key=key)

    names = ["a", "a/b", "a/b/c", "a/d"]
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys(s3, bucket) == names
    for name in names:
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == f"{name}14".encode()


def test_tags_of_objects(s3: Any, bucket: str) -> None:
    """Tags are those of the object that is there now."""
    s3.put_object(Bucket=bucket, Key="a", Body=b"", Tagging="x=1")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == [{"Key": "x", "Value": "1"}]
    s3.put_object(Bucket=bucket, Key="a", Body=b"")
    assert s3.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []
