"""Writes the pages of docs/ that are made from the code; a test compares them.

03-settings.md is made from the settings of both sides, 08-faults.md from the tests of the faults.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NamedTuple

from container.settings import Settings as Container
from handler.settings import Settings as Handler
from mme.local.settings import Settings as Local

DOCS = Path(__file__).parent
TESTS = [DOCS.parent / "tests" / folder for folder in ("faults", "image")]
DEFAULTS = {"shards": "one for two CPUs", "safe_port_range": "none"}
SETTINGS_HEAD = """# 3. Settings

Environment variables of the container. On SageMaker they are `Environment` of `create_model`, but
for those that the platform sets itself (`SAGEMAKER_BIND_TO_PORT`, `SAGEMAKER_MULTI_MODEL`,
`SAGEMAKER_SAFE_PORT_RANGE`). A value that makes no sense ends the start with one line that says so.

This page is made from `container/settings.py` and `handler/settings.py` by `make docs`.

| variable | default | meaning |
|---|---|---|
"""
LOCAL_HEAD = """
## `mme local`

The limits of the [local endpoint](10-local.md). They are the platform's unless somebody wants to
see what happens at one without waiting for it. These are variables of `mme local` itself, not of
the containers that it starts, and the table is made from `mme/local/settings.py`.

| variable | default | meaning |
|---|---|---|
"""
FAULTS_HEAD = """# 8. Faults

What can go wrong, and what is answered then: each row is a test that does it to the real container,
with real processes and signals, and looks at the answer, at a bystander model, at `/ping`, and at
what is left afterwards. This page is made from those tests by `make docs`.

An error's body is `{"code", "type", "message"}`. 4xx is the client's or the caller's mistake; 500
a fault of the model or its file; 503 with `Retry-After` passes: overload, restarting, draining; 507
is memory, so that the platform unloads other models and tries again.

`make soak` does it all at once for ten minutes: traffic over 500 models with loads and evictions
while processes are killed at random.
"""
FAULTS_TABLE = "| id | what happens: what is answered | test |\n|---|---|---|\n"
PARTS = {1: "Loading", 45: "Invoking", 74: "Processes and the machine", 94: "Attacks"}
LAST = 103


class Fault(NamedTuple):
    """One test of a fault."""

    numbers: list[int]
    what: str
    test: str


def settings_page() -> str:
    """The text of 03-settings.md."""
    rows = [_row(setting) for side in (Container, Handler) for setting in fields(side)]
    local = [_row(setting) for setting in fields(Local)]
    return SETTINGS_HEAD + "".join(rows) + LOCAL_HEAD + "".join(local)


def _row(setting: "Field[Any]") -> str:
    value = str(setting.default)
    if isinstance(setting.default, bool):
        value = value.lower()
    default = DEFAULTS.get(setting.name, f"`{value}`")
    return f"| `{setting.metadata['variable']}` | {default} | {setting.metadata['help']} |\n"


def faults() -> list[Fault]:
    """Every test whose name begins with the id of a fault."""
    return sorted(fault for folder in TESTS for fault in _of_folder(folder))


def _of_folder(folder: Path) -> Iterator[Fault]:
    for module in folder.glob("test_*.py"):
        for node in ast.parse(module.read_text()).body:
            name = getattr(node, "name", "")
            if isinstance(node, ast.FunctionDef) and (ids := re.match(r"test((_f\d+)+)_", name)):
                numbers = [int(number) for number in re.findall(r"\d+", ids[1])]
                summary = (ast.get_docstring(node) or "").partition("\n\n")[0]
                yield Fault(numbers, " ".join(summary.split()), f"{folder.name}/{module.name}")


def faults_page() -> str:
    """The text of 08-faults.md."""
    page = FAULTS_HEAD
    for first, beyond in itertools.pairwise([*PARTS, LAST + 1]):
        page += f"\n## {PARTS[first]}\n\n{FAULTS_TABLE}"
        for fault in faults():
            if first <= fault.numbers[0] < beyond:
                ids = ", ".join(f"F{number:02}" for number in fault.numbers)
                page += f"| {ids} | {fault.what.replace('|', '/')} | `{fault.test}` |\n"
    return page


PAGES = {"03-settings.md": settings_page, "08-faults.md": faults_page}

if __name__ == "__main__":
    for name, text in PAGES.items():
        (DOCS / name).write_text(text())
