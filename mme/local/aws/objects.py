"""S3 objects as plain files: which file a key is, and which keys there are.

Key ``a/b/c`` of a bucket is the file ``a/b/c`` below the bucket's folder, so files can be dropped
in and taken out by hand. A segment that no file can have as its name is written as ``%!`` and the
hex digits of its bytes, with ``!`` behind them if it is a folder's. The last segment of a key whose
plain path something else has taken is written so, too: ``a`` beside ``a/b`` is the file ``%!61``.
Links below the bucket's folder are not followed.
"""

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SCHEME = "s3://"
TEMPORARY = ".mme-"  # files so named are being written, and are no objects
_TEMPORARY = re.compile(r"\.mme-[0-9a-f]{16}")
_ESCAPE, _FOLDER_MARK = "%!", "!"
_MOST_KEY_BYTES, _MOST_NAME_BYTES = 1024, 255
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LARGE = 1000  # names in a folder that are worth to be remembered
_CLOCK_SECONDS = 0.1  # a file system's clock may stand still so long


def split_url(url: str) -> tuple[str, str]:
    """The bucket and the key of an ``s3://`` URL."""
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    return bucket, key


class KeyTooLongError(ValueError):
    """The key, or a segment of it, is longer than a file's name can be."""


class OutsideError(ValueError):
    """The key leads through a link, or its bucket's name is none."""


class _Listing(NamedTuple):
    """A folder's names, in order, and the folder's time of change before they were read."""

    folder: Path
    changed_ns: int
    names: list[str]


class Objects:
    """The buckets below a folder; a bucket's folder may be a link to another one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._large: _Listing | None = None  # the last large one

    def buckets(self) -> list[str]:
        """The buckets' names, sorted."""
        try:
            return sorted(path.name for path in self.root.iterdir() if self.is_bucket(path.name))
        except FileNotFoundError:
            return []

    def is_bucket(self, bucket: str) -> bool:
        """Whether there is a bucket of that name."""
        return _BUCKET.fullmatch(bucket) is not None and (self.root / bucket).is_dir()

    def add_bucket(self, bucket: str) -> None:
        """Make a bucket, unless it is there.

        Raises:
            OutsideError: no bucket can have that name.
        """
        if _BUCKET.fullmatch(bucket) is None:
            raise OutsideError(f"{bucket!r} is no name of a bucket")
        (self.root / bucket).mkdir(parents=True, exist_ok=True)

    def remove_bucket(self, bucket: str) -> bool:
        """Delete a bucket without objects; whether it could be."""
        top = self.root / bucket
        if self.has_any(bucket):
            return False
        try:
            if top.is_symlink():
                top.unlink()
                return True
            for folder, _, files in os.walk(top, topdown=False):
                for name in files:
                    if name.startswith(TEMPORARY):
                        Path(folder, name).unlink()
                Path(folder).rmdir()
        except OSError:  # something else is in it
            return False
        return True

    def path(self, bucket: str, key: str) -> Path:
        """The object's file, or where it would be.

        Raises:
            ValueError: a KeyTooLongError, an OutsideError, or the key is no Unicode text.
        """
        folder, last = self._folder(bucket, key)
        plain, escaped = folder / _file_name(last), folder / _escaped(last)
        mode = _mode(plain)
        if stat.S_ISREG(mode) or (mode == 0 and not stat.S_ISREG(_mode(escaped))):
            return plain
        if len(escaped.name) > _MOST_NAME_BYTES:
            raise KeyTooLongError(f"a folder is where the object {key!r} would be")
        return escaped

    def _folder(self, bucket: str, key: str) -> tuple[Path, str]:
        """The folder that an object would be in, and the last segment of its key."""
        if _BUCKET.fullmatch(bucket) is None:
            raise OutsideError(f"{bucket!r} is no name of a bucket")
        if not key or len(key.encode()) > _MOST_KEY_BYTES:
            raise KeyTooLongError(f"a key has 1 to {_MOST_KEY_BYTES} bytes")
        *folders, last = key.split("/")
        folder = self.root / bucket
        for segment in folders:
            folder /= _file_name(segment, _FOLDER_MARK)
            if stat.S_ISLNK(_mode(folder)):
                raise OutsideError(f"{str(folder)!r} is a link; links are not followed")
        return folder, last

    def keys(
        self, bucket: str, prefix: str = "", after: str = "", *, by_folder: bool = False
    ) -> Iterator[str]:
        """The keys with a prefix, beyond another key, in S3's order: by their UTF-8 bytes.

        A folder is read when its turn comes, so who stops early has not read them all. With
        ``by_folder``, all keys of a folder below the prefix give but one: what they begin with,
        as far as the slash.
        """
        # Code points are in the order of their UTF-8 bytes. A folder stands at its name with a
        # slash, and so are all the keys below it.
        base, folder = self._prefix_folder(bucket, prefix)
        stack = [(base, folder, iter(self._sorted(folder)))]
        while stack:
            base, folder, names = stack[-1]
            for name in names:
                key = base + name
                if not key.startswith(prefix) and not prefix.startswith(key):
                    continue
                if not name.endswith("/"):
                    if key > after and key.startswith(prefix):
                        yield key
                elif by_folder and len(key) > len(prefix):
                    if key > after and self.has_any(bucket, key):
                        yield key
                elif key > after or after.startswith(key):
                    below = folder / _file_name(name[:-1], _FOLDER_MARK)
                    stack.append((key, below, iter(self._sorted(below))))
                    break
            else:
                stack.pop()

    def _sorted(self, folder: Path) -> list[str]:
        """A folder's names in order; those of a large folder are read when it has changed."""
        large, changed = self._large, _changed_ns(folder)
        if large is not None and (large.folder, large.changed_ns) == (folder, changed):
            return large.names
        now = time.time_ns()
        names = sorted(_read(folder))
        if len(names) >= _LARGE and now - changed > 1e9 * _CLOCK_SECONDS:
            self._large = _Listing(folder, changed, names)
        return names

    def has_any(self, bucket: str, prefix: str = "") -> bool:
        """Whether a key has that prefix; it stops at the first."""
        stack = [self._prefix_folder(bucket, prefix)]
        while stack:
            base, folder = stack.pop()
            for name in _read(folder):
                key = base + name
                if not name.endswith("/"):
                    if key.startswith(prefix):
                        return True
                elif key.startswith(prefix) or prefix.startswith(key):
                    stack.append((key, folder / _file_name(name[:-1], _FOLDER_MARK)))
        return False

    def _prefix_folder(self, bucket: str, prefix: str) -> tuple[str, Path]:
        """What all keys with a prefix begin with as far as a slash, and the folder of that."""
        base = prefix[: prefix.rfind("/") + 1]
        try:
            return base, self._folder(bucket, base or "-")[0]
        except ValueError:  # nothing is there, nor can be
            return base, self.root / f"{TEMPORARY}none"

    def temporary(self, bucket: str) -> Path:
        """A new name for a file that ``place`` will make an object."""
        return self.root / bucket / f"{TEMPORARY}{secrets.token_hex(8)}"

    def remove_temporary(self, bucket: str) -> None:
        """Remove what ``temporary`` has named and a process left that was killed, no more."""
        for file in (self.root / bucket).glob(f"{TEMPORARY}*"):
            if _TEMPORARY.fullmatch(file.name) and stat.S_ISREG(_mode(file)):
                file.unlink()

    def place(self, bucket: str, key: str, file: Path) -> Path:
        """Make a file of the same file system an object, at once and whole; where it is then.

        Raises:
            ValueError: as ``path`` does.
        """
        folder, _ = self._folder(bucket, key)
        for ancestor in (folder, *folder.parents):
            if ancestor == self.root / bucket:
                break
            if stat.S_ISREG(_mode(ancestor)):  # an object, and it stays one
                _step_aside(ancestor)
                break
        folder.mkdir(parents=True, exist_ok=True)
        path = self.path(bucket, key)
        file.replace(path)
        return path

    def remove(self, bucket: str, key: str) -> bool:
        """Delete an object, and the folders that are empty then; whether there was one."""
        try:
            path = self.path(bucket, key)
            path.unlink()
        except (ValueError, FileNotFoundError, NotADirectoryError):
            return False
        for folder in path.parents:
            if folder == self.root / bucket:
                break
            try:
                folder.rmdir()
            except OSError:  # it holds others
                break
        return True


