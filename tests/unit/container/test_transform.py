"""What the container tells batch transform of how much it takes at once."""

import pytest

from container import resources, transform
from container.settings import Settings


@pytest.mark.parametrize(
    ("cpus", "environ", "at_once", "megabytes"),
    [
        (1, {}, 1, 25),
        (2, {}, 2, 25),
        (8, {}, 8, 12),  # 8 times 13 would be over the platform's 100
        (64, {}, 64, 1),
        (192, {"MME_SHARDS": "96"}, 100, 1),
        (4, {"MME_MAX_REQUEST_BYTES": str(6 * 1024 * 1024)}, 4, 6),
        (4, {"MME_MAX_REQUEST_BYTES": str(6 * 1024 * 1024 - 1)}, 4, 5),
        (4, {"MME_MAX_REQUEST_BYTES": "1000"}, 4, 1),
        (1, {"MME_MAX_REQUEST_BYTES": str(2**31 - 1)}, 1, 100),
        (8, {"MME_SHARDS": "1", "MME_LANES": "3"}, 3, 25),
        (8, {"MME_MODEL_QUEUE": "2"}, 2, 25),
        (8, {"MME_QUEUE": "1"}, 1, 25),
    ],
)
def test_parameters(cpus: int, environ: dict[str, str], at_once: int, megabytes: int) -> None:
    """A request for each CPU, as large as the container and the platform allow."""
    settings = Settings.from_environ(
        {"SAGEMAKER_MULTI_MODEL": "false", "MME_SHARDS": "8"} | environ
    )
    assert transform.parameters(settings, cpus) == {
        "MaxConcurrentTransforms": at_once,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": megabytes,
    }
    assert at_once * megabytes <= 100


def test_parameters_here() -> None:
    """Nobody needs to say how many CPUs there are."""
    settings = Settings.from_environ({"SAGEMAKER_MULTI_MODEL": "false"})
    assert transform.parameters(settings) == transform.parameters(settings, resources.cpus())
