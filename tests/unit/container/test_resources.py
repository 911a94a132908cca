"""What the limits of a control group leave us, in both versions of their files."""

import os
from pathlib import Path

import pytest

from container import mms, resources
from container.settings import Settings

MIB = 1024**2
BOUND = len(os.sched_getaffinity(0))


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, BOUND),
        ({"cpu.max": "max 100000"}, BOUND),
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "110000 100000"}, min(2, BOUND)),
        ({"cpu.max": "99900000 100000"}, BOUND),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, BOUND),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_cpus(files: dict[str, str], cpus: int, tmp_path: Path) -> None:
    """A quota counts where it is below the CPUs that we are bound to, rounded up."""
    assert resources.cpus(written(tmp_path, files)) == cpus


@pytest.mark.parametrize(
    ("files", "limited"),
    [
        ({}, None),
        ({"memory.max": "max"}, None),
        ({"memory.max": str(512 * MIB)}, 512 * MIB),
        ({"memory/memory.limit_in_bytes": str(512 * MIB)}, 512 * MIB),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096)}, None),
    ],
)
def test_memory(files: dict[str, str], limited: int | None, tmp_path: Path) -> None:
    """A limit counts where it is below the machine's memory."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert resources.memory_bytes(written(tmp_path, files)) == (limited or machine)


@pytest.mark.parametrize(
    ("memory", "heap"), [(512 * MIB, 128), (2048 * MIB, 256), (8192 * MIB, 1024), (2**40, 1024)]
)
def test_heap(memory: int, heap: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Java's heap is an eighth of the memory, within bounds."""
    monkeypatch.setattr(resources, "memory_bytes", lambda: memory)
    assert f"-Xmx{heap * MIB}" in mms.command(Settings.from_environ({}), tmp_path)
