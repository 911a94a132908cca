"""A model file as it was found: its bytes, and what they are."""

from dataclasses import dataclass
from pathlib import Path

from handler.formats import Format


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that is a model, by how it begins; nothing more is known of it.

    Attributes:
        path: where it was found.
        format: told by its bytes; its name says nothing.
        data: the file, whole.
    """

    path: Path
    format: Format
    data: bytes
