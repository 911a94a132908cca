"""Archives: packed alike, unpacked without trust."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mme.artifacts import ArtifactError, pack, unpack


def test_there_and_back(tmp_path: Path) -> None:
    """What was packed is what is unpacked."""
    (tmp_path / "m.tar.gz").write_bytes(pack({"xgboost-model": b"abc", "notes.txt": b""}))
    unpack(tmp_path / "m.tar.gz", tmp_path / "root" / "model")
    files = {path.name: path.read_bytes() for path in (tmp_path / "root" / "model").iterdir()}
    assert files == {"xgboost-model": b"abc", "notes.txt": b""}


def test_the_same_bytes() -> None:
    """The same files make the same archive, in whatever order; it names no time and no user."""
    one, other = pack({"a": b"1", "b": b"2"}), pack({"b": b"2", "a": b"1"})
    assert one == other
    assert one[4:8] == bytes(4)  # gzip's time
    with tarfile.open(fileobj=io.BytesIO(one)) as archive:
        for member in archive:
            assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


def tar(**changes: object) -> bytes:
    """An archive of one member of three bytes, changed as the test wants it."""
    member = tarfile.TarInfo("m")
    member.size = 3
    for name, value in changes.items():
        setattr(member, name, value)
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w:gz") as archive:
        archive.addfile(member, io.BytesIO(b"abc") if member.isreg() else None)
    return tape.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "path": lambda: tar(name="../evil"),
    "absolute": lambda: tar(name="/evil"),
    "symlink": lambda: tar(type=tarfile.SYMTYPE, linkname="/etc/passwd", size=0),
    "hard-link": lambda: tar(type=tarfile.LNKTYPE, linkname="x", size=0),
    "device": lambda: tar(type=tarfile.CHRTYPE, size=0),
    "pipe": lambda: tar(type=tarfile.FIFOTYPE, size=0),
    "cut": lambda: tar()[:-20],
    "no-archive": lambda: b"hello",
    "zip": lambda: b"PK\x03\x04",
    "gzip-of-nothing": lambda: gzip.compress(b"x" * 2000),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives(tmp_path: Path, kind: str) -> None:
    """An archive that leads out, is a link or a device, or is damaged leaves nothing behind."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "m.tar.gz").write_bytes(HOSTILE[kind]())
    with pytest.raises(ArtifactError):
        unpack(tmp_path / "m.tar.gz", home / "model")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["home", "m.tar.gz"]


def test_bombs(tmp_path: Path) -> None:
    """What would be too large is not unpacked to its end."""
    (tmp_path / "m.tar.gz").write_bytes(pack({"a": bytes(1000), "b": bytes(1000)}))
    with pytest.raises(ArtifactError, match="over 1500 bytes"):
        unpack(tmp_path / "m.tar.gz", tmp_path / "model", max_bytes=1500)
    assert not (tmp_path / "model").exists()
