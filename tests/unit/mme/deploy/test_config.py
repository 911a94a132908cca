"""``mme.toml``: read, checked, and what is wrong said in one line."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from mme.deploy import config
from mme.deploy.config import Config
from mme.errors import CommandError
from tests.unit.mme.deploy.conftest import LEAST, MOST


def test_everything() -> None:
    """Each table becomes its own kind of thing, and whole numbers do where any number does."""
    made = Config.from_document(MOST)
    assert made.autoscaling is not None
    assert made.autoscaling.invocations_per_instance == 1000.0
    assert made.alarms.latency_ms == 100.0
    assert made.vpc is not None
    assert made.vpc.subnets == ["subnet-12345678"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"nmae": "x"}, "unknown nmae: did you mean name?"),
        ({"zzz": "x"}, "unknown zzz: there are name, models,"),
        ({"autoscaling": {"min": 1}}, "autoscaling.max is missing"),
        ({"autoscaling": {"mni": 1}}, "unknown autoscaling.mni: did you mean min?"),
        ({"autoscaling": 3}, "autoscaling is 3"),
        ({"name": "-x"}, "name: letters, digits"),
        ({"name": "x" * 64}, "name: letters, digits"),
        ({"instance_type": "m5.large"}, "instance_type: such as ml.m5.large"),
        ({"instance_count": 0}, "instance_count: 1 or more"),
        ({"instance_count": "2"}, "instance_count is '2': it must be a whole number"),
        ({"instance_count": True}, "instance_count is True: it must be a whole number"),
        ({"cache": "yes"}, "cache is 'yes': it must be true or false"),
        ({"models": "s3://bucket/models"}, "models: an S3 prefix ends with /"),
        ({"models": "s3://Bucket/"}, "models: an S3 prefix ends with /"),
        ({"models": "s3://mine/", "bucket": "other"}, "bucket: only with a folder"),
        ({"role": "me"}, "role: an ARN"),
        ({"volume_gb": -1}, "volume_gb: above zero"),
        ({"environment": {"A": 1}}, "environment.A is 1: it must be text"),
        ({"alarms": {"latency_ms": 0}}, "alarms.latency_ms: above zero"),
        ({"tags": {"xgboost-mme:endpoint": "x"}}, "tags: aws: is AWS's, and xgboost-mme: ours"),
        ({"tags": {"a": "b&c"}}, "tags: nine at most"),
        ({"tags": {str(number): "" for number in range(10)}}, "tags: nine at most"),
        (
            {"autoscaling": {"min": 3, "max": 4, "invocations_per_instance": 1}},
            "autoscaling: 1 <= min <= max, and instance_count between them",
        ),
        ({"update": {"strategy": "fast"}}, "update.strategy: all-at-once, canary"),
        ({"update": {"step_percent": 60}}, "update.step_percent: 5 to 50"),
        (
            {"update": {"step_percent": 5, "strategy": "linear"}},
            "update.step_percent: 5 to 50, and 10",
        ),
        ({"kms_key": "alias/x"}, "kms_key: an ARN"),
        ({"alarms": {"notify": "x"}}, "alarms.notify: an ARN"),
        ({"alarms": {"errors_per_minute": -1}}, "alarms.errors_per_minute: not below zero"),
        ({"environment": {"my-var": "x"}}, "environment: names"),
        ({"volume_gb": 513}, "volume_gb: 512 at most"),
        ({"tags": {"aws:x": "x"}}, "tags: aws: is AWS's"),
        (
            {"update": {"strategy": "canary"}, "instance_count": 1},
            "update.strategy: a canary or steps need two",
        ),
    ],
)
def test_wrong(change: dict[str, Any], line: str) -> None:
    """What cannot be is named, with what may be."""
    with pytest.raises(CommandError) as raised:
        Config.from_document(LEAST | change)
    assert str(raised.value).startswith(line)


@pytest.mark.parametrize("name", LEAST.keys() - {"image"})
def test_required(name: str) -> None:
    """What lacks is named."""
    with pytest.raises(CommandError, match=f"{name} is missing"):
        Config.from_document({key: value for key, value in LEAST.items() if key != name})


def parsed(*words: str) -> Config:
    """The configuration of a command line."""
    parser = argparse.ArgumentParser()
    config.add_arguments(parser, flags=True)
    return config.given(parser.parse_args(words))


def test_flags(tmp_path: Path) -> None:
    """A flag stands for the file's value; a folder is looked for beside the file, or here."""
    file = tmp_path / "mme.toml"
    file.write_text(
        'name = "a"\nmodels = "models"\ninstance_type = "ml.m5.large"\ninstance_count = 2\n'
    )
    made = parsed(str(file), "--instance-count", "3", "--image", "me")
    assert (made.name, made.instance_count, made.image) == ("a", 3, "me")
    assert made.folder == tmp_path / "models"
    assert parsed(str(file), "--models", "there").folder == Path("there")


def test_flags_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file, flags must say what is required."""
    monkeypatch.chdir(tmp_path)
    words = ["--name", "a", "--models", "m", "--instance-type", "ml.m5.large"]
    assert parsed(*words, "--instance-count", "2").instance_count == 2
    with pytest.raises(CommandError, match="instance_count is missing"):
        parsed(*words)
    with pytest.raises(CommandError, match=r"there is no mme.toml: write one"):
        parsed()


def test_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that makes nothing needs no more than a name."""
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    config.add_arguments(parser)
    assert config.given(parser.parse_args(["--name", "a"])).name == "a"
    with pytest.raises(CommandError, match="or give --name"):
        config.given(parser.parse_args([]))


def test_damaged_file(tmp_path: Path) -> None:
    """A file that is no TOML says where."""
    (tmp_path / "x.toml").write_text("name = \n")
    with pytest.raises(CommandError, match=r"x\.toml cannot be read: .*line 1"):
        parsed(str(tmp_path / "x.toml"))
