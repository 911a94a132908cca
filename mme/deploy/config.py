"""``mme.toml``: what somebody wants to have deployed, read and checked."""

import argparse
import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mme.errors import CommandError

FILE = Path("mme.toml")
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_INSTANCE_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_PREFIX = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(.*)")
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/.+")
_TAG = re.compile(r"[\w\s+\-=.:/@]{0,128}")
_KEY = re.compile(r"arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[\w-]+")
_TOPIC = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[\w.-]+")
_VARIABLE = re.compile(r"[a-zA-Z_]\w*", re.ASCII)
_MOST_TAGS = 10
_MOST_VOLUME_GB = 512
STRATEGIES = ("all-at-once", "canary", "linear", "rolling")


def _setting(text: str, **more: Any) -> Any:
    return field(metadata={"help": text}, **more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaling:
    """``[autoscaling]``: instances by the number of invocations."""

    min: int = _setting("The fewest instances.")
    max: int = _setting("The most instances.")
    invocations_per_instance: float = _setting("The target: invocations a minute of each instance.")
    scale_in_cooldown_seconds: int = _setting("Between two steps down.", default=300)
    scale_out_cooldown_seconds: int = _setting("Between two steps up.", default=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """``[alarms]``: each that is given is an alarm; the first two also undo an update."""

    errors_per_minute: float | None = _setting("More 5xx answers than this.", default=None)
    latency_ms: float | None = _setting("The models' 90th percentile above this.", default=None)
    memory_percent: float | None = _setting("An instance's memory above this.", default=None)
    notify: str = _setting("The ARN of an SNS topic that is told.", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """``[update]``: how new instances take over from the old."""

    strategy: str = _setting(f"One of {', '.join(STRATEGIES)}.", default="all-at-once")
    step_percent: int = _setting(
        "Of the instances: the canary, each step, or each batch that rolls.", default=20
    )
    wait_seconds: int = _setting("To watch the alarms for, after each step.", default=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpc:
    """``[vpc]``: the network that the containers are in."""

    subnets: list[str] = _setting("Their ids.")
    security_groups: list[str] = _setting("Their ids.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything of ``mme.toml``. docs/ are made from this class and those above."""

    name: str = _setting("The endpoint's name.")
    models: str = _setting("A folder of `*.tar.gz`, or an S3 prefix such as `s3://bucket/models/`.")
    instance_type: str = _setting("Such as `ml.m5.large`.")
    instance_count: int = _setting("At first; with automatic scaling it changes.")
    image: str = _setting(
        "The container's image: a URI of ECR, or an image of this machine's Docker, which is "
        "pushed to a repository of the endpoint's own.",
        default="xgboost-mme",
    )
    bucket: str = _setting(
        "Where a folder of models is uploaded; else a bucket of the endpoint's own.", default=""
    )
    role: str = _setting(
        "The ARN of an execution role; else one is made that may do what it must and no more.",
        default="",
    )
    cache: bool = _setting("Keep models in memory after an invocation.", default=True)
    volume_gb: int | None = _setting("Of each instance's disk.", default=None)
    kms_key: str = _setting(
        "The ARN of the key that the models and the disks are encrypted by.", default=""
    )
    environment: dict[str, str] = _setting("The container's settings.", default_factory=dict)
    tags: dict[str, str] = _setting("For everything that is made.", default_factory=dict)
    autoscaling: Autoscaling | None = _setting("Automatic scaling.", default=None)
    alarms: Alarms = _setting("Alarms.", default_factory=Alarms)
    update: Update = _setting("Updates.", default_factory=Update)
    vpc: Vpc | None = _setting("A network.", default=None)

    @property
    def prefix(self) -> tuple[str, str] | None:
        """Bucket and key prefix, where the models are in S3 already."""
        found = _PREFIX.fullmatch(self.models)
        return (found[1], found[2]) if found else None

    @property
    def folder(self) -> Path:
        """The folder of models, where they are here."""
        return Path(self.models)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Check a document of TOML's types.

        Raises:
            CommandError: one line that names what is wrong.
        """
        config: Self = _made(cls, document, "")
        _check(config)
        return config


def load(file: Path, flags: Mapping[str, Any]) -> Config:
    """Read a file, and let flags that were given stand for its values.

    Args:
        file: TOML; where there is none, flags must say all that is required.
        flags: by field; None is not given.

    Raises:
        CommandError: it cannot be read, or what it says cannot be.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(file.read_text())
    except FileNotFoundError:
        if not {"name", "models"} <= given.keys():
            raise CommandError(
                f"there is no {file}: write one (docs/13-first-deployment.md), or give --name; to "
                "deploy, also --models, --instance-type and --instance-count"
            ) from None
    except (OSError, ValueError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None
    try:
        config = Config.from_document(document | given)
    except CommandError as error:
        raise CommandError(f"{file}: {error}") from None
    if config.prefix is None and "models" not in given:
        config = dataclasses.replace(config, models=str(file.parent / config.models))
    return config


def add_arguments(
    parser: argparse.ArgumentParser, flags: bool = False, option: bool = False
) -> None:
    """The file, and where the account is.

    Args:
        parser: of the command.
        flags: add what may stand for the file's values; else only the endpoint's name.
        option: the file is ``--file``, since the words are something else.
    """
    about: dict[str, Any] = {
        "type": Path,
        "default": FILE,
        "help": "what is wanted (default: %(default)s)",
    }
    if option:
        parser.add_argument("--file", **about)
    else:
        parser.add_argument("file", nargs="?", **about)
    for one in dataclasses.fields(Config):
        if one.type in (str, int) and (flags or one.name == "name"):
            parser.add_argument(
                f"--{one.name.replace('_', '-')}",
                type=one.type,
                metavar=one.name.upper(),
                help=one.metadata["help"].replace("`", "").replace("%", "%%"),
            )
    parser.add_argument("--region", help="of AWS; else as the AWS CLI finds it")
    parser.add_argument("--profile", help="of the AWS CLI's files")


def given(args: argparse.Namespace) -> Config:
    """The configuration that arguments name; a name alone will do, where nothing is to be made."""
    if args.name and not hasattr(args, "instance_type") and not args.file.exists():
        return Config.from_document(_ANY | {"name": args.name})
    flags = {one.name: getattr(args, one.name, None) for one in dataclasses.fields(Config)}
    return load(args.file, flags)


_ANY = {"models": "models", "instance_type": "ml.m5.large", "instance_count": 1}


def _made(cls: type[Any], document: Mapping[str, Any], at: str) -> Any:
    """A dataclass from a table, each value of its field's type."""
    known = {one.name: one for one in dataclasses.fields(cls)}
    for name in document:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise CommandError(f"unknown {at}{name}: {hint}")
    hints = typing.get_type_hints(cls)
    values = {name: _value(hints[name], value, f"{at}{name}") for name, value in document.items()}
    for name, one in known.items():
        needed = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise CommandError(f"{at}{name} is missing: {one.metadata['help']}")
    return cls(**values)


def _value(hint: Any, value: Any, at: str) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = [one for one in typing.get_args(hint) if one is not type(None)]
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _made(typing.cast("type[Any]", hint), value, f"{at}.")
    if origin is dict and isinstance(value, dict):
        return {name: _value(str, one, f"{at}.{name}") for name, one in value.items()}
    if origin is list and isinstance(value, list):
        return [_value(str, one, at) for one in value]
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    raise CommandError(f"{at} is {value!r}: it must be {names.get(hint, 'a table or a list')}")


def _can_be(tags: Mapping[str, str]) -> bool:
    """Whether S3 takes them, the strictest of all; one more is ours."""
    words = [*tags, *tags.values()]
    return len(tags) < _MOST_TAGS and all(map(_TAG.fullmatch, words)) and all(tags)


def _check(config: Config) -> None:
    scaling, alarms, update = config.autoscaling, config.alarms, config.update
    least = scaling.min if scaling else config.instance_count
    most = scaling.max if scaling else config.instance_count
    positive = [
        ("alarms.latency_ms", alarms.latency_ms),
        ("alarms.memory_percent", alarms.memory_percent),
        ("autoscaling.invocations_per_instance", scaling.invocations_per_instance)
        if scaling
        else ("", None),
        ("volume_gb", config.volume_gb),
    ]
    wrong = {
        "name: letters, digits and inner hyphens, 63 at most": not _NAME.fullmatch(config.name),
        "instance_type: such as ml.m5.large": not _INSTANCE_TYPE.fullmatch(config.instance_type),
        "instance_count: 1 or more": config.instance_count < 1,
        "models: an S3 prefix ends with /": config.models.startswith("s3:")
        and (config.prefix is None or not config.models.endswith("/")),
        "role: an ARN, arn:aws:iam::ACCOUNT:role/NAME": bool(config.role)
        and not _ROLE.fullmatch(config.role),
        "bucket: only with a folder of models; an S3 prefix names its own": bool(config.bucket)
        and config.prefix is not None,
        "autoscaling: 1 <= min <= max, and instance_count between them": not (
            1 <= least <= config.instance_count <= most
        ),
        f"update.strategy: {', '.join(STRATEGIES)}": update.strategy not in STRATEGIES,
        # What SageMaker takes: a canary or a rolling batch is half of the instances at most.
        "update.step_percent: 5 to 50, and 10 at least of linear": not (
            (10 if update.strategy == "linear" else 5) <= update.step_percent <= 50
        ),
        "update.strategy: a canary or steps need two instances at least": least == 1
        and update.strategy in ("canary", "linear"),
        "update.wait_seconds: 0 to 3600": not 0 <= update.wait_seconds <= 3600,
        "tags: nine at most, of letters, digits, blanks and + - = . _ : / @": not _can_be(
            config.tags
        ),
        "tags: aws: is AWS's, and xgboost-mme: ours": any(
            one.startswith(("aws:", "xgboost-mme:")) for one in config.tags
        ),
        "kms_key: an ARN, arn:aws:kms:REGION:ACCOUNT:key/ID": bool(config.kms_key)
        and not _KEY.fullmatch(config.kms_key),
        "alarms.notify: an ARN, arn:aws:sns:REGION:ACCOUNT:TOPIC": bool(alarms.notify)
        and not _TOPIC.fullmatch(alarms.notify),
        "alarms.errors_per_minute: not below zero": (alarms.errors_per_minute or 0) < 0,
        "environment: names of letters, digits and _, not beginning with a digit": not all(
            map(_VARIABLE.fullmatch, config.environment)
        ),
        "volume_gb: 512 at most": (config.volume_gb or 0) > _MOST_VOLUME_GB,
    }
    wrong |= {f"{name}: above zero": value is not None and value <= 0 for name, value in positive}
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise CommandError(what)
