"""What the tests of the image share."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
IMAGE = "xgboost-mme"
BUILD_SECONDS = 900
START_SECONDS = 60


def build() -> str:
    """Build the image from this checkout, as ``make image`` does; its name."""
    subprocess.run(["make", "image", f"IMAGE={IMAGE}"], cwd=ROOT, check=True, timeout=BUILD_SECONDS)
    return IMAGE


def docker(*words: str, seconds: float = 60) -> str:
    """Run one docker command and return what it printed."""
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
