"""``mme train``: one model for each value of a column; here, on SageMaker, or as its container."""

import argparse
import importlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mme.errors import CommandError
from mme.training import container
from mme.training.fit import MODEL_FILE, Failed, Parameters, Recipe, Trained
from mme.training.groups import train_groups
from mme.training.settings import Settings

__all__ = [
    "MODEL_FILE",
    "Failed",
    "Parameters",
    "Trained",
    "train_groups",
]  # for who trains in Python
_EXTRAS = {"mme.training.here": "train", "mme.training.sagemaker": "train,aws"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be chosen; with nothing at all it is SageMaker's training container."""
    parser.description = (
        f"{parser.description}. Without arguments it is what SageMaker runs in the image, with "
        "hyperparameters.json below $MME_TRAIN_ROOT (/opt/ml)."
    )
    parser.add_argument("data", type=Path, nargs="?", help="a CSV file with a header")
    parser.add_argument("--by", help="the column whose values get a model each")
    parser.add_argument("--target", help="the column to predict")
    parser.add_argument("--out", type=Path, help="the folder for the archives")
    parser.add_argument("--rounds", type=int, default=25, help="(default: %(default)s)")
    parser.add_argument(
        "--early-stopping",
        type=int,
        metavar="ROUNDS",
        help="end after so many rounds without a better validation error, and keep the best",
    )
    for name, value in asdict(Parameters()).items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, help="(default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=-1, help="at once; -1 is one a CPU")
    _add_sagemaker(parser.add_argument_group("on SageMaker"))


def _add_sagemaker(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--on", choices=("sagemaker",), help="run training jobs of this image")
    group.add_argument(
        "--data",
        dest="prefix",
        metavar="S3",
        help="a prefix of CSV files that is "
        "there already, instead of a file; each object must hold whole groups",
    )
    group.add_argument("--output", metavar="S3", help="the prefix that GROUP.tar.gz go to")
    group.add_argument("--role", metavar="ARN", help="that the jobs have")
    group.add_argument("--image", metavar="URI", help="of this container, in ECR")
    group.add_argument(
        "--name", default="mme-train", help="that jobs' names begin with (default: %(default)s)"
    )
    group.add_argument("--instance-type", default="ml.m5.xlarge", help="(default: %(default)s)")
    group.add_argument("--instances", type=int, default=1, help="of the job (default: %(default)s)")
    group.add_argument("--volume-gb", type=int, default=30, help="of each (default: %(default)s)")
    group.add_argument("--spot", action="store_true", help="spare capacity: cheaper, interrupted")
    group.add_argument(
        "--max-run",
        type=int,
        default=86400,
        metavar="SECONDS",
        help="that a job may run (default: %(default)s)",
    )
    group.add_argument("--one-job-a-model", action="store_true", help="instead of one job for all")
    group.add_argument(
        "--concurrency",
        type=int,
        default=10,
        metavar="JOBS",
        help="at once, of one job a model (default: %(default)s)",
    )
    group.add_argument("--profile", help="of the AWS CLI's files")
    group.add_argument("--region", help="of AWS")


def run(args: argparse.Namespace) -> int:
    """Train where it is asked for; status 1 when a group failed."""
    if not args.on and (args.data, args.by, args.target, args.out) == (None,) * 4:
        return container.run(Settings.from_environ(os.environ))
    if args.rounds < 1 or (args.early_stopping is not None and args.early_stopping < 1):
        raise CommandError("--rounds and --early-stopping must be 1 or more")
    if args.jobs == 0 or args.seed < 0:
        raise CommandError("--jobs must not be 0, and --seed not be negative")
    needed = {"--by": args.by, "--target": args.target}
    needed |= _needed_there(args) if args.on else {"DATA": args.data, "--out": args.out}
    if missing := [name for name, value in needed.items() if value is None]:
        raise CommandError(f"missing: {', '.join(missing)}")
    parameters = Parameters(**{name: getattr(args, name) for name in asdict(Parameters())})
    recipe = Recipe(parameters, args.rounds, args.early_stopping)
    return int(_module(args.on).run(args, recipe))


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
