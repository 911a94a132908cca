"""Writes docs/03-settings.md from the settings of both sides; a test compares the two."""

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from container.settings import Settings as Container
from handler.settings import Settings as Handler

PAGE = Path(__file__).with_name("03-settings.md")
HEAD = """# 3. Settings

Environment variables of the container. On SageMaker they are `Environment` of `create_model`, but
for those that the platform sets itself (`SAGEMAKER_BIND_TO_PORT`, `SAGEMAKER_MULTI_MODEL`,
`SAGEMAKER_SAFE_PORT_RANGE`). A value that makes no sense ends the start with one line that says so.

This page is made from `container/settings.py` and `handler/settings.py` by `make docs`.

| variable | default | meaning |
|---|---|---|
"""
DEFAULTS = {"shards": "one for two CPUs", "safe_port_range": "none"}


def page() -> str:
    """The page's text."""
    rows = [_row(setting) for side in (Container, Handler) for setting in fields(side)]
    return HEAD + "".join(rows)


def _row(setting: "Field[Any]") -> str:
    value = str(setting.default)
    if isinstance(setting.default, bool):
        value = value.lower()
    default = DEFAULTS.get(setting.name, f"`{value}`")
    return f"| `{setting.metadata['variable']}` | {default} | {setting.metadata['help']} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
