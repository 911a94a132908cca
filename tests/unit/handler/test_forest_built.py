"""What is compiled at the installation was compiled, where there is a compiler."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

import container.heads
from handler import forest, frames

ROOT = Path(__file__).parent.parent.parent.parent
SOURCES = sorted(
    path for folder in ("container", "handler") for path in (ROOT / folder).rglob("*.c")
)
HEADERS = Path(sysconfig.get_path("include"))
CROSS = "aarch64-linux-gnu-gcc"


@pytest.mark.skipif(
    shutil.which("cc") is None or not (HEADERS / "Python.h").exists(), reason="no compiler here"
)
def test_built() -> None:
    """The forest, and both readers of what is plain."""
    assert forest.AVAILABLE
    assert frames.open_invocation.__module__ == "handler._frames"
    assert container.heads.read_reply.__module__ == "container._http"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
@pytest.mark.skipif(shutil.which(CROSS) is None, reason=f"no {CROSS} here")
def test_other_processor(source: Path, tmp_path: Path) -> None:
    """It compiles for aarch64, and nothing in it is contracted to other bits."""
    out = tmp_path / "out.s"
    flags = ["-O2", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    about = ["-DPy_LIMITED_API=0x030B0000", f"-I{HEADERS}"]
    subprocess.run([CROSS, *flags, *about, "-S", source, "-o", out], check=True, timeout=60)
    assert not {"fmadd", "fmsub", "fmla", "fmls"} & set(out.read_text().split())
