"""The settings: what the environment may say."""

from pathlib import Path

import pytest

from container.settings import Settings, SettingsError


def test_defaults() -> None:
    """An empty environment gives the documented defaults, and a shard a CPU."""
    settings = Settings.from_environ({})
    assert (settings.port, settings.multi_model) == (8080, True)
    assert settings.model_root == Path("/opt/ml/models")
    assert settings.shards >= 1


def test_single_model_root() -> None:
    """An endpoint that is not multi-model has its model where SageMaker puts it."""
    settings = Settings.from_environ({"SAGEMAKER_MULTI_MODEL": "false"})
    assert settings.model_root == Path("/opt/ml/model")


def test_values() -> None:
    """Each kind of value is read, blanks around it apart."""
    settings = Settings.from_environ(
        {
            "SAGEMAKER_BIND_TO_PORT": " 55555 ",
            "SAGEMAKER_SAFE_PORT_RANGE": "25000-25999",
            "MME_MODEL_ROOT": "/models",
            "MME_SHARDS": "3",
        }
    )
    assert (settings.port, settings.shards) == (55555, 3)
    assert settings.safe_port_range == range(25000, 26000)
    assert settings.model_root == Path("/models")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "0"),
        ("SAGEMAKER_BIND_TO_PORT", "65536"),
        ("SAGEMAKER_BIND_TO_PORT", "80a"),
        ("SAGEMAKER_BIND_TO_PORT", "²"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "25999-25000"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "25000-"),
        ("SAGEMAKER_MULTI_MODEL", "yes"),
        ("MME_LANES", "0"),
        ("MME_LANES", "1025"),
        ("MME_MAX_REQUEST_BYTES", "99999999999"),
    ],
)
def test_nonsense(variable: str, value: str) -> None:
    """A value that cannot be meant is an error that names the variable and the value."""
    with pytest.raises(SettingsError, match=variable) as error:
        Settings.from_environ({variable: value})
    assert value in str(error.value)
