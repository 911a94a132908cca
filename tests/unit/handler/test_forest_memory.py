"""What reads and drops models for ever does not grow."""

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handler import forest
from tests.unit.handler import forests, mutants
from tests.unit.handler.test_structure import CORPUS, MODELS

ROUNDS = 300
MOST_BYTES, MOST_BLOCKS = 16 * 1024, 200  # that may come and go in between


class _Mallinfo(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks"),
            *("fordblks", "keepcost"),
        )
    ]


def used() -> tuple[int, int]:
    """Bytes that the process has of ``malloc``, and blocks that Python has of its own."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    gc.collect()
    now = mallinfo()
    return now.uordblks + now.hblkhd, sys.getallocatedblocks()


def grows(work: Callable[[], None]) -> tuple[int, int]:
    """By how much memory becomes more while something is done many times."""
    for _ in range(20):
        work()
    before = used()
    for _ in range(ROUNDS):
        work()
    after = used()
    return after[0] - before[0], after[1] - before[1]


pytestmark = [
    forests.BUILT,
    pytest.mark.skipif(
        not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this C library does not say"
    ),
]
GOOD = [
    forests.of_bytes((CORPUS / "artifacts" / file).read_bytes())
    for file in (*MODELS.values(), "1.7.6/early.ubj", "3.1.2/early.json")
]


@pytest.mark.parametrize("grown", GOOD, ids=[*MODELS, "ubj", "json"])
def test_good(grown: forests.Grown) -> None:
    """Models that are read, asked in every way, noted upon and dropped."""
    rows = np.zeros((70, grown.traits.features), np.float32)
    text = b"\n".join([b",".join([b"1.5"] * grown.traits.features)] * 9)

    def work() -> None:
        for data in (grown.data, grown.data[:]):
            found = forest.grow(data, grown.traits)
            if found is None:
                continue
            found.note = [object()]
            trees = forest.Trees(found)
            for kind in forest.KINDS:
                trees.predict(rows, kind)
            assert found.answer(text, -1) is not None
            assert found.answer(b"0:1 1:2", 0) is not None or grown.traits.features < 2
            assert found.answer(text + b",", -1) is None
            assert found.answer(b"0:x", 0) is None
            with pytest.raises(ValueError, match="width"):
                found.predict(b"12345", False)
            with pytest.raises(TypeError):
                found.answer(text)  # type: ignore[call-arg]  # wrong on purpose
            with pytest.raises(TypeError):
                found.answer("1,2", -1)  # type: ignore[arg-type]  # likewise
            found.note = None

    more, blocks = grows(work)
    assert more < MOST_BYTES
    assert blocks < MOST_BLOCKS


@pytest.mark.parametrize("name", MODELS)
def test_refused(name: str) -> None:
    """Models that are refused, wherever in them what is wrong is."""
    data = forests.of_bytes((CORPUS / "artifacts" / MODELS[name]).read_bytes()).data
    bad = [mutants.mutant(data, seed)[1] for seed in range(60)]
    bad += [data[: len(data) * part // 20] for part in range(20)]
    bad += [path.read_bytes() for path in sorted(Path(CORPUS / "damaged").glob("*.ubj"))]

    def work() -> None:
        for one in bad[work_at[0] % 5 :: 5]:
            forest._read(one, 3, 4, 0, float("nan"))
        work_at[0] += 1
        with pytest.raises(TypeError):
            forest._read(data, 3)  # type: ignore[call-arg]  # wrong on purpose

    work_at = [0]
    more, blocks = grows(work)
    assert more < MOST_BYTES
    assert blocks < MOST_BLOCKS
