"""The console script ``mme``: each command is a module, imported when it runs."""

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from mme.errors import CommandError


class Command(NamedTuple):
    """A command: what it does, its module, and what it needs beyond what the container has."""

    what: str
    module: str
    extra: str = "train"  # as pip calls it


# Each module has add_arguments(parser) and run(args). It is imported only when its command runs:
# `mme serve` must not wait for pandas and xgboost.
COMMANDS = {
    "serve": Command("run the container's processes here", "mme.serve"),
    "houses": Command("write the story's data: houses of ten cities", "mme.houses"),
    "train": Command("train one model for each value of a column, in parallel", "mme.train"),
    "local": Command(
        "a SageMaker endpoint on this machine, for unchanged boto3 code", "mme.local", "local"
    ),
    "invoke": Command("ask one model of an endpoint, here or on AWS", "mme.invoke", "aws"),
    "deploy": Command(
        "an endpoint on AWS, from one small file; again, and nothing changes",
        "mme.deploy.command",
        "aws",
    ),
    "status": Command("how an endpoint is, and what it has done", "mme.deploy.status", "aws"),
    "logs": Command("what an endpoint's containers write", "mme.deploy.logs", "aws"),
    "models": Command(
        "list, add and remove models while the endpoint runs", "mme.deploy.models", "aws"
    ),
    "destroy": Command("what mme deploy made goes, and nothing else", "mme.deploy.destroy", "aws"),
    "plan": Command(
        "what an endpoint takes and costs, before it is paid for", "mme.plan.command", "plan"
    ),
    "inspect": Command(
        "what a model file or archive is, and whether it would load here", "mme.inspect"
    ),
    "convert": Command(
        "write models of any release again, for the XGBoost that runs here", "mme.convert"
    ),
    "export": Command(
        "what mme deploy would make, for CloudFormation or Terraform", "mme.deploy.export", "aws"
    ),
    "demo": Command("the whole story: data, training, serving, cold and warm", "mme.demo"),
}
_INTERRUPTED = 130  # as a shell reports a command that Ctrl-C ended; here also one nobody reads


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``mme``; those of this process by default.

    Returns:
        The exit status: 0 when all is well, 1 when something failed, 2 when the command is wrong.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _main(words)
        finally:  # here, also after argparse's exits; at Python's own end it would complain
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # who read our output has gone; what is left of it goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _INTERRUPTED


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0 if words else 2
    if words[0] == "--version":
        sys.stdout.write(f"mme {importlib.metadata.version('xgboost-mme')}\n")
        return 0
    if words[0] not in COMMANDS:
        sys.stderr.write(f"mme: no command {words[0]!r}; there are {', '.join(COMMANDS)}\n")
        return 2
    return _run(words[0], words[1:])


def _help() -> str:
    lines = [f"  {name:<10}{command.what}\n" for name, command in COMMANDS.items()]
    return "usage: mme COMMAND [ARGUMENT ...]\n\n" + "".join(lines) + "\nmme COMMAND --help\n"


def _run(name: str, words: list[str]) -> int:
    about = COMMANDS[name]
    try:
        command = importlib.import_module(about.module)
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"mme {name}: {error.name} is missing: pip install 'xgboost-mme[{about.extra}]'\n"
        )
        return 1
    parser = argparse.ArgumentParser(prog=f"mme {name}", description=about.what)
    command.add_arguments(parser)
    try:
        return int(command.run(parser.parse_args(words)))
    except CommandError as error:
        sys.stderr.write(f"mme {name}: {error}\n")
        return error.status
