"""The disk of an instance: unpacked without trust, bounded, emptied of what is not in use."""

import asyncio
import io
import shutil
import tarfile
import threading
from pathlib import Path

import pytest

from mme import artifacts
from mme.local.runtime.shelf import Shelf
from tests.unit.mme.local.fake_container import SECONDS, in_loop, until

BLOCK = 4096


class Disk(Shelf):
    """A shelf, what is in use on it, and what went."""

    def __init__(self, root: Path, blocks: int) -> None:
        self.busy: set[str] = set()
        self.gone: list[str] = []
        super().__init__(
            root,
            blocks * BLOCK,
            lambda name: name in self.busy,
            lambda name, _: self.gone.append(name),
        )


def archive(folder: Path, blocks: int = 1) -> Path:
    path = folder / f"{blocks}.tar.gz"
    path.write_bytes(artifacts.pack({"xgboost-model": bytes(blocks * BLOCK)}))
    return path


def test_unpacked(tmp_path: Path) -> None:
    """A model lies where the container looks for it, for any user to read."""
    shelf = Disk(tmp_path / "models", 10)
    asyncio.run(shelf.put("a", archive(tmp_path, 2)))
    file = tmp_path / "models" / "a" / "model" / "xgboost-model"
    assert file.stat().st_size == shelf.size("a") == 2 * BLOCK
    assert file.stat().st_mode & 0o777 == 0o644
    assert file.parent.stat().st_mode & 0o777 == 0o755


def test_full_disk(tmp_path: Path) -> None:
    """When the disk is full the models go that were used least recently, but for those in use."""

    async def fill() -> None:
        for name in "abcd":
            await shelf.put(name, archive(tmp_path))
        await shelf.put("e", archive(tmp_path, 2))

    shelf = Disk(tmp_path / "models", 4)
    shelf.busy = {"a"}
    asyncio.run(fill())
    assert shelf.gone == ["b", "c"]
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"a", "d", "e"}
    assert shelf.residency.used == 4 * BLOCK


def test_nothing_may_go(tmp_path: Path) -> None:
    """A model that is too large for the disk stays while it is in use: it must be served."""
    shelf = Disk(tmp_path / "models", 1)
    shelf.busy = {"a"}
    asyncio.run(shelf.put("a", archive(tmp_path, 3)))
    assert "a" in shelf
    asyncio.run(shelf.drop("a"))
    assert list((tmp_path / "models").iterdir()) == []


def test_absent(tmp_path: Path) -> None:
    """An archive that is not there, or is a folder, leaves nothing."""
    shelf = Disk(tmp_path / "models", 1)
    for path in (tmp_path / "absent.tar.gz", tmp_path):
        with pytest.raises(FileNotFoundError):
            asyncio.run(shelf.put("a", path))
    assert "a" not in shelf


def test_hostile(tmp_path: Path) -> None:
    """What leads out of its folder is refused, and nothing is left of it here or there."""
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w:gz") as members:
        member = tarfile.TarInfo("../../../outside")
        member.size = 1
        members.addfile(member, io.BytesIO(b"x"))
    path = tmp_path / "hostile.tar.gz"
    path.write_bytes(tape.getvalue())
    shelf = Disk(tmp_path / "models", 1)
    with pytest.raises(artifacts.ArtifactError):
        asyncio.run(shelf.put("a", path))
    assert "a" not in shelf
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "models" / "a" / "model").exists()


@in_loop
async def test_full_disk_for_many(tmp_path: Path) -> None:
    """Models that come at once to a full disk have room made for all of them."""
    shelf = Disk(tmp_path / "models", 20)
    for number in range(5):
        for small in range(20):
            await shelf.put(f"{number}-{small}", archive(tmp_path))
        large = archive(tmp_path, 5)
        await asyncio.gather(*(shelf.put(f"{number}-{letter}", large) for letter in "abcd"))
        assert shelf.residency.used == 20 * BLOCK
    lying = {path.name for path in (tmp_path / "models").iterdir()}
    assert lying == {name for name, _ in shelf.residency.held()} == {f"4-{one}" for one in "abcd"}


@in_loop
async def test_comes_back(tmp_path: Path) -> None:
    """A model that is put back while it is being deleted is whole."""
    shelf = Disk(tmp_path / "models", 10_000)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(artifacts.pack({f"{number}": b"any" for number in range(100)}))
    for _ in range(20):
        await shelf.put("a", path)
        await asyncio.gather(shelf.drop("a"), shelf.put("a", path))
        assert len(list((tmp_path / "models" / "a" / "model").iterdir())) == 100
        assert "a" in shelf
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["a"]


@in_loop
async def test_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives up while a model is unpacked can wait for its end; nothing comes later."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(archive: Path, folder: Path) -> None:
        begun.set()
        assert go_on.wait(SECONDS)
        unpack(archive, folder)

    unpack = artifacts.unpack
    monkeypatch.setattr(artifacts, "unpack", slow)
    shelf = Disk(tmp_path / "home" / "models", 10)
    put = asyncio.create_task(shelf.put("a", archive(tmp_path)))
    await until(begun.is_set, "unpacking")
    put.cancel()
    await asyncio.wait([put])
    quiet = asyncio.create_task(shelf.quiet())
    done, _ = await asyncio.wait([quiet], timeout=0.05)
    assert not done
    go_on.set()
    await quiet
    shutil.rmtree(tmp_path / "home")
    await shelf.quiet()
    assert not (tmp_path / "home").exists()
    assert "a" not in shelf
