"""The JVM's cache is one that this Java takes for this call."""

import subprocess
from pathlib import Path

import pytest

from container import mms
from container.settings import Settings


@pytest.mark.parametrize("usable", [True, False])
def test_cache(usable: bool, tmp_path: Path) -> None:
    """Made to use the cache or fail, Java starts with it, and does not with another class path."""
    command = mms.command(Settings.from_environ({}), tmp_path)
    main = command.index("com.amazonaws.ml.mms.ModelServer")
    options = command[1:main]
    if not usable:
        options[-1] = str(tmp_path)
    java = [command[0], "-XX:AOTMode=on", *options, "-version"]
    done = subprocess.run(java, capture_output=True, timeout=60, check=False)
    assert (done.returncode == 0) is usable, done.stderr
