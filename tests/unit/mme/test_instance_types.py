"""What instance types have."""

import botocore.session
import pytest

from mme.instance_types import GIB, shape


@pytest.mark.parametrize(
    ("instance_type", "cpus", "gib"),
    [
        ("ml.t2.medium", 2, 4),
        ("ml.c5.large", 2, 4),
        ("ml.c4.large", 2, 3.75),
        ("ml.m4.xlarge", 4, 16),
        ("ml.m5.12xlarge", 48, 192),
        ("ml.r5.2xlarge", 8, 64),
        ("ml.c6gd.16xlarge", 64, 128),
        ("ml.r8g.medium", 1, 8),
    ],
)
def test_shape(instance_type: str, cpus: int, gib: float) -> None:
    """CPUs and memory are those that AWS names."""
    assert shape(instance_type) == (cpus, gib * GIB)


def test_all_types() -> None:
    """Every type that the API knows has a shape."""
    model = botocore.session.get_session().get_service_model("sagemaker")
    for instance_type in model.shape_for("ProductionVariantInstanceType").enum:
        cpus, memory = shape(instance_type)
        assert cpus >= 1
        assert memory >= 2 * GIB


def test_none() -> None:
    """What is no instance type is refused by its name."""
    with pytest.raises(ValueError, match="'large' is no instance type"):
        shape("large")