def _escaped(segment: str) -> str:
    return _ESCAPE + segment.encode().hex()


def _is_text(name: str) -> bool:
    """Whether it can be written as UTF-8; a file's name on a disk can be anything."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _file_name(segment: str, mark: str = "") -> str:
    """The name of a segment's file, or with the mark, of its folder.

    Raises:
        KeyTooLongError: it is longer than a name can be.
    """
    name = segment
    reserved = segment in ("", ".", "..") or segment.startswith((_ESCAPE, TEMPORARY))
    if reserved or "\0" in segment:
        name = _escaped(segment) + mark
    if len(name.encode()) > _MOST_NAME_BYTES:
        raise KeyTooLongError(f"the segment {segment[:40]!r}… of a key is too long for a file")
    return name


def _segment(name: str, mark: str = "") -> str | None:
    """What the name of a file, or of a folder, stands for; None if we would not name one so."""
    if not name.startswith(_ESCAPE):
        return None if name.startswith(TEMPORARY) or not _is_text(name) else name
    with contextlib.suppress(ValueError):
        digits = name[len(_ESCAPE) :].removesuffix(mark)
        segment = bytes.fromhex(digits).decode()
        return segment if _escaped(segment) + mark == name and "/" not in segment else None
    return None


def _mode(path: Path) -> int:
    """What lies there, links not followed; 0 if nothing does, or can."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _step_aside(file: Path) -> None:
    """Give an object's file its other name, for a folder must have this one."""
    segment = _segment(file.name)
    if segment is None or len(_escaped(segment)) > _MOST_NAME_BYTES:
        raise KeyTooLongError(f"the file {str(file)!r} is in the way")
    file.rename(file.with_name(_escaped(segment)))


def _read(folder: Path) -> Iterator[str]:
    """The segments that lie in a folder, in no order; folders' with a slash."""
    try:
        found = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):  # gone meanwhile
        return
    with found:
        for file in found:
            if file.is_dir(follow_symlinks=False):
                segment = _segment(file.name, _FOLDER_MARK)
                if segment is not None and _file_name(segment, _FOLDER_MARK) == file.name:
                    yield f"{segment}/"
            elif file.is_file(follow_symlinks=False):
                segment = _segment(file.name)
                if segment is not None and (file.name == segment or _is_meant(file, segment)):
                    yield segment


def _is_meant(file: "os.DirEntry[str]", segment: str) -> bool:
    """Whether an escaped name is the one that its key leads to."""
    plain = _file_name(segment)
    return plain == file.name or not stat.S_ISREG(_mode(Path(file.path).with_name(plain)))
