"""The forest's C with every step watched: nothing in it goes where it should not."""

import copy
import functools
import operator
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import building
from tests.support import saved, train
from tests.unit.handler import forests, mutants

ROOT = building.ROOT
MUTANTS = 40  # of each small model
SMALL = 5000  # bytes


@pytest.fixture(scope="module", params=building.SOURCES)
def target(request: pytest.FixtureRequest) -> str:
    """What is tried."""
    return str(request.param)


@pytest.fixture(scope="module")
def program(target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that tries it, if it can be built here."""
    try:
        return building.build(target, tmp_path_factory.mktemp("program"), "gcc")
    except building.BuildError as error:
        pytest.skip(str(error)[-200:])


def tried(program: Path, files: list[Path]) -> None:
    """Have the program try files, and see it end well."""
    watched = {
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0",
        "UBSAN_OPTIONS": "halt_on_error=1",
    }
    done = subprocess.run(
        [str(program), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | watched,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == f"{len(files)} files\n"


def test_seeds(target: str, program: Path, tmp_path: Path) -> None:
    """The corpus, and what a fuzzer found that reaches more."""
    kept = list((building.KEPT / target).iterdir())
    assert len(kept) > 10
    assert sum(path.stat().st_size for path in kept) < 200 * 1024
    files = building.lay_seeds(target, tmp_path / "seeds")
    assert len(files) > len(kept) + 10
    tried(program, files)


def test_damaged(target: str, program: Path, tmp_path: Path) -> None:
    """What small ones become when they are damaged: the same each time."""
    small = building.lay_seeds(target, tmp_path / "seeds", SMALL)
    made = []
    for number, path in enumerate(small):
        data = path.read_bytes()
        for seed in range(MUTANTS if data else 0):
            made.append(tmp_path / f"{number}-{seed}")
            made[-1].write_bytes(flipped(data, seed))
    tried(program, made)


PARTS = (
    *("learner", "gradient_booster", "gbtree", "model", "trees", "tree_info", "objective"),
    *("gbtree_model_param", "learner_model_param", "softmax_multiclass_param", "feature_names"),
)


@pytest.mark.parametrize("target", ["model"], scope="module")
def test_grafted(program: Path, tmp_path: Path) -> None:
    """Each part of a model once more, at each place where the reader knows such a name."""
    sound = forests.document_of(saved(train(max_depth=1, num_parallel_tree=4)))
    del forests.inner(sound)["trees"][32:]  # for as many there is room at first
    parts = list(parts_of(sound))
    hosts = [path for path, part in parts if isinstance(part, dict)]
    made = []
    for host in hosts:
        for name in PARTS:
            for _, part in parts:
                grafted = copy.deepcopy(sound)
                functools.reduce(operator.getitem, host, grafted)[name] = part
                made.append(tmp_path / f"{len(made)}")
                made[-1].write_bytes(forests.written(grafted, "ubj"))
    assert len(made) > 500
    tried(program, made)


def parts_of(
    document: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All that is in a document, but for what is in the trees."""
    yield path, document
    for name, part in document.items():
        if isinstance(part, dict):
            yield from parts_of(part, (*path, name))
        elif isinstance(part, list):
            yield (*path, name), part


def flipped(data: bytes, seed: int) -> bytes:
    """Some bytes are others, or the end is missing."""
    random = mutants.Random(seed)
    other = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 5])):
        other[random.randrange(len(data))] = random.choice(
            [0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x2C, 0x39]
        )
    return bytes(other[: random.choice([len(other), len(other), random.randrange(len(other) + 1)])])
