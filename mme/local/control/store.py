"""What there is, kept in SQLite: documents by kind and name."""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TABLE = """\
CREATE TABLE IF NOT EXISTS documents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL COLLATE NOCASE, -- as SageMaker's names: ABC and abc are the same
    document TEXT NOT NULL,
    UNIQUE (kind, name)
)"""


class StoreError(Exception):
    """The file cannot be used; the message is the one line to print."""


class Store:
    """The documents; what has been put is there again after a restart or a ``kill -9``.

    Args:
        path: of the file; made if it is not there.

    Raises:
        StoreError: it is no such file, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None)  # each statement commits itself
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be opened: {error}") from None
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            # What is committed is the kernel's then, so a process that dies takes nothing with it.
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(_TABLE)
        except sqlite3.Error as error:
            self._db.close()
            raise StoreError(f"{path} cannot be used: {error}; is it a file of ours?") from None

    def put(self, kind: str, name: str, document: Mapping[str, Any]) -> None:
        """Keep a document, instead of the one of that name if there is one."""
        self._db.execute(
            "INSERT INTO documents (kind, name, document) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, name) DO UPDATE SET document = excluded.document",
            (kind, name, json.dumps(document)),
        )

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """The document of that name."""
        found = self._db.execute(
            "SELECT document FROM documents WHERE kind = ? AND name = ?", (kind, name)
        ).fetchone()
        return None if found is None else _read(found)

    def remove(self, kind: str, name: str) -> bool:
        """Remove a document; whether there was one."""
        removed = self._db.execute(
            "DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name)
        )
        return removed.rowcount > 0

    def all(self, kind: str) -> list[dict[str, Any]]:
        """All documents of a kind, the first put first."""
        found = self._db.execute(
            "SELECT document FROM documents WHERE kind = ? ORDER BY number", (kind,)
        )
        return [_read(row) for row in found]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _read(row: tuple[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(row[0])
    return document
