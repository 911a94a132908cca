"""The house: who may import whom, and how large a room may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import container.faults
import handler.errors

ROOT = Path(__file__).parent.parent.parent
FORBIDDEN = {
    "container": {"handler", "mme", "numpy", "xgboost", "pandas", "boto3", "sagemaker_inference"},
    "handler": {"container", "mme", "boto3"},
}
MODULES = sorted(
    path for folder in ("container", "handler", "mme") for path in (ROOT / folder).rglob("*.py")
)
SOURCES = sorted(
    path for folder in ("container", "handler") for path in (ROOT / folder).rglob("*.[ch]")
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path: Path) -> None:
    """A module imports nothing that its folder must not know."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(str(node.module).partition(".")[0])
    assert not names & FORBIDDEN.get(path.relative_to(ROOT).parts[0], set())


@pytest.mark.parametrize("path", MODULES + SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_size(path: Path) -> None:
    """A file is one actor: past 400 lines it is two."""
    assert len(path.read_text().splitlines()) <= 400


def test_serving_starts_light() -> None:
    """``mme serve`` starts without the libraries that only models need."""
    heavy = "{'numpy', 'xgboost', 'pandas', 'joblib', 'boto3'}"
    code = f"import sys, mme.cli, mme.serve, container.gate; print({heavy} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "set()\n"


def test_faults_agree() -> None:
    """Where both sides have a fault of one type, it has one status, and each type is one fault."""
    mine = {fault.type: fault.status for fault in container.faults.Fault}
    theirs = {fault.type: fault.status for fault in handler.errors.Fault}
    assert len(mine) == len(container.faults.Fault)
    assert len(theirs) == len(handler.errors.Fault)
    assert all(mine[name] == theirs[name] for name in mine.keys() & theirs.keys())
