"""What the unit tests of the deployment share."""

from typing import Any

import pytest

from mme.deploy.config import Config
from mme.deploy.names import Account, Names

WHERE = Account("aws", "eu-west-1", "123456789012")
URI = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/xgboost-mme:1"
LEAST: dict[str, Any] = {
    "name": "prices",
    "models": "models",
    "instance_type": "ml.m5.large",
    "instance_count": 2,
    "image": URI,
}
MOST: dict[str, Any] = {
    **LEAST,
    "image": "xgboost-mme",
    "cache": False,
    "volume_gb": 100,
    "kms_key": "arn:aws:kms:eu-west-1:123456789012:key/1234",
    "environment": {"MME_LANES": "8", "ODD": "${x} %{y}"},
    "tags": {"team": "pricing"},
    "autoscaling": {"min": 2, "max": 4, "invocations_per_instance": 1000},
    "alarms": {
        "errors_per_minute": 5,
        "latency_ms": 100,
        "memory_percent": 90,
        "notify": "arn:aws:sns:eu-west-1:123456789012:alerts",
    },
    "update": {"strategy": "canary", "step_percent": 25},
    "vpc": {"subnets": ["subnet-12345678"], "security_groups": ["sg-12345678"]},
}


def names(**changes: Any) -> Names:
    """The names for the smallest configuration, with changes."""
    return Names(WHERE, Config.from_document(LEAST | changes))


@pytest.fixture(
    params=[LEAST, MOST, {**LEAST, "models": "s3://theirs/models/"}],
    ids=["least", "most", "prefix"],
)
def any_names(request: pytest.FixtureRequest) -> Names:
    """Those for a configuration: the smallest, the largest, and over a prefix that is there."""
    return Names(WHERE, Config.from_document(request.param))
