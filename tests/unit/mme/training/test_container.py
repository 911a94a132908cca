"""The training container: what the platform lays out becomes archives, whatever comes between."""

import contextlib
import gc
import gzip
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mme import cli
from mme.train import Failed, Trained, train_groups
from mme.training.fit import Group, Recipe
from mme.training.order import OrderError
from mme.training.table import Share
from mme.training.workers import train_all
from tests.support import SOON_SECONDS, alive, wait_until
from tests.unit.mme.training.support import CITIES, archives, houses, lay_out, metrics

SECONDS = 60
Train = Callable[[Path], int]
_BLOCKED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pandas", "joblib", "tqdm", "boto3"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Iterator[Train]:
    """Run the container's command on a folder."""
    monkeypatch.setenv("MME_TRAIN_JOBS", "1")
    before = signal.getsignal(signal.SIGTERM)  # which the container keeps, for its process ends

    def train(root: Path) -> int:
        monkeypatch.setenv("MME_TRAIN_ROOT", str(root))
        return cli.main(["train"])

    yield train
    signal.signal(signal.SIGTERM, before)


def test_a_model_a_group(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each group has the archive that ``mme train`` makes of it, byte for byte, and a row."""
    frame = houses()
    first, second = frame.iloc[:70], frame.iloc[70:]
    packed = tmp_path / "second.csv.gz"
    second[["PRICE", *second.columns.drop(["city", "PRICE"]), "city"]].to_csv(packed, index=False)
    files = {"a/first.csv": first, "second.csv.gz": packed.read_bytes(), "empty": b""}
    root = lay_out(tmp_path / "ml", files)
    assert train(root) == 0
    expected = {one.name: one for one in train_groups(frame, "city", "PRICE", rounds=5, jobs=1)}
    found = archives(root)
    assert found.keys() == set(CITIES)
    table = metrics(root)
    for name, archive in found.items():
        one = expected[name]
        assert isinstance(one, Trained)
        assert archive == one.archive
        assert (table.rows[name], table.bytes[name]) == (one.rows, len(archive))
        assert table.rmse[name] == pytest.approx(one.rmse, abs=1e-4)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("4 of 4 models, 0 failed, ")
    assert "models=4 failed=0 rmse_median=" in last
    assert not (root / "output" / "failure").exists()


def test_without_what_the_image_has_not(tmp_path: Path) -> None:
    """It trains where there is no pandas, joblib, tqdm or boto3, and to the same bytes."""
    (tmp_path / "sitecustomize.py").write_text(_BLOCKED)
    root = lay_out(tmp_path / "ml", {"h.csv": houses(CITIES[:1])})
    environ = {"MME_TRAIN_ROOT": str(root), "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    done = subprocess.run(
        [sys.executable, "-m", "mme", "train"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (expected,) = train_groups(houses(CITIES[:1]), "city", "PRICE", rounds=5, jobs=1)
    assert isinstance(expected, Trained)
    assert archives(root) == {CITIES[0]: expected.archive}


def test_hosts_share_what_all_have(train: Train, tmp_path: Path) -> None:
    """Where all hosts have all data, each group is trained by one of them, and none by two."""
    names = [f"g{number}" for number in range(8)]
    frame = houses(names, rows=12)
    roots = [lay_out(tmp_path / str(host), {"h.csv": frame}, host=host, hosts=2) for host in (1, 2)]
    assert [train(root) for root in roots] == [0, 0]
    one, two = (set(archives(root)) for root in roots)
    assert one | two == set(names)
    assert not one & two
    assert set(metrics(roots[0], 1).index) == one
    assert set(metrics(roots[1], 2).index) == two


def test_hosts_with_files_of_their_own(train: Train, tmp_path: Path) -> None:
    """Where files are sharded, a host trains all groups that it has; it may have none."""
    frame = houses(rows=12)
    one = lay_out(tmp_path / "1", {"h.csv": frame}, host=1, hosts=2, sharded=True)
    two = lay_out(tmp_path / "2", {}, host=2, hosts=2, sharded=True)
    assert [train(one), train(two)] == [0, 0]
    assert archives(one).keys() == set(CITIES)
    assert archives(two) == {}
    assert len(metrics(two, 2)) == 0


def test_checkpoints(train: Train, tmp_path: Path) -> None:
    """What is sound and of the same data is not trained again; what is damaged or of other is."""
    root = lay_out(tmp_path, {"h.csv": houses()})
    assert train(root) == 0
    before = archives(root)
    kept = root / "checkpoints"
    assert {path.name for path in kept.iterdir()} == {
        f"{city}{end}" for city in CITIES for end in (".tar.gz", ".json")
    }
    for city in CITIES:  # marks that a model trained anew has not
        about = json.loads((kept / f"{city}.json").read_text()) | {"seconds": 77.0}
        (kept / f"{city}.json").write_text(json.dumps(about))
    changed = houses()
    changed.loc[changed.city == CITIES[1], "PRICE"] *= 2
    lay_out(root, {"h.csv": changed})
    (kept / f"{CITIES[2]}.tar.gz").write_bytes(before[CITIES[2]][:-1])
    (kept / f"{CITIES[3]}.json").write_text("{")
    (root / "model" / f"{CITIES[0]}.tar.gz").unlink()
    assert train(root) == 0
    seconds = metrics(root).seconds
    assert [float(seconds[city]) == 77 for city in CITIES] == [True, False, False, False]
    after = archives(root)
    assert [after[city] == before[city] for city in CITIES] == [True, False, True, True]


def test_other_parameters_are_another_model(train: Train, tmp_path: Path) -> None:
    """A checkpoint of other parameters is none."""
    root = lay_out(tmp_path, {"h.csv": houses(CITIES[:1], rows=200)})
    assert train(root) == 0
    before = archives(root)
    lay_out(root, {}, max_depth="1")
    assert train(root) == 0
    assert archives(root) != before


def test_groups_that_fail(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A group that fails is the job's failure, by name; the others are there all the same."""
    frame = pd.concat([houses(), houses(("Few_TX",), rows=3)])
    root = lay_out(tmp_path, {"h.csv": frame})
    assert train(root) == 1
    reason = "3 rows; a model needs 10 at least"
    failure = (root / "output" / "failure").read_text()
    assert failure == f"1 of 5 groups failed: 'Few_TX': {reason}"
    assert f"mme train: 'Few_TX' failed: {reason}\n" in capsys.readouterr().err
    assert archives(root).keys() == set(CITIES)
    assert metrics(root).failed["Few_TX"] == reason
    (root / "output" / "failure").unlink()
    lay_out(root, {}, skip_failed="true")
    assert train(root) == 0
    assert not (root / "output" / "failure").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("city,PRICE,A\nx,1,2\nx,1\n", "h.csv: expected 3 fields in line 3, saw 2"),
        ("city,PRICE,A\nx,1,two\n", "'x': h.csv, line 2: A is 'two', no number"),
        ("city,PRICE,A\nx,1,1_000\n", "'x': h.csv, line 2: A is '1_000', no number"),
        ("city,PRICE,A\nx,1,2,\n", "h.csv: expected 3 fields in line 2, saw 4"),
        ("town,PRICE,A\nx,1,2\n", "h.csv has no column city; it has town, PRICE, A"),
        ("city,PRICE\nx,1\n", "h.csv has no features beside city and PRICE"),
        ("city,PRICE,A,A\nx,1,2,3\n", "h.csv has two columns of one name: city, PRICE, A, A"),
        ("city,PRICE,A\n", "channel train has no rows in 1 files"),
        ("city,PRICE,A\nx\xff,1,2\n", "h.csv cannot be read: "),
    ],
)
def test_bad_data(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    """Data that cannot be read is one line, in the log and in ``output/failure``."""
    root = lay_out(tmp_path, {"h.csv": text.encode("latin-1")})
    assert train(root) == 1
    failure = (root / "output" / "failure").read_text()
    assert message in failure
    assert capsys.readouterr().err.endswith(f"mme train: {failure}\n")


def test_a_bad_cell(train: Train, tmp_path: Path) -> None:
    """A cell that is no number fails its group, and no other one."""
    bad = houses(("Bad_TX",)).astype({"SQUARE_FEET": object})
    bad.loc[bad.index[7], "SQUARE_FEET"] = "large"
    root = lay_out(tmp_path, {"h.csv": pd.concat([bad, houses()])}, skip_failed="true")
    assert train(root) == 0
    assert archives(root).keys() == set(CITIES)
    assert metrics(root).failed["Bad_TX"] == "h.csv, line 9: SQUARE_FEET is 'large', no number"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("city,PRICE,A,C", "b.csv has other columns than the files before it: B, C"),
        ("city,PRICE,B,A", "b.csv has its columns in another order than the files before it"),
    ],
)
def test_files_that_differ(train: Train, tmp_path: Path, second: str, message: str) -> None:
    """Files of one channel have the same columns, in the same order: models take no names."""
    files = {"a.csv": b"city,PRICE,A,B\nx,1,2,3\n", "b.csv": f"{second}\nx,1,2,3\n".encode()}
    root = lay_out(tmp_path, files)
    assert train(root) == 1
    assert (root / "output" / "failure").read_text() == message


