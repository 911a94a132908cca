"""Keys and files: every key has its file, every file that is one has its key."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme.local.aws.objects import KeyTooLongError, Objects, OutsideError

SEGMENTS = st.one_of(
    st.sampled_from(["", ".", "..", "a", "b", "%!", "%!61", "%!61!", "a\0", ".mme-x", "ü", "a.b"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), max_size=8),
)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join).filter(bool)


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    """No buckets but one."""
    objects = Objects(tmp_path / "s3")
    objects.add_bucket("bucket")
    return objects


def put(objects: Objects, key: str, content: bytes = b"") -> Path:
    file = objects.temporary("bucket")
    file.write_bytes(content)
    return objects.place("bucket", key, file)


@settings(max_examples=150, deadline=None)
@given(keys=st.lists(KEYS, unique=True, max_size=12), gone=st.sets(st.integers(0, 11)))
def test_keys_round_trip(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], gone: set[int]
) -> None:
    """Whatever keys are put in whatever order: each has its bytes, and S3's order."""
    objects = Objects(tmp_path_factory.mktemp("s3"))
    objects.add_bucket("bucket")
    for key in keys:
        put(objects, key, key.encode())
    for number in gone:
        if number < len(keys):
            assert objects.remove("bucket", keys[number])
            assert not objects.remove("bucket", keys[number])
    left = [key for number, key in enumerate(keys) if number not in gone]
    for key in left:
        assert objects.path("bucket", key).read_bytes() == key.encode()
    assert list(objects.keys("bucket")) == sorted(left, key=str.encode)
    for key in keys:
        for length in range(1, len(key) + 1, 3):
            prefix = key[:length]
            having = sorted((one for one in left if one.startswith(prefix)), key=str.encode)
            assert list(objects.keys("bucket", prefix)) == having
            assert objects.has_any("bucket", prefix) == bool(having)
        after = [one for one in sorted(left, key=str.encode) if one.encode() > key.encode()]
        assert list(objects.keys("bucket", after=key)) == after
    assert all(path.is_relative_to(objects.root) for path in objects.root.rglob("*"))


def test_plain_keys_are_plain_files(objects: Objects) -> None:
    """What is dropped into the folder is an object, and an object is a file of its own name."""
    assert put(objects, "models/a.tar.gz") == objects.root / "bucket/models/a.tar.gz"
    (objects.root / "bucket/models/b.tar.gz").write_bytes(b"b")
    assert list(objects.keys("bucket", "models/")) == ["models/a.tar.gz", "models/b.tar.gz"]
    (objects.root / "bucket/models/a.tar.gz").unlink()
    assert list(objects.keys("bucket")) == ["models/b.tar.gz"]


def test_folders_are_told_once(objects: Objects) -> None:
    """By folder, what is below one counts as one, unless it is empty."""
    for key in ("a", "a/1", "a/2", "b", "c/d/e", "c0"):
        put(objects, key)
    (objects.root / "bucket/empty/folder").mkdir(parents=True)
    assert list(objects.keys("bucket", by_folder=True)) == ["a", "a/", "b", "c/", "c0"]
    assert list(objects.keys("bucket", "c/", by_folder=True)) == ["c/d/"]
    assert list(objects.keys("bucket", after="a/", by_folder=True)) == ["b", "c/", "c0"]
    assert not objects.has_any("bucket", "empty/")


def test_links_lead_nowhere(objects: Objects, tmp_path: Path) -> None:
    """A bucket may be a link; below it, no link is read, written through, or an object."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_text("secret")
    (objects.root / "bucket/link").symlink_to(tmp_path / "secret")
    (objects.root / "bucket/file").symlink_to(tmp_path / "secret/file")
    with pytest.raises(OutsideError):
        objects.path("bucket", "link/file")
    with pytest.raises(OutsideError):
        put(objects, "link/new")
    assert not objects.path("bucket", "file").exists()
    assert list(objects.keys("bucket")) == []
    put(objects, "file", b"mine")
    assert (tmp_path / "secret/file").read_text() == "secret"
    assert objects.path("bucket", "file").read_bytes() == b"mine"
    (objects.root / "other").symlink_to(tmp_path / "secret")
    assert objects.buckets() == ["bucket", "other"]
    assert list(objects.keys("other")) == ["file"]
    assert objects.remove_bucket("other") is False


@pytest.mark.parametrize("bucket", ["..", ".", "", "a/b", "ab", "Upper", "under_score", "x" * 64])
def test_no_bucket_is_outside(objects: Objects, bucket: str) -> None:
    """A name that no bucket can have leads nowhere."""
    assert not objects.is_bucket(bucket)
    assert not objects.has_any(bucket)
    with pytest.raises(OutsideError):
        objects.path(bucket, "key")
    with pytest.raises(OutsideError):
        objects.add_bucket(bucket)


@pytest.mark.parametrize("key", ["", "x" * 256, "a/" + "ü" * 128, "/".join(["a" * 200] * 6)])
def test_too_long_keys_are_refused(objects: Objects, key: str) -> None:
    """A key that no file can have is refused, and nothing of it stays."""
    with pytest.raises(KeyTooLongError):
        objects.path("bucket", key)
    assert not objects.has_any("bucket", "a")


def test_a_key_that_cannot_step_aside_stays(objects: Objects) -> None:
    """A file whose other name would be too long is not lost to a folder."""
    put(objects, "x" * 200, b"kept")
    with pytest.raises(KeyTooLongError):
        put(objects, "x" * 200 + "/y")
    assert objects.path("bucket", "x" * 200).read_bytes() == b"kept"


def test_foreign_names_are_no_keys(objects: Objects) -> None:
    """Files that we would not have named so are left alone, and are no objects."""
    folder = objects.root / "bucket"
    (folder / "a").write_text("plain")
    for name in (b"%!61", b"%!zz", b"%!6", b"%!2F", b"%!612f62", b".mme-half", b"\xff\xfe"):
        (folder / os.fsdecode(name)).write_text("foreign")
    (folder / "%!62!").mkdir()
    (folder / "%!62!/c").write_text("foreign")
    assert list(objects.keys("bucket")) == ["a"]
    assert objects.path("bucket", "a").read_text() == "plain"


def test_removing_leaves_no_empty_folders(objects: Objects) -> None:
    """The last object of a folder takes the folder with it, but never the bucket."""
    put(objects, "a/b/c")
    put(objects, "a/d")
    assert objects.remove("bucket", "a/b/c")
    assert [path.name for path in (objects.root / "bucket").rglob("*")] == ["a", "d"]
    assert objects.remove("bucket", "a/d")
    assert objects.is_bucket("bucket")
    assert objects.remove_bucket("bucket")
    assert objects.buckets() == []


def test_a_large_folder_is_seen_as_it_is(objects: Objects) -> None:
    """What a listing remembers of a large folder never hides a file that has come or gone."""
    folder = objects.root / "bucket"
    for number in range(1100):
        (folder / f"{number:04}").touch()
    os.utime(folder, ns=(1, 1))
    assert len(list(objects.keys("bucket"))) == 1100
    (folder / "new").touch()
    assert len(list(objects.keys("bucket"))) == 1101
    (folder / "0000").unlink()
    assert next(objects.keys("bucket")) == "0001"
