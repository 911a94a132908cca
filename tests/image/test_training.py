"""The image as SageMaker's training container: ``docker run IMAGE train`` on a laid-out folder."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mme.train import Trained, train_groups
from tests.image.support import BUILD_SECONDS, docker
from tests.support import wait_until
from tests.unit.mme.training.support import CITIES, archives, houses, lay_out, metrics

pytestmark = [pytest.mark.docker, pytest.mark.timeout(BUILD_SECONDS + 300)]
SECONDS = 120
# As a careful operator does: nothing but the platform's folder, and memory, is written.
CAREFUL = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none"),
    *("--security-opt", "no-new-privileges"),
)


@pytest.fixture
def name() -> Iterator[str]:
    """A container's name, removed at the end."""
    name = f"mme-test-{uuid.uuid4().hex[:8]}"
    yield name
    docker("rm", "--force", name)


def opened(root: Path) -> Path:
    """The folder, as one that the image's user can write to."""
    root.parent.chmod(0o755)
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    return root


def start(image: str, name: str, root: Path, *options: str) -> None:
    """Run it as SageMaker does, beside us."""
    mounted = ("--volume", f"{root}:/opt/ml")
    docker("run", "--detach", "--name", name, *CAREFUL, *mounted, *options, image, "train")


def said(name: str) -> str:
    """What it wrote, errors too."""
    words = ["docker", "logs", name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout + done.stderr


def ended(name: str) -> int:
    """Wait for its end; its status."""
    return int(docker("wait", name, seconds=SECONDS))


def test_trains(image: str, name: str, tmp_path: Path) -> None:
    """A model a group, from CSV alone, as user 65534: good models, and the same ones each time."""
    frame = houses(rows=200)
    root = opened(lay_out(tmp_path / "ml", {"h.csv": frame}, rounds="25"))
    start(image, name, root)
    assert ended(name) == 0, docker("logs", name)
    assert "4 of 4 models, 0 failed" in docker("logs", name)
    expected = {one.name: one for one in train_groups(frame, "city", "PRICE", jobs=1)}
    assert archives(root).keys() == set(CITIES)
    for city, row in metrics(root).iterrows():
        one = expected[str(city)]
        assert isinstance(one, Trained)
        assert row.rmse == pytest.approx(one.rmse, rel=1e-3)
    first = archives(root)
    for path in (root / "checkpoints").iterdir():
        path.unlink()
    docker("rm", name)
    start(image, name, root)
    assert ended(name) == 0
    assert archives(root) == first


def test_fails(image: str, name: str, tmp_path: Path) -> None:
    """A failure is status 1, and its reason is in ``output/failure``."""
    root = opened(lay_out(tmp_path / "ml", {"h.csv": houses(rows=3)}))
    start(image, name, root)
    assert ended(name) == 1
    failure = (root / "output" / "failure").read_text()
    assert failure.startswith("4 of 4 groups failed: 'Chicago_IL': 3 rows; a model needs 10")


def test_stops(image: str, name: str, tmp_path: Path) -> None:
    """``docker stop`` ends it within seconds, and what is done is kept."""
    names = [f"g{number:03}" for number in range(400)]
    root = opened(lay_out(tmp_path / "ml", {"h.csv": houses(names, rows=30)}, rounds="300"))
    start(image, name, root)
    wait_until(lambda: len(archives(root)) >= 5, SECONDS, "some archives")
    docker("stop", "--time", "20", name)
    state = json.loads(docker("inspect", name))[0]["State"]
    assert state["ExitCode"] == 143
    assert 5 <= len(archives(root)) < len(names)
    assert not (root / "output" / "failure").exists()


def test_a_folder_that_is_roots(image: str, name: str, tmp_path: Path) -> None:
    """Where only root may write, one line says so; as root it works."""
    root = opened(lay_out(tmp_path / "ml", {"h.csv": houses(CITIES[:1])}))
    for path in (root, root / "model", root / "output", root / "checkpoints"):
        path.chmod(0o755)
    start(image, name, root)
    assert ended(name) == 1
    assert "Permission denied for user 65534: build the image with --build-arg" in said(name)
    docker("rm", name)
    start(image, name, root, "--user", "0")
    assert ended(name) == 0
    assert archives(root).keys() == {CITIES[0]}
