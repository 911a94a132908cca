"""The fixtures of the control plane's tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.mme.local.plane import Plane


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    """A control plane, not started."""
    return Plane(tmp_path)


@pytest.fixture
def sagemaker(plane: Plane) -> Iterator[Any]:
    """boto3's client for it."""
    with plane.client() as client:
        yield client
