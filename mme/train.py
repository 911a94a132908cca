"""``mme train``: one model for each value of a column; here, on SageMaker, or as its container."""

import argparse
import importlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mme.errors import CommandError
from mme.training import container
from mme.training.fit import MODEL_FILE, Failed, Parameters, Recipe, Trained
from mme.training.groups import train_groups

__all__ = [
    "MODEL_FILE",
    "Failed",
    "Parameters",
    "Trained",
    "train_groups",
]  # for who trains in Python
_EXTRAS = {"mme.training.here": "train", "mme.training.sagemaker": "train,aws"}
_ABOUT = """\
one model for each value of a column, here or by training jobs:

  mme train houses.csv --by city --target PRICE --out models/
  mme train houses.csv --by city --target PRICE --on sagemaker --output s3://BUCKET/models/ \\
      --role ARN --image URI

Without any words it is what SageMaker runs in the image, with hyperparameters.json below
$MME_TRAIN_ROOT (/opt/ml)."""
_HERE = {"out": None, "jobs": -1}  # options with what they are when not given, by where they count
_THERE: dict[str, Any] = {
    "prefix": None,
    "output": None,
    "role": None,
    "image": None,
    "name": "mme-train",
    "instance_type": "ml.m5.xlarge",
    "instances": 1,
    "volume_gb": 30,
    "spot": False,
    "max_run": 86400,
    "one_job_a_model": False,
    "concurrency": 10,
    "subnets": (),
    "security_groups": (),
    "kms_key": None,
    "tags": (),
    "profile": None,
    "region": None,
}
_BOTH = {
    "data": None,
    "by": None,
    "target": None,
    "on": None,
    "rounds": Recipe.rounds,
    "early_stopping": None,
    **asdict(Parameters()),
}
_SPELLED = {"prefix": "--data"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen; what is not is not among the arguments at all."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "mme train DATA --by COLUMN --target COLUMN --out DIR | --on sagemaker ..."
    parser.description = _ABOUT
    parser.add_argument("data", type=Path, nargs="?", help="a CSV file with a header; .gz, too")
    option = _adder(parser)
    option("by", help="the column whose values get a model each")
    option("target", help="the column to predict")
    option("on", choices=("sagemaker",), help="run training jobs of this image, not here")
    option = _adder(parser.add_argument_group("here"))
    option("out", type=Path, metavar="DIR", help="the folder for the archives")
    option("jobs", type=int, help="at once; -1 is one a CPU")
    option = _adder(parser.add_argument_group("each model"))
    option("rounds", type=int, help="of boosting")
    option(
        "early_stopping",
        type=int,
        metavar="ROUNDS",
        help="end after so many rounds without a better validation error, and keep the best",
    )
    for name, value in asdict(Parameters()).items():
        option(name, type=_finite if isinstance(value, float) else type(value), help="XGBoost's")
    _add_sagemaker(_adder(parser.add_argument_group("on SageMaker")))


def _add_sagemaker(option: Callable[..., None]) -> None:
    option("output", metavar="S3", help="the prefix that GROUP.tar.gz go to")
    option("role", metavar="ARN", help="that the jobs have")
    option("image", metavar="URI", help="of this container, in ECR")
    option(
        "prefix",
        metavar="S3",
        help="a prefix of CSV files that is there already, instead of a file; each object must "
        "hold whole groups",
    )
    option("instances", type=int, help="of the job")
    option("instance_type", help="of each")
    option("volume_gb", type=int, help="of each")
    option("spot", action="store_true", help="spare capacity: cheaper, interrupted")
    option("max_run", type=int, metavar="SECONDS", help="that a job may run")
    option("one_job_a_model", action="store_true", help="instead of one job for all")
    option("concurrency", type=int, metavar="JOBS", help="at once, with --one-job-a-model")
    option("name", help="that jobs' names begin with")
    option("subnets", nargs="+", metavar="ID", help="of a VPC, to run in")
    option("security_groups", nargs="+", metavar="ID", help="of the jobs there")
    option("kms_key", metavar="ID", help="for their disks and what they write")
    option("tags", nargs="+", type=_tag, metavar="NAME=VALUE", help="of the jobs")
    option("profile", help="of the AWS CLI's files")
    option("region", help="of AWS")


def _adder(group: "argparse._ActionsContainer") -> Callable[..., None]:
    """Adds options that say their default, and are no arguments where they are not given."""
    defaults = {**_BOTH, **_HERE, **_THERE}

    def option(name: str, help: str, **more: Any) -> None:  # noqa: A002  # as argparse has it
        default = defaults[name]
        if default not in (None, False, ()):
            help += f" (default: {default})"  # noqa: A001  # argparse's word
        group.add_argument(_option(name), dest=name, default=argparse.SUPPRESS, help=help, **more)

    return option


def _option(name: str) -> str:
    return _SPELLED.get(name) or f"--{name.replace('_', '-')}"


def _tag(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is no finite number")
    return value


def run(args: argparse.Namespace) -> int:
    """Train where it is asked for; status 1 when a group failed."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    if not given:
        return container.run(os.environ)
    on = given.get("on")
    _refuse_others(given, on)
    args = argparse.Namespace(**(_BOTH | (_THERE if on else _HERE) | given))
    if args.rounds < 1 or (args.early_stopping is not None and args.early_stopping < 1):
        raise CommandError("--rounds and --early-stopping must be 1 or more")
    if args.seed < 0 or (not on and args.jobs == 0):
        raise CommandError("--jobs must not be 0, and --seed not be negative")
    needed = {"--by": args.by, "--target": args.target}
    needed |= _needed_there(args) if on else {"DATA": args.data, "--out": args.out}
    if missing := [name for name, value in needed.items() if value is None]:
        raise CommandError(f"missing: {', '.join(missing)}")
    parameters = Parameters(**{name: getattr(args, name) for name in asdict(Parameters())})
    recipe = Recipe(parameters, args.rounds, args.early_stopping)
    return int(_module(on).run(args, recipe))


def _refuse_others(given: Mapping[str, Any], on: str | None) -> None:
    """Refuse options that would count for nothing.

    Raises:
        CommandError: there are some.
    """
    if not on and (odd := [name for name in _THERE if name in given]):
        raise CommandError(f"{_listed(odd)}: only with --on sagemaker")
    if on and (odd := [name for name in _HERE if name in given]):
        raise CommandError(f"{_listed(odd)}: not with --on sagemaker, which has --output")
    apart = "one_job_a_model" in given
    if apart and "instances" in given:
        raise CommandError("--instances: not with --one-job-a-model, whose jobs have one each")
    if "concurrency" in given and not apart:
        raise CommandError("--concurrency: only with --one-job-a-model")


def _listed(names: list[str]) -> str:
    return ", ".join(map(_option, names))


def _needed_there(args: argparse.Namespace) -> dict[str, object]:
    return {
        "DATA or --data": args.data or args.prefix,
        "--output": args.output,
        "--role": args.role,
        "--image": args.image,
    }


def _module(on: str | None) -> Any:
    """The module that trains there; it needs what the image has not."""
    name = f"mme.training.{on or 'here'}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        extra = _EXTRAS[name]
        raise CommandError(
            f"{error.name} is missing: pip install 'xgboost-mme[{extra}]'", status=1
        ) from None
