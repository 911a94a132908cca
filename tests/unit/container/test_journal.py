"""The register's memory: what the next gate reads is what the last one wrote."""

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

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
journal.note(Entry("before", "/url", "/directory", 0, True), 1)
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size + 10, limit[1]))
for number in range(3):
    journal.note(Entry(f"full-{number}", "/url", "/directory", 0, True), 2)
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
journal.note(Entry("after", "/url", "/directory", 0, True), 2)
"""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """A gate's journal; the gate ends as it may, without a word."""
    one = Journal(path)
    yield one
    for file in (one._file, one._new_file):
        if file is not None:
            os.close(file)


def entry(name: str, ready: bool = True) -> Entry:
    return Entry(name, f"/opt/{name}", f"/opt/{name}/model", 3, ready)


def known(one: Journal) -> list[Entry]:
    """What its events come to."""
    models: dict[str, Entry] = {}
    for event in one.entries():
        models.pop(event.name, None)
        if isinstance(event, Entry):
            models[event.name] = event
    return sorted(models.values())


def kept(path: Path) -> list[Entry]:
    with opened(path) as one:
        return known(one)


def test_nothing_yet(tmp_path: Path) -> None:
    """The first gate knows of no model, and nobody else can read what it will write."""
    path = tmp_path / "journal"
    assert kept(path) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@settings(deadline=None, max_examples=50)
@given(gates=st.lists(st.lists(st.one_of(entries, names), max_size=15), min_size=1, max_size=3))
def test_replay(gates: list[list[Entry | str]]) -> None:
    """Whatever was noted and forgotten, the next gate knows what the last knew, as it was last."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(journal, "_MOST_LINES", 2):
        path, models = Path(folder) / "journal", dict[str, Entry]()
        for events in gates:
            with opened(path) as one:
                assert known(one) == sorted(models.values())
                one.keeps(lambda: (models[name] for name in list(models) if name in models))
                for event in events:
                    if isinstance(event, Entry):
                        models[event.name] = event
                        one.note(event, len(models))
                    else:
                        models.pop(event, None)
                        one.forget(event, len(models))
                assert known(one) == sorted(models.values())
        assert kept(path) == sorted(models.values())


def test_torn_line(tmp_path: Path) -> None:
    """A gate that died in the middle of a line has lost that line, and the next gate none."""
    path = tmp_path / "journal"
    with opened(path) as one:
        one.note(entry("first"), 1)
        before = path.stat().st_size
        one.note(entry("torn"), 2)
    whole = path.read_bytes()
    for end in range(before, len(whole) - 1):
        path.write_bytes(whole[:end])
        with opened(path) as one:
            assert known(one) == [entry("first")]
            one.note(entry("next"), 2)
        assert kept(path) == [entry("first"), entry("next")]


def test_torn_forgetting(tmp_path: Path) -> None:
    """A model that was half forgotten is known still."""
    path = tmp_path / "journal"
    with opened(path) as one:
        one.note(entry("first"), 1)
        before = path.stat().st_size
        one.forget("first", 0)
    os.truncate(path, before + 4)
    assert kept(path) == [entry("first")]


@pytest.mark.parametrize("at_once", [1, 2, 16])
def test_no_longer_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """A file of many lines about few models is written anew, and nothing is forgotten by that."""
    monkeypatch.setattr(journal, "_MOST_LINES", 20)
    monkeypatch.setattr(journal, "_AT_ONCE", at_once)
    path, longest = tmp_path / "journal", 0
    models = {f"stays-{number}": entry(f"stays-{number}") for number in range(30)}
    with opened(path) as one:
        one.keeps(lambda: (models[name] for name in list(models) if name in models))
        for model in list(models.values()):
            one.note(model, len(models))
        for number in range(300):
            models["goes"] = entry("goes", ready=False)
            one.note(models["goes"], len(models))
            models["changes"] = Entry("changes", "/opt", "/opt", number, True)
            one.note(models["changes"], len(models))
            del models["goes"]
            one.forget("goes", len(models))
            if number == 200:
                del models["stays-7"]
                one.forget("stays-7", len(models))
            longest = max(longest, len(path.read_bytes().splitlines()))
        assert os.fstat(one._file).st_ino == path.stat().st_ino
    # Meanwhile as many lines are written to both, and at most one for each model to the new.
    assert 20 < longest <= (2 * 32 + 20) + 2 * (2 * 32 + 20)
    assert len(path.read_bytes().splitlines()) < 300
    assert kept(path) == sorted(models.values())
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]


def test_a_gate_that_dies_while_it_writes_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old file holds until the new one is whole."""
    monkeypatch.setattr(journal, "_MOST_LINES", 0)
    path = tmp_path / "journal"
    models = {f"m{number:02}": entry(f"m{number:02}") for number in range(50)}
    with opened(path) as one:
        one.keeps(lambda: iter([*models.values()]))
        for model in models.values():
            one.note(model, 50)
        while not (tmp_path / "journal.new").exists():
            one.note(models["m07"], 50)
        one.note(entry("m07", ready=False), 50)
        assert (tmp_path / "journal.new").stat().st_size
    assert kept(path) == sorted((models | {"m07": entry("m07", ready=False)}).values())
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]


def test_full_disk(tmp_path: Path) -> None:
    """A disk that is full is said once and stops nothing; what fits before and after it stays."""
    path = tmp_path / "journal"
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    (line,) = said.stdout.splitlines()
    assert '"the journal cannot be written"' in line
    assert [one.name for one in kept(path)] == ["after", "before"]
