"""The register's memory: what the next gate reads is what the last one wrote."""

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container import journal
from container.journal import Entry, Journal

names = st.sampled_from(["a", "b", "c", 'quote"', "line\nend\r", "é😀\u2028", "\ud800"])
entries = st.builds(Entry, names, st.text(), st.text(), st.integers(0, 9), st.booleans())

FULL_DISK = """
import resource, sys
from pathlib import Path
from container.journal import Entry, Journal

journal = Journal(Path(sys.argv[1]))
journal.note(Entry("before", "/url", "/directory", 0, True))
resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size + 10,) * 2)
for number in range(3):
    journal.note(Entry(f"after-{number}", "/url", "/directory", 0, True))
journal.forget("after-0")
print([entry.name for entry in journal.entries()])
"""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """A gate's journal; the gate ends as it may, without a word."""
    one = Journal(path)
    yield one
    os.close(one._file)


def entry(name: str, ready: bool = True) -> Entry:
    return Entry(name, f"/opt/{name}", f"/opt/{name}/model", 3, ready)


def kept(path: Path) -> list[Entry]:
    with opened(path) as one:
        return one.entries()


def test_nothing_yet(tmp_path: Path) -> None:
    """The first gate knows of no model, and nobody else can read what it will write."""
    path = tmp_path / "journal"
    assert kept(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(deadline=None, max_examples=50)
@given(gates=st.lists(st.lists(st.one_of(entries, names), max_size=15), min_size=1, max_size=3))
def test_replay(gates: list[list[Entry | str]]) -> None:
    """Whatever was noted and forgotten, the next gate knows what the last knew, as it was last."""
    with tempfile.TemporaryDirectory() as folder:
        path, known = Path(folder) / "journal", dict[str, Entry]()
        for events in gates:
            with opened(path) as one:
                assert one.entries() == list(known.values())
                for event in events:
                    if isinstance(event, Entry):
                        one.note(event)
                        known[event.name] = event
                    else:
                        one.forget(event)
                        known.pop(event, None)
                assert one.entries() == list(known.values())
        assert kept(path) == list(known.values())


def test_torn_line(tmp_path: Path) -> None:
    """A gate that died in the middle of a line has lost that line, and the next gate none."""
    path = tmp_path / "journal"
    with opened(path) as one:
        one.note(entry("first"))
        before = path.stat().st_size
        one.note(entry("torn"))
    whole = path.read_bytes()
    for end in range(before, len(whole) - 1):
        path.write_bytes(whole[:end])
        with opened(path) as one:
            assert one.entries() == [entry("first")]
            one.note(entry("next"))
        assert kept(path) == [entry("first"), entry("next")]


def test_torn_forgetting(tmp_path: Path) -> None:
    """A model that was half forgotten is known still."""
    path = tmp_path / "journal"
    with opened(path) as one:
        one.note(entry("first"))
        before = path.stat().st_size
        one.forget("first")
    os.truncate(path, before + 4)
    assert kept(path) == [entry("first")]


def test_no_longer_than_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many lines about few models is written anew, and nothing is forgotten by that."""
    monkeypatch.setattr(journal, "_MOST_LINES", 20)
    path, longest = tmp_path / "journal", 0
    with opened(path) as one:
        one.note(entry("stays"))
        for number in range(100):
            one.note(entry("goes", ready=False))
            one.note(Entry("changes", "/opt", "/opt", number, True))
            one.forget("goes")
            longest = max(longest, len(path.read_bytes().splitlines()))
        assert os.fstat(one._file).st_ino == path.stat().st_ino
    assert 20 < longest <= 2 * 3 + 20
    assert kept(path) == [entry("stays"), Entry("changes", "/opt", "/opt", 99, True)]
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]


def test_full_disk(tmp_path: Path) -> None:
    """A disk that is full is said once and stops nothing; what was written before stays."""
    path = tmp_path / "journal"
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    first, second = said.stdout.splitlines()
    assert '"the journal cannot be written"' in first
    assert second == "['before', 'after-1', 'after-2']"
    assert [one.name for one in kept(path)] == ["before"]
