"""The settings: what the environment may say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from container.settings import Settings, SettingsError


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty environment gives the documented defaults, and a shard a CPU."""
    monkeypatch.setattr("container.settings.SINGLE_ROOT", tmp_path)
    settings = Settings.from_environ({})
    assert (settings.port, settings.multi_model) == (8080, True)
    assert settings.model_root == Path("/opt/ml/models")
    assert settings.shards >= 1


HERE, NOWHERE, ELSEWHERE = "there is a model", "there is none", "/elsewhere"


@pytest.mark.parametrize(
    ("said", "root", "laid", "multi_model", "read"),
    [
        # The platform, or a user, says which: what lies where changes nothing.
        ("true", "", HERE, True, "/opt/ml/models"),
        ("true", "", NOWHERE, True, "/opt/ml/models"),
        ("true", ELSEWHERE, HERE, True, ELSEWHERE),
        ("1", ELSEWHERE, NOWHERE, True, ELSEWHERE),
        ("false", "", HERE, False, HERE),
        ("false", "", NOWHERE, False, HERE),
        ("0", ELSEWHERE, HERE, False, ELSEWHERE),
        ("false", ELSEWHERE, NOWHERE, False, ELSEWHERE),
        # Nobody says: a model root is for several models, a model where one is laid is for one.
        ("", ELSEWHERE, HERE, True, ELSEWHERE),
        ("", ELSEWHERE, NOWHERE, True, ELSEWHERE),
        ("", "", HERE, False, HERE),
        ("", "", NOWHERE, True, "/opt/ml/models"),
    ],
)
def test_mode(
    said: str,
    root: str,
    laid: str,
    multi_model: bool,
    read: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it is multi-model, and where models are read, for all that may be said of both."""
    monkeypatch.setattr("container.settings.SINGLE_ROOT", tmp_path)
    if laid == HERE:
        (tmp_path / "xgboost-model").touch()
    found = Settings.from_environ({"SAGEMAKER_MULTI_MODEL": said, "MME_MODEL_ROOT": root})
    assert found.multi_model is multi_model
    assert found.model_root == (tmp_path if read == HERE else Path(read))
    monkeypatch.setattr("container.settings.SINGLE_ROOT", tmp_path / "changed since")
    assert Settings.from_environ(found.mode) == found


def test_mode_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory, or a file in its place, is no model; a directory that is closed to us is."""
    place = tmp_path / "model"
    monkeypatch.setattr("container.settings.SINGLE_ROOT", place)
    assert Settings.from_environ({}).multi_model
    place.touch()
    assert Settings.from_environ({}).multi_model
    place.unlink()
    place.mkdir()

    def closed(_: Path) -> Iterator[Path]:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", closed)  # root may read whatever its mode is
    assert not Settings.from_environ({}).multi_model


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
