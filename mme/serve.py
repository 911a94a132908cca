"""``mme serve``: the container, here or in its image."""

import argparse
import dataclasses
import os
import textwrap

from container import supervisor
from container.settings import Settings as ContainerSettings
from handler.settings import Settings, SettingsError
from mme.errors import CommandError

_INDENT = " " * 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none: the environment says all, as it does on SageMaker."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "environment variables:\n" + "".join(
        f"  {setting.metadata['variable']} (default {setting.default})\n"
        + textwrap.fill(
            setting.metadata["help"], 76, initial_indent=_INDENT, subsequent_indent=_INDENT
        )
        + "\n"
        for side in (ContainerSettings, Settings)
        for setting in dataclasses.fields(side)
    )


def run(args: argparse.Namespace) -> int:  # noqa: ARG001  # a command takes its arguments
    """Serve until SIGTERM."""
    try:  # the workers read these too, where nobody would see why they do not start
        Settings.from_environ(os.environ)
    except SettingsError as error:
        raise CommandError(str(error), status=supervisor.EXIT_NOT_STARTED) from None
    return supervisor.serve(os.environ)
