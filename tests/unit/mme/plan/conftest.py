"""What tests of plans share."""

from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a plan's file."""

    def write(text: str) -> Path:
        file = tmp_path / "plan.toml"
        file.write_text(text)
        return file

    return write
