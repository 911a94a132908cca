"""The notebook: it runs from the first cell to the last, and shows what it promises."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support import wait_until

ROOT = Path(__file__).parent.parent.parent
NOTEBOOK = ROOT / "notebooks" / "walkthrough.ipynb"
SECONDS = 900
END_SECONDS = 30
MOST_BYTES = 700_000
OFF_THE_PLAN = 6  # percent of all requests: hits that were planned and those that were measured
PICTURES = 3

pytestmark = pytest.mark.timeout(SECONDS + 2 * END_SECONDS)


def processes_of(home: Path) -> list[int]:
    """What was started with its temporary files in that directory, or below, and runs still."""
    mark, found = f"TMPDIR={home}".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory for all that the run writes; a short path, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="nb-") as name:
        yield Path(name)
        for pid in processes_of(Path(name)):  # of a run that has failed
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def executed(home: Path) -> Any:
    """A copy of the notebook, after its run."""
    copy = home / NOTEBOOK.name
    copy.write_bytes(NOTEBOOK.read_bytes())
    own = ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR")
    done = subprocess.run(
        [sys.executable, ROOT / "notebooks" / "execute.py", copy],
        cwd=home,
        env=os.environ | dict.fromkeys(own, str(home)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return nbformat.read(copy, as_version=4)


@pytest.fixture(params=[pytest.param("executed", marks=pytest.mark.notebook), "committed"])
def notebook(request: pytest.FixtureRequest) -> Any:
    """The notebook as it has just run, and as it is kept."""
    if request.param == "executed":
        return request.getfixturevalue("executed")
    return nbformat.read(NOTEBOOK, as_version=4)


def outputs(notebook: Any) -> list[Any]:
    """The outputs of all cells, in order."""
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def text(notebook: Any) -> str:
    """All that was printed, and all tables as text."""
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in outputs(notebook)
    )


def test_every_cell_ran(notebook: Any) -> None:
    """All code was executed once, in order, without an error or a warning."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = {(output.output_type, output.get("name")) for output in outputs(notebook)}
    assert kinds <= {("stream", "stdout"), ("execute_result", None), ("display_data", None)}


@pytest.mark.parametrize("city", ["Houston_TX", "Chicago_IL", "NewYork_NY"])
def test_predictions(notebook: Any, city: str) -> None:
    """A city's model says the same price cold and warm, also the one that came later."""
    line = rf"{city}\.tar\.gz +\[1994, 3188, 5, 1.5, 1.62, 3\]  \$(\d\d\d,\d\d\d\.\d\d) .* ms  "
    (cold,) = re.findall(line + "cold", text(notebook))
    assert set(re.findall(line + "warm", text(notebook))) == {cold}


def test_added_while_it_runs(notebook: Any) -> None:
    """New York came without a change of the endpoint."""
    assert "The endpoint was not changed." in text(notebook)


def test_load(notebook: Any) -> None:
    """All requests of the load and of the update were answered, and models came in."""
    said = text(notebook)
    assert len(re.findall(r"[\d,]+ requests .*none failed", said)) == 2
    (loaded,) = re.findall(r"models loaded, both instances: (\d+)", said)
    assert int(loaded) > 500
    ((before, after),) = re.findall(r"hit rate before: (\d+)%, at the end: (\d+)%", said)
    assert int(before) < int(after)


def test_plan(notebook: Any) -> None:
    """The hit rates that were measured are those that were planned, from few to all in memory."""
    (table,) = [
        output.data["text/plain"]
        for output in outputs(notebook)
        if "planned hit rate" in output.get("data", {}).get("text/plain", "")
    ]
    rows = [tuple(map(float, row)) for row in re.findall(3 * r" +([\d.]+)%", table)]
    assert len(rows) == 5
    assert [fit for fit, _, _ in rows] == sorted(fit for fit, _, _ in rows)
    assert rows[0][0] < 30
    assert rows[-1] == pytest.approx((100, 100, 100), abs=1)
    for _, measured, planned in rows:
        assert measured == pytest.approx(planned, abs=OFF_THE_PLAN)


def test_pictures(notebook: Any) -> None:
    """The charts are in it."""
    pictures = [one for one in outputs(notebook) if "image/png" in one.get("data", {})]
    assert len(pictures) == PICTURES


def test_cost_table(notebook: Any) -> None:
    """The sums are those of the story, and ours is below them."""
    assert re.findall(r"\$[\d,]+$", text(notebook), re.MULTILINE) == ["$171,360", "$1,017", "$171"]


def test_scaling_and_clean_up(notebook: Any) -> None:
    """The policy is read back, and at the end nothing is left in the account."""
    said = text(notebook)
    assert "TargetTrackingScaling of endpoint/house-prices/variant/AllTraffic" in said
    for line in ("endpoints left: 0", "objects left: 0", "mme local has stopped"):
        assert line in said


@pytest.mark.notebook
@pytest.mark.usefixtures("executed")
def test_nothing_is_left(home: Path) -> None:
    """No process and no file of the run is left on the machine."""
    wait_until(lambda: not processes_of(home), END_SECONDS, "all processes ended")
    assert not list(home.glob("mme-*"))


def test_committed_is_clean() -> None:
    """The committed notebook is small, and says nothing of the machine that it ran on."""
    kept = NOTEBOOK.read_text()
    assert len(kept) < MOST_BYTES
    shown = str(
        [
            {**output, "data": {**output.get("data", {}), "image/png": ""}}
            for output in outputs(nbformat.reads(kept, as_version=4))
        ]
    )
    assert not re.search(r"/(tmp|root|home|work|Users)/|127\.0\.0\.1|localhost", shown)
