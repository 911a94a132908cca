"""Every environment variable of the training container, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from mme.errors import CommandError

ROOT = "MME_TRAIN_ROOT"


def _setting(variable: str, default: Any, help_text: str) -> Any:
    return field(default=default, metadata={"variable": variable, "help": help_text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment may change. docs/03-settings.md is made from this class."""

    root: Path = _setting(
        ROOT,
        Path("/opt/ml"),
        "The folder that the platform lays out: `input/`, `model/`, `checkpoints/`, `output/`.",
    )
    jobs: int = _setting(
        "MME_TRAIN_JOBS", 0, "Processes that train at once; 0 takes one for each CPU."
    )
    progress_seconds: int = _setting(
        "MME_TRAIN_PROGRESS_SECONDS", 10, "Between two lines that say how far it is."
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            CommandError: a value is no number, or negative.
        """
        values: dict[str, Any] = {}
        for setting in fields(cls):
            variable = setting.metadata["variable"]
            if not (text := environ.get(variable, "").strip()):
                continue
            if isinstance(setting.default, Path):
                values[setting.name] = Path(text)
            elif text.isascii() and text.isdigit():
                values[setting.name] = int(text)
            else:
                raise CommandError(f"{variable} is {text!r}: it must be a number, 0 or more")
        return cls(**values)
