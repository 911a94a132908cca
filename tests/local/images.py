"""The image beside ours that ``mme local`` is tested with: somebody else's."""

from pathlib import Path

from tests.image.support import BUILD_SECONDS, IMAGE, docker

STOCK_MMS = "mme-test-stock-mms"
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


def build_stock_mms() -> str:
    """Build an unmodified Multi Model Server with a handler of its own, from ours."""
    folder = str(Path(__file__).parent / "stock_mms")
    options = ("--network", "host", "--build-arg", f"BASE={IMAGE}", "-t", STOCK_MMS)
    docker("build", *options, folder, seconds=BUILD_SECONDS)
    return STOCK_MMS
