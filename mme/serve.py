"""``mme serve``: the container, here or in its image."""

import argparse
import os

from container import supervisor
from handler.settings import Settings, SettingsError
from mme.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none: the environment says all, as it does on SageMaker."""
    parser.epilog = "Settings are environment variables: see docs/03-settings.md."


def run(args: argparse.Namespace) -> int:  # noqa: ARG001  # a command takes its arguments
    """Serve until SIGTERM."""
    try:  # the workers read these too, where nobody would see why they do not start
        Settings.from_environ(os.environ)
    except SettingsError as error:
        raise CommandError(str(error), status=supervisor.EXIT_FAILED) from None
    return supervisor.serve(os.environ)
