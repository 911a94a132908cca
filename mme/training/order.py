"""What SageMaker asks of a training container: the files below ``input/config``, checked."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mme.errors import CommandError
from mme.training.fit import Parameters, Recipe

HYPERPARAMETERS, CHANNELS, RESOURCES = (
    *("hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"),
)
_PLATFORM = "sagemaker_"  # names of hyperparameters that its SDK adds
_OURS = ("by", "target", "rounds", "early_stopping", "skip_failed")


class OrderError(CommandError):
    """The job cannot be done as it is asked for; the message is for ``output/failure``."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=1)


@dataclass(frozen=True, kw_only=True)
class Order:
    """A training job, as one of its hosts sees it.

    Attributes:
        by: the groups' column.
        target: the column to predict.
        recipe: how each group is trained.
        skip_failed: the job succeeds although groups failed.
        channel: the one with the data, a folder below ``input/data``.
        sharded: this host has files that others have not; else all have the same.
        host: this one's name.
        hosts: all names, sorted.
    """

    by: str
    target: str
    recipe: Recipe
    skip_failed: bool
    channel: str
    sharded: bool
    host: str
    hosts: tuple[str, ...]


def read_order(config: Path) -> Order:
    """Read the three files.

    Args:
        config: the folder ``input/config``.

    Raises:
        OrderError: a file is not there or is damaged, or a value makes no sense.
    """
    resources = _read(config / RESOURCES)
    channel, sharded = _channel(_read(config / CHANNELS))
    hosts = tuple(sorted(map(str, resources.get("hosts") or ["algo-1"])))
    host = str(resources.get("current_host", hosts[0]))
    if host not in hosts:
        raise OrderError(f"{RESOURCES}: current_host {host!r} is none of hosts {list(hosts)}")
    return Order(
        **_hyperparameters(_read(config / HYPERPARAMETERS)),
        channel=channel,
        sharded=sharded,
        host=host,
        hosts=hosts,
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise OrderError(
            f"{file} cannot be read ({error.strerror}): this is no training container; to train a "
            "file here: mme train DATA --by COLUMN --target COLUMN --out DIR"
        ) from None
    except ValueError as error:
        raise OrderError(f"{file} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise OrderError(f"{file} is no JSON object")
    return found


def _channel(channels: Mapping[str, Any]) -> tuple[str, bool]:
    if len(channels) != 1:
        there = f"there are {', '.join(channels)}" if channels else "there is none"
        raise OrderError(
            f"one data channel is needed, {there}; rows are split into training, validation and "
            "test here"
        )
    ((name, about),) = channels.items()
    if about.get("TrainingInputMode", "File") == "Pipe":
        raise OrderError(f"channel {name} is in Pipe mode; File and FastFile are read")
    return name, about.get("S3DistributionType") == "ShardedByS3Key"


def _hyperparameters(given: Mapping[str, Any]) -> dict[str, Any]:
    asked = {
        name.replace("-", "_"): _plain(str(value))
        for name, value in given.items()
        if not name.startswith(_PLATFORM)
    }
    defaults = asdict(Parameters())
    known = (*_OURS, *defaults)
    if unknown := [name for name in asked if name not in known]:
        raise OrderError(
            f"no hyperparameter {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    if missing := [name for name in ("by", "target") if not asked.get(name)]:
        raise OrderError(f"hyperparameter {' and '.join(missing)} is needed: the name of a column")
    if asked["by"] == asked["target"]:
        raise OrderError(f"hyperparameters by and target are both {asked['by']}")
    parameters = Parameters(
        **{
            name: _value(name, asked[name], type(defaults[name]))
            for name in defaults
            if name in asked
        }
    )
    if parameters.seed < 0:
        raise OrderError("hyperparameter seed must not be negative")
    rounds = _rounds(asked, "rounds")
    recipe = Recipe(parameters, rounds or Recipe().rounds, _rounds(asked, "early_stopping"))
    skip_failed = _value("skip_failed", asked.get("skip_failed", "false"), bool)
    return {
        "by": asked["by"],
        "target": asked["target"],
        "recipe": recipe,
        "skip_failed": skip_failed,
    }


def _plain(value: str) -> str:
    """A value without the quotes that the SageMaker SDK may put around it."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value


def _value(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise OrderError(f"hyperparameter {name} is {text!r}: it must be true or false")
    try:
        value = kind(text)
        if kind is float and not math.isfinite(value):
            raise ValueError  # no number either
        return value
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise OrderError(f"hyperparameter {name} is {text!r}: it must be {what}") from None


def _rounds(asked: Mapping[str, str], name: str) -> int | None:
    if name not in asked:
        return None
    value = int(_value(name, asked[name], int))
    if value < 1:
        raise OrderError(f"hyperparameter {name} is {value}: it must be 1 or more")
    return value
