"""The images that ``mme local`` is tested with: ours, and somebody else's."""

import subprocess
from pathlib import Path

from tests.image.support import BUILD_SECONDS, IMAGE, ROOT, docker

STOCK_MMS = "mme-test-stock-mms"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


def build_ours() -> str:
    """Build this project's image."""
    subprocess.run(["make", "image", f"IMAGE={IMAGE}"], cwd=ROOT, check=True, timeout=BUILD_SECONDS)
    return IMAGE


def build_stock_mms() -> str:
    """Build an unmodified Multi Model Server with a handler of its own, from ours."""
    folder = str(Path(__file__).parent / "stock_mms")
    options = ("--network", "host", "--build-arg", f"BASE={IMAGE}", "-t", STOCK_MMS)
    docker("build", *options, folder, seconds=BUILD_SECONDS)
    return STOCK_MMS
