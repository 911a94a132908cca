"""``mme serve``: the container, here or in its image."""

import argparse
import os

from container import supervisor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none: the environment says all, as it does on SageMaker."""
    parser.epilog = "Settings are environment variables: see docs/03-settings.md."


def run(args: argparse.Namespace) -> int:  # noqa: ARG001  # a command takes its arguments
    """Serve until SIGTERM."""
    return supervisor.serve(os.environ)
