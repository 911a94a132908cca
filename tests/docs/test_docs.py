"""The documents: their commands run, their figures and tables are what the code says."""

import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import data, report
from mme.process import free_port

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SECONDS = 300


def sections(page: Path) -> list[tuple[str, str]]:
    """The page's headings that have shell blocks, each with its blocks as one script."""
    scripts: dict[str, str] = {}
    heading, language = "", None
    for line in page.read_text().splitlines(keepends=True):
        if line.startswith("```"):
            language = line[3:].strip() if language is None else None
        elif language is None and line.startswith("#"):
            heading = line.strip("# \n")
        elif language == "sh":
            scripts[heading] = scripts.get(heading, "") + line
    return list(scripts.items())


def verbs_only(script: str) -> bool:
    """Whether a script only calls verbs of the Makefile, which CI runs as they are."""
    return all(line.startswith("make ") for line in script.splitlines() if line)


SCRIPTS = [
    pytest.param(
        page,
        title,
        marks=[pytest.mark.docker] if "docker " in script else [],
        id=f"{page.name}: {title}",
    )
    for page in PAGES
    for title, script in sections(page)
    if not verbs_only(script)
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project for the commands to leave files in."""
    copy = tmp_path_factory.mktemp("checkout") / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*cache", ".venv*", ".git", "build"))
    return copy


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize(("page", "title"), SCRIPTS)
def test_commands(page: Path, title: str, checkout: Path) -> None:
    """The section's commands run, one after another, after those of the sections before it."""
    port = free_port()
    script = ""
    for heading, commands in sections(page):
        if heading == title or ("docker " not in commands and not verbs_only(commands)):
            script += commands
        if heading == title:
            break
    for written, meant in {
        "8080:8080": f"127.0.0.1:{port}:8080",
        "localhost:8080": f"localhost:{port}",
        "localhost:4599": f"localhost:{port}",
        "--name mme ": f"--name mme-{port} ",
        "docker stop mme\n": f"docker stop mme-{port}\n",
        "docker rm mme\n": f"docker rm mme-{port}\n",
    }.items():
        script = script.replace(written, meant)
    for made in ("root", ".mme-local"):
        shutil.rmtree(checkout / made, ignore_errors=True)
    try:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=checkout,
            env=os.environ
            | {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "SAGEMAKER_BIND_TO_PORT": str(port),
                "MME_LOCAL_PORT": str(port),
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        if "docker " in script:
            subprocess.run(
                ["docker", "rm", "--force", f"mme-{port}"], capture_output=True, check=True
            )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


def test_verbs() -> None:
    """Every make verb that a page names exists, and CI runs the two that do everything."""
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        for _, script in sections(page):
            for verb in re.findall(r"^make ([a-z]+)", script, flags=re.MULTILINE):
                assert verb in known, f"{page.name}: make {verb}"
    ci = (ROOT / ".ci" / "run").read_text()
    assert "make demo" in ci
    assert "make test" in ci


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The program that writes pages."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["03-settings.md", "08-faults.md", "11-level-of-support.md"])
def test_generated_page(page: str, generate: ModuleType) -> None:
    """The page is what `make docs` writes."""
    assert (ROOT / "docs" / page).read_text() == generate.PAGES[page]()


def test_every_fault_has_a_test(generate: ModuleType) -> None:
    """The faults are numbered without a gap, and each test of one says what is answered."""
    found = generate.faults()
    numbers = {number for fault in found for number in fault.numbers}
    assert numbers == set(range(1, generate.LAST + 1))
    assert all(len(fault.what) > 20 for fault in found)


def test_settings_are_complete() -> None:
    """Every MME_ variable that the code reads is on the settings page."""
    page = (ROOT / "docs" / "03-settings.md").read_text()
    for folder in ("container", "handler", "mme"):
        for module in (ROOT / folder).rglob("*.py"):
            for variable in re.findall(r'"(MME_[A-Z_]+)"', module.read_text()):
                assert f"`{variable}`" in page


def test_dependencies_page() -> None:
    """Every dependency of pyproject.toml is on its page, with a reason."""
    page = (ROOT / "docs" / "02-dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for requirement in itertools.chain(project["dependencies"], *extras):
        name = re.match(r"[a-z0-9-]+", requirement)
        assert name is not None
        if name[0] != project["name"]:
            assert f"`{name[0]}`" in page


def test_links() -> None:
    """Every link to a file of the project leads to one."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_measured_tables() -> None:
    """The tables in README.md and benchmarks/ are what the benchmark's results say."""
    results = json.loads(data.PATH.read_text())
    for page, make in report.TABLES.items():
        assert report.with_table(page.read_text(), make(results)) == page.read_text()
