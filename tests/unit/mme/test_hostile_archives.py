"""Archives that somebody made up: refused early, in one sentence, with nothing left."""

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from mme import artifacts
from mme.artifacts import ArtifactError, pack, unpack

GOOD = pack({"xgboost-model": bytes(range(256)) * 8})
TAPE_END = bytes(1024)


def head(name: str = "m", **changes: object) -> bytes:
    """A member's head, changed as the test wants it."""
    member = tarfile.TarInfo(name)
    for attribute, value in changes.items():
        setattr(member, attribute, value)
    return member.tobuf(tarfile.GNU_FORMAT)


def records(**texts: str) -> bytes:
    """An archive of an empty file with these PAX records."""
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("m")
        member.pax_headers = texts
        archive.addfile(member)
    return tape.getvalue()


def negative() -> bytes:
    """An archive whose first member says that it takes less than nothing."""
    block = bytearray(head())
    block[124:136] = b"\xff" * 4 + (-4096).to_bytes(8, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return gzip.compress(bytes(block) + TAPE_END)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "name-with-a-zero": lambda: records(path="a\0b"),
    "time-without-end": lambda: records(mtime="1e30"),
    "time-that-is-none": lambda: records(mtime="nan"),
    "size-below-zero": negative,
    "size-that-is-not-there": lambda: gzip.compress(head(size=99) + b"few"),
    "the-folder-itself": lambda: records(path="."),
    "a-file-as-a-folder": lambda: gzip.compress(head("a") + head("a/b") + TAPE_END),
    "nested-names": lambda: gzip.compress(
        (head("././@LongLink", type=b"L", size=2) + b"a".ljust(512, b"\0")) * 5000 + head()
    ),
    "another-checksum": lambda: GOOD[:-8] + bytes(4) + GOOD[-4:],
    "no-checksum": lambda: GOOD[:-8],
    "more-after-the-end": lambda: GOOD + b"more",
    "zeros-after-the-end": lambda: gzip.compress(head() + bytes(3 * 1024**2)),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("given", ["file", "bytes"])
def test_made_up_archives(tmp_path: Path, kind: str, given: str) -> None:
    """Whatever the libraries raise for such bytes, it is one sentence, and nothing is left."""
    data = HOSTILE[kind]()
    (tmp_path / "m.tar.gz").write_bytes(data)
    with pytest.raises(ArtifactError) as refused:
        unpack(tmp_path / "m.tar.gz" if given == "file" else data, tmp_path / "model")
    assert "\n" not in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.tar.gz"]


def test_bytes(tmp_path: Path) -> None:
    """An archive that never was a file is unpacked as well."""
    unpack(GOOD, tmp_path / "model")
    assert (tmp_path / "model" / "xgboost-model").read_bytes() == bytes(range(256)) * 8


def test_a_bomb_in_a_head(tmp_path: Path) -> None:
    """A name of 64 MiB, in an archive of 64 KiB, is not read into memory."""
    size = 64 * 1024**2
    bomb = gzip.compress(head("././@LongLink", type=b"L", size=size) + bytes(size), 1)
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError, match="a head over"):
            unpack(bomb, tmp_path / "model")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * 1024**2
    assert not (tmp_path / "model").exists()


def test_a_bomb_of_empty_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files without a byte are counted too."""
    monkeypatch.setattr(artifacts, "MAX_MEMBERS", 10)
    few, many = ({str(number): b"" for number in range(count)} for count in (10, 11))
    unpack(pack(few), tmp_path / "few")
    with pytest.raises(ArtifactError, match="over 10 members"):
        unpack(pack(many), tmp_path / "many")
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def test_a_bomb_is_stopped_early(tmp_path: Path) -> None:
    """A member that says it is too large is refused before any of it is decompressed."""
    bomb = gzip.compress(head(size=2**33))  # of its 8 GiB nothing follows
    with pytest.raises(ArtifactError, match="over 5368709120 bytes"):
        unpack(bomb, tmp_path / "model")


def test_a_folder_that_exists(tmp_path: Path) -> None:
    """What is there already is neither changed nor removed."""
    (tmp_path / "mine").write_bytes(b"1")
    with pytest.raises(FileExistsError):
        unpack(GOOD, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
