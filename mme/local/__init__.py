"""``mme local``: a SageMaker multi-model endpoint on this machine, for unchanged boto3 code."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """As ``mme.local.command`` has them; nothing is imported before."""
    from mme.local import command

    command.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """As ``mme.local.command`` has it."""
    from mme.local import command

    return command.run(args)
