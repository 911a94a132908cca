"""The documents: their commands run, their figures and tables are what the code says."""

import importlib.util
import itertools
import json
import os
import re
import shlex
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
GENERATED = ("03-settings.md", "08-faults.md", "11-level-of-support.md")
MOST_LINES = 130  # of a page that somebody writes: two screens


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


def scripts(page: Path) -> list[tuple[str, str]]:
    """What runs of a page: all its sections together; and each that needs Docker, after those."""
    found, before = [], ""
    for heading, commands in sections(page):
        if "docker " in commands:
            found.append((heading, before + commands))
        elif not verbs_only(commands):
            before += f"echo {shlex.quote(heading)} >&2\n{commands}"
    return [("all", before), *found] if before else found


SCRIPTS = [
    pytest.param(
        script,
        marks=[pytest.mark.docker] if "docker " in script else [],
        id=f"{page.name}: {title}",
    )
    for page in PAGES
    for title, script in scripts(page)
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project for the commands to leave files in."""
    copy = tmp_path_factory.mktemp("checkout") / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*cache", ".venv*", ".git", "build"))
    return copy


@pytest.mark.timeout(2 * SECONDS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_commands(script: str, checkout: Path) -> None:
    """The page's commands run, one after another."""
    port = free_port()
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


@pytest.mark.parametrize("page", GENERATED)
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


def prose(page: Path) -> list[str]:
    """The lines of a page that are not in a block of code."""
    lines, code = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            code = not code
        elif not code:
            lines.append(line)
    return lines


def anchors(page: Path) -> set[str]:
    """What ``#`` may name in a page, by GitHub's rule for headings."""
    found: set[str] = set()
    for line in prose(page):
        heading = re.fullmatch(r"#{1,6} +(.*?)( +#+)?", line)
        if heading is None:
            continue
        shown = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
        base = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        names = itertools.chain([base], (f"{base}-{number}" for number in itertools.count(1)))
        found.add(next(name for name in names if name not in found))
    return found


def test_anchors(tmp_path: Path) -> None:
    """GitHub's rule: lower case, no punctuation, a dash a blank, a number for a second one."""
    page = tmp_path / "page.md"
    page.write_text(
        "# 1. How it works\n## `mme local`, *here*\n## The container's [log](x.md)\n"
        "## Again\n## Again\n```sh\n# no heading\n```\n#none\n"
    )
    names = {"1-how-it-works", "mme-local-here", "the-containers-log", "again", "again-1"}
    assert anchors(page) == names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Every link to a file of the project leads to one, and to a heading that is there."""
    for target in re.findall(r"\]\(([^)\s:]+)\)", "\n".join(prose(page))):
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_length(page: Path) -> None:
    """A page that somebody writes has two screens at most; tables that are measured are beside."""
    text = re.sub(r"<!-- table: .*?<!-- /table -->", "", page.read_text(), flags=re.DOTALL)
    if page.name not in GENERATED:
        assert text.count("\n") <= MOST_LINES


def test_index() -> None:
    """The index of docs/ has every page, in order, under the page's own number."""
    linked = re.findall(r"\]\((\d[\w-]+\.md)\)", (ROOT / "docs" / "README.md").read_text())
    pages = [page.name for page in PAGES[1:] if page.name != "README.md"]
    assert linked == pages
    for page in PAGES[1:]:
        number = page.name.partition("-")[0].lstrip("0")
        if number.isdigit():
            assert page.read_text().startswith(f"# {number}. "), page.name


def test_measured_tables() -> None:
    """The tables in README.md and benchmarks/ are what the benchmark's results say."""
    results = json.loads(data.PATH.read_text())
    for page, make in report.TABLES.items():
        assert report.with_table(page.read_text(), make(results)) == page.read_text()
