"""The container's settings in ``[environment]``: what it would not start with is said at once."""

import difflib
from collections.abc import Mapping
from dataclasses import fields

from container import settings as container
from handler import settings as handler
from mme.errors import CommandError

_OURS = "MME_"


def check(environment: Mapping[str, str]) -> None:
    """Check what has our names; other variables are nobody's business here.

    Raises:
        CommandError: there is no such setting, or no such value of it.
    """
    sides = (container.Settings, handler.Settings)
    known = {one.metadata["variable"] for side in sides for one in fields(side)}
    for name in environment:
        if name.startswith(_OURS) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "docs/03-settings.md has all"
            raise CommandError(f"environment.{name} is no setting of the container: {hint}")
    try:
        container.Settings.from_environ(environment)
        handler.Settings.from_environ(environment)
    except (container.SettingsError, handler.SettingsError) as error:
        raise CommandError(f"environment: {error}") from None
