"""The disk of one instance: archives come from S3 and lie here unpacked, until room is needed."""

import asyncio
import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mme import artifacts
from mme.residency import Held, Residency

_BLOCK = 4096  # what the smallest file takes
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755  # a container's user is not ours
_THREADS = 2

_threads = ThreadPoolExecutor(_THREADS, "unpack")


class Shelf:
    """The unpacked models of one instance.

    Args:
        root: the instance's model root; models lie at ``root/<name>/model``.
        capacity: bytes.
        in_use: whether a model is loaded, or being so: it stays.
        evicted: is told each model that went for want of room, and how it was held.
    """

    def __init__(
        self,
        root: Path,
        capacity: int,
        in_use: Callable[[str], bool],
        evicted: Callable[[str, Held], None],
    ) -> None:
        self.root = root
        self.residency = Residency(capacity)
        self._in_use, self._evicted = in_use, evicted
        self._unpacking: set[asyncio.Future[int]] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.residency

    def size(self, name: str) -> int:
        """Bytes that the model takes here."""
        model = self.residency.get(name)
        return 0 if model is None else model.size

    async def put(self, name: str, archive: Path) -> None:
        """Unpack an archive as the model of that name.

        Raises:
            FileNotFoundError: there is no such archive.
            artifacts.ArtifactError: it cannot be unpacked.
        """
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(_threads, _unpack, archive, self.root / name)
        self._unpacking.add(work)  # a thread cannot be cancelled
        work.add_done_callback(self._unpacking.discard)
        size = await asyncio.shield(work)
        self.residency.loaded(name, size, time.monotonic())
        await self._make_room(name)

    async def quiet(self) -> None:
        """Return when nothing is being unpacked, also of who was cancelled."""
        if self._unpacking:
            await asyncio.wait(self._unpacking)

    async def _make_room(self, newest: str) -> None:
        """Delete models that are not loaded, the least recently used first, until all fits."""
        for name, _ in self.residency.held() if self.residency.lacks(0) else ():
            if not self.residency.lacks(0):
                return
            if name != newest and name in self.residency and not self._in_use(name):
                self._evicted(name, self.residency.evict(name))
                await self._delete(name)

    async def drop(self, name: str) -> None:
        """Delete a model."""
        if self.residency.remove(name) is not None:
            await self._delete(name)

    async def _delete(self, name: str) -> None:
        gone = self.root / f".gone-{secrets.token_hex(8)}"
        with contextlib.suppress(FileNotFoundError):  # at once: the model may come back meanwhile
            (self.root / name).rename(gone)
        await asyncio.get_running_loop().run_in_executor(
            _threads, lambda: shutil.rmtree(gone, ignore_errors=True)
        )


def _unpack(archive: Path, home: Path) -> int:
    """Unpack into ``home/model``; the bytes on the disk."""
    if not archive.is_file():
        raise FileNotFoundError(archive)
    shutil.rmtree(home, ignore_errors=True)  # half of one, of a load that was given up
    artifacts.unpack(archive, home / "model")
    size = 0
    for folder, _, files in os.walk(home):
        Path(folder).chmod(_FOLDER_MODE)
        for file in files:
            path = Path(folder, file)
            path.chmod(_FILE_MODE)
            size += -(-path.stat().st_size // _BLOCK) * _BLOCK
    return size
