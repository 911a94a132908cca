"""Between S3 and a job's folders: files are copied, never shared."""

import contextlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from mme.local.aws.objects import Objects, split_url

Seen = dict[Path, tuple[int, int]]


class JobError(Exception):
    """The job fails; the message is its FailureReason."""


def keys(objects: Objects, url: str) -> list[str]:
    """The keys that begin as the URL says, in order; folders' markers are none."""
    bucket, prefix = split_url(url)
    return [key for key in objects.keys(bucket, prefix) if not key.endswith("/")]


def data_keys(objects: Objects, url: str) -> list[str]:
    """The keys of a channel.

    Raises:
        JobError: there are none.
    """
    found = keys(objects, url)
    if not found:
        raise JobError(
            "ClientError: Data download failed: No S3 objects found under S3 URL "
            f'"{url}" given in input data source.'
        )
    return found


def check_bucket(objects: Objects, url: str) -> None:
    """Fail early where results could not be kept.

    Raises:
        JobError: there is no such bucket.
    """
    if not objects.is_bucket(split_url(url)[0]):
        raise JobError(f"ClientError: the bucket of {url} does not exist.")


def download(objects: Objects, url: str, chosen: Iterable[str], folder: Path) -> None:
    """Copy objects below a folder, by what their keys have after the URL's last slash."""
    bucket, prefix = split_url(url)
    base = prefix[: prefix.rfind("/") + 1]
    folder.mkdir(parents=True, exist_ok=True)
    for key in chosen:
        path = folder / key[len(base) :]
        if not path.resolve().is_relative_to(folder.resolve()):
            raise JobError(f"ClientError: the key {key!r} leads out of the folder of its channel.")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(objects.path(bucket, key), path)


def upload(objects: Objects, folder: Path, url: str, seen: Seen) -> None:
    """Copy a folder's files that have changed since they were seen last."""
    bucket, prefix = split_url(url)
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # it was being written, and has its name now
            about = path.stat()
            mark = (about.st_mtime_ns, about.st_size)
            if path.is_file() and seen.get(path) != mark:
                key = f"{prefix.rstrip('/')}/{path.relative_to(folder)}".lstrip("/")
                put(objects, bucket, key, path)
                seen[path] = mark


def put(objects: Objects, bucket: str, key: str, file: Path) -> None:
    """Make a copy of a file an object."""
    temporary = objects.temporary(bucket)
    try:
        shutil.copyfile(file, temporary)
        objects.place(bucket, key, temporary)
    finally:
        temporary.unlink(missing_ok=True)


def upload_archive(objects: Objects, folders: Sequence[Path], url: str) -> None:
    """Pack the folders' files, those of all hosts together, and make that an object."""
    bucket, key = split_url(url)
    with tempfile.NamedTemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    archive.add(path, path.name)
        file.flush()
        put(objects, bucket, key, Path(file.name))
