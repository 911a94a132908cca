"""What the folder of a bucket cannot hold of an object: its ETag, its type, its user's metadata."""

import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

_TABLES = """
CREATE TABLE IF NOT EXISTS object (
    bucket TEXT, key TEXT, mtime_ns INTEGER, size INTEGER, etag TEXT, kept TEXT,
    PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket (name TEXT PRIMARY KEY, region TEXT, created REAL);
"""


class Record(NamedTuple):
    """What is known of an object's file as long as its time and size are these.

    Attributes:
        etag: without quotes.
        kept: JSON.
    """

    mtime_ns: int
    size: int
    etag: str
    kept: str


class Records:
    """A table on the disk that survives the end of its process at any time."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")  # the machine's end may cost the newest
        self._database.executescript(_TABLES)

    def get(self, bucket: str, key: str) -> Record | None:
        """What is known of an object."""
        with self._lock:
            row = self._database.execute(
                "SELECT mtime_ns, size, etag, kept FROM object WHERE bucket = ? AND key = ?",
                (bucket, key),
            ).fetchone()
        return None if row is None else Record(*row)

    def put(self, bucket: str, key: str, record: Record) -> None:
        """Keep it, instead of what was known."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)", (bucket, key, *record)
            )

    def remove(self, bucket: str, key: str) -> None:
        """The object has gone."""
        with self._lock:
            self._database.execute("DELETE FROM object WHERE bucket = ? AND key = ?", (bucket, key))

    def add_bucket(self, bucket: str, region: str, created: float) -> tuple[str, float]:
        """Keep a bucket's region and time of creation, unless it has them; what it has."""
        with self._lock:
            row: tuple[str, float] = self._database.execute(
                "INSERT INTO bucket VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET name = name RETURNING region, created",
                (bucket, region, created),
            ).fetchone()
        return row

    def remove_bucket(self, bucket: str) -> None:
        """The bucket and its objects have gone."""
        with self._lock:
            self._database.execute("DELETE FROM object WHERE bucket = ?", (bucket,))
            self._database.execute("DELETE FROM bucket WHERE name = ?", (bucket,))
