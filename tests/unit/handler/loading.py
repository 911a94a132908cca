"""A directory's models in this process, by the service's own steps."""

from pathlib import Path
from typing import Any

from handler import directory
from handler.resident import Resident, resident
from handler.settings import Settings
from handler.trial import check


def loaded(place: Path, **settings: Any) -> Resident:
    """What the service would have in memory after a load, with the forest off.

    Raises:
        HandlerError: what is in the directory cannot be served.
    """
    found = directory.find(place)
    parts = [check(one)[0] for one in found.models]
    model = resident(parts, found.settings, Settings(**settings))
    assert isinstance(model, Resident)
    return model
