"""A model whose artifact brings a script, in a process of its own."""

from pathlib import Path

from handler.disposable import Disposables, Reply
from handler.model_settings import ModelSettings
from handler.settings import Settings


class ScriptModel:
    """To come."""

    size = 0
    dead = False

    @classmethod
    def start(
        cls,
        directory: Path,
        name: str,
        settings: Settings,
        own: ModelSettings,
        disposables: Disposables,
        until: float,
    ) -> "ScriptModel":
        """To come."""
        raise NotImplementedError

    def answer(
        self, content_type: str | None, accept: str | None, body: bytes, until: float
    ) -> Reply:
        """To come."""
        raise NotImplementedError

    def close(self) -> None:
        """To come."""
