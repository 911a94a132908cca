"""The store: what it says it has kept is there, whatever happens to the process."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mme.local.control.store import Store, StoreError

SECONDS = 30
WRITER = """
import sys
from pathlib import Path
from mme.local.control.store import Store
store = Store(Path(sys.argv[1]))
for number in range(10**9):
    store.put("model", str(number % 100), {"number": number, "padding": "x" * 2000})
    print(number, flush=True)
"""


def test_documents(tmp_path: Path) -> None:
    """Documents are kept by kind and name, and listed in the order of their first keeping."""
    with contextlib.closing(Store(tmp_path / "store")) as store:
        assert store.get("model", "a") is None
        store.put("model", "b", {"number": 1})
        store.put("model", "a", {"number": 2, "text": "ä\n"})
        store.put("endpoint", "b", {"number": 3})
        store.put("model", "b", {"number": 4})
        assert store.get("model", "a") == {"number": 2, "text": "ä\n"}
        assert store.all("model") == [{"number": 4}, {"number": 2, "text": "ä\n"}]
        assert store.remove("model", "b")
        assert not store.remove("model", "b")
        assert store.all("model") == [{"number": 2, "text": "ä\n"}]
        assert store.all("endpoint") == [{"number": 3}]


def test_names_in_any_case(tmp_path: Path) -> None:
    """Names that differ in their case only are the same, as SageMaker has it."""
    with contextlib.closing(Store(tmp_path / "store")) as store:
        store.put("model", "Name", {"name": "Name"})
        assert store.get("model", "nAME") == {"name": "Name"}
        assert store.remove("model", "NAME")


def test_reopened(tmp_path: Path) -> None:
    """Another process finds what this one has kept."""
    with contextlib.closing(Store(tmp_path / "store")) as store:
        store.put("model", "a", {})
    with contextlib.closing(Store(tmp_path / "store")) as store:
        assert store.get("model", "a") == {}


def test_killed(tmp_path: Path) -> None:
    """What ``put`` has returned from is there after a ``kill -9`` amid the next one."""
    path = tmp_path / "store"
    command = [sys.executable, "-c", WRITER, str(path)]
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            said = [next(writer.stdout) for _ in range(150)]
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout
            acknowledged = int(said[-1])
            assert writer.wait(SECONDS) == -signal.SIGKILL
        with contextlib.closing(Store(path)) as store:
            kept = store.get("model", str(acknowledged % 100))
            assert kept is not None
            assert kept["number"] in (acknowledged, acknowledged + 100)
            assert len(store.all("model")) == 100
            for number in range(acknowledged - 99, acknowledged):
                document = store.get("model", str(number % 100))
                assert document is not None
                assert document["number"] in (number, number + 100)


def test_half_written(tmp_path: Path) -> None:
    """A log that ends amid a record loses that record, and nothing before it."""
    path = tmp_path / "store"
    store = Store(path)
    store.put("model", "a", {"number": 1})
    log = path.with_name("store-wal")
    size = log.stat().st_size
    store.put("model", "b", {"number": 2})
    written = log.read_bytes()
    assert len(written) > size
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    copy.with_name("copy-wal").write_bytes(written[: len(written) - 100])
    store.close()
    with contextlib.closing(Store(copy)) as half:
        assert half.all("model") == [{"number": 1}]
        half.put("model", "c", {"number": 3})
        assert half.get("model", "c") == {"number": 3}


def test_unusable(tmp_path: Path) -> None:
    """A file that is none of ours is said to be so, and left as it is."""
    path = tmp_path / "store"
    path.write_bytes(b"something else\n" * 100)
    with pytest.raises(StoreError, match=f"{path} cannot be used"):
        Store(path)
    assert path.read_bytes() == b"something else\n" * 100
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(tmp_path / "none" / "store")