def test_hosts_that_saw_other_columns(train: Train, tmp_path: Path) -> None:
    """A host's table tells the order of the columns apart, so that somebody can compare."""
    frame = houses(CITIES[:1])
    orders = (frame, frame, frame[frame.columns[::-1]])
    words = []
    for number, one in enumerate(orders):
        root = lay_out(tmp_path / str(number), {"h.csv": one}, rounds="1")
        assert train(root) == 0
        words.append(str(metrics(root).features.iloc[0]))
    assert words[0] == words[1] != words[2]


def test_no_rows_for_all_hosts(train: Train, tmp_path: Path) -> None:
    """Where all hosts have all data, none of it is a failure, not a job without models."""
    root = lay_out(tmp_path, {"h.csv": b"city,PRICE,A\n"}, host=1, hosts=2)
    assert train(root) == 1
    assert "has no rows" in (root / "output" / "failure").read_text()


def test_a_bad_setting(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is no number is the job's failure, for the platform to show."""
    monkeypatch.setenv("MME_TRAIN_JOBS", "x")
    root = lay_out(tmp_path, {"h.csv": houses(CITIES[:1])})
    assert train(root) == 1
    assert "MME_TRAIN_JOBS is 'x'" in (root / "output" / "failure").read_text()


def test_damaged_gzip(train: Train, tmp_path: Path) -> None:
    """A compressed file that ends early is named."""
    packed = gzip.compress(houses().to_csv(index=False).encode())
    for data in (packed[:-20], packed[:40] + b"x" * 40 + packed[80:]):
        root = lay_out(tmp_path, {"h.csv.gz": data})
        assert train(root) == 1
        assert "h.csv.gz cannot be read: " in (root / "output" / "failure").read_text()


def test_stopped_while_reading(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SIGTERM in the midst of a file ends it there, and until then it says how far it is."""
    monkeypatch.setenv("MME_TRAIN_PROGRESS_SECONDS", "0")
    lines = [f"g{number},1,2\n" for number in range(20_000)]
    root = lay_out(tmp_path, {"h.csv": ("city,PRICE,A\n" + "".join(lines)).encode()})
    asked: list[str] = []

    def has(_: Share, group: str) -> bool:
        asked.append(group)
        if len(asked) == 5000:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        return True

    monkeypatch.setattr(Share, "has", has)
    assert train(root) == 143
    assert 5000 <= len(asked) < 10_000
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "stopped; what is done is kept"
    assert "4096 rows read, " in said[1]
    assert archives(root) == {}


def test_no_archive_stays_in_memory(train: Train, tmp_path: Path) -> None:
    """What has been written is forgotten: a host may train more than its memory holds."""
    root = lay_out(tmp_path, {"h.csv": houses()})
    assert train(root) == 0
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Trained)]


def test_what_a_killed_job_has_left(train: Train, tmp_path: Path) -> None:
    """Files that were on their way into the checkpoints are swept, since the platform keeps all."""
    root = lay_out(tmp_path, {"h.csv": houses(CITIES[:1])})
    (root / "checkpoints" / ".half").write_bytes(b"half")
    assert train(root) == 0
    assert len(list((root / "checkpoints").iterdir())) == 2


def test_no_container(tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments and without a platform, one line says what to give."""
    assert train(tmp_path / "none") == 1
    error = capsys.readouterr().err
    assert "mme train DATA --by COLUMN" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_stopped(tmp_path: Path) -> None:
    """SIGTERM to all of it, again and again, ends it within seconds and leaves no process.

    The next one trains only the rest.
    """
    names = [f"g{number:03}" for number in range(120)]
    root = lay_out(tmp_path, {"h.csv": houses(names, rows=30)}, rounds="100")
    environ = os.environ | {"MME_TRAIN_ROOT": str(root), "MME_TRAIN_JOBS": "2"}
    words = [sys.executable, "-m", "mme", "train"]
    process = subprocess.Popen(
        words, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: len(archives(root)) >= 20, SECONDS, "some archives")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    give_up = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < give_up:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.001)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 143
    assert said == "stopped; what is done is kept\n"
    wait_until(lambda: not alive([int(pid) for pid in children]), SOON_SECONDS, "no process left")
    done = archives(root)
    assert 20 <= len(done) < len(names)
    assert set(metrics(root).index) == done.keys()
    assert not (root / "output" / "failure").exists()
    kept = {path: path.stat().st_mtime_ns for path in (root / "checkpoints").glob("*.json")}
    again = subprocess.run(words, env=environ, capture_output=True, timeout=SECONDS, check=False)
    assert again.returncode == 0
    assert archives(root).keys() == set(names)
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


class Deadly(Group):
    """A group that ends the process which unpacks it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (1,)


def few(name: str, kind: type[Group] = Group, count: int = 20) -> tuple[Group, str]:
    """A group of some rows, and a word."""
    rows = np.arange(count, dtype=np.float32).reshape(count, 1)
    return kind(name, ("f",), "t", rows, np.arange(float(count)) % 77), name


def test_a_process_that_is_killed() -> None:
    """A group that kills its process fails; those that were in flight with it do not."""
    busy = few("busy", count=4000)
    groups = [few("a"), busy, few("b"), few("c"), few("deadly", Deadly), few("d"), few("e")]
    recipe = Recipe(rounds=500)  # so that the busy one is trained while the deadly one is unpacked
    before = multiprocessing.active_children()
    found = {word: one for one, word in train_all(iter(groups), recipe, 2, lambda: False)}
    trained = {name for name, one in found.items() if isinstance(one, Trained)}
    assert trained == {"a", "b", "busy", "c", "d", "e"}
    failed = found["deadly"]
    assert isinstance(failed, Failed)
    assert failed.reason.startswith("a training process was killed, most likely for want of memory")
    assert set(multiprocessing.active_children()) <= set(before)


def test_all_processes_are_killed() -> None:
    """Where nothing can be trained, that is an error that says what to do."""
    groups = iter([few("a", Deadly), few("b", Deadly)])
    before = multiprocessing.active_children()
    with pytest.raises(OrderError, match="a training process was killed"):
        list(train_all(groups, Recipe(), 1, lambda: False))
    assert set(multiprocessing.active_children()) <= set(before)
