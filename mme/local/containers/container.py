"""What an instance runs: a container that is started, answers on loopback, and is stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HOST = "127.0.0.1"
SINGLE = "single"  # the folder below ``models`` with the model of one that is not multi-model
_TAIL_BYTES, _TAIL_LINES = 4096, 2


class ContainerError(Exception):
    """A container cannot be started; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to run.

    Attributes:
        instance: its id.
        endpoint: that it is an instance of.
        image: as the model names it.
        multi_model: else it serves the one model in ``models/single/model``.
        models: the instance's models, on this machine.
        log: what it writes is appended to this file; the folder must exist.
        environment: of the model.
        memory_bytes: that it may take.
        region: of AWS.
    """

    instance: str
    endpoint: str
    image: str
    multi_model: bool
    models: Path
    log: Path
    environment: Mapping[str, str]
    memory_bytes: int
    region: str

    @property
    def model_root(self) -> Path:
        """The folder that its container reads models from, on this machine."""
        return self.models if self.multi_model else self.models / SINGLE / "model"

    def variables(self) -> dict[str, str]:
        """The model's environment, and what the platform sets."""
        return {
            **self.environment,
            "AWS_REGION": self.region,
            "SAGEMAKER_MULTI_MODEL": "true" if self.multi_model else "false",
        }


class Container(Protocol):
    """A container of one instance, started once.

    Attributes:
        url_host: where its API answers, from ``start`` on.
        url_port: likewise.
        model_root: the folder with the models, as the container sees it.
    """

    url_host: str
    url_port: int
    model_root: str

    async def start(self) -> None:
        """Start it; it need not be healthy yet.

        Raises:
            ContainerError: it cannot be started.
        """

    def ended(self) -> str | None:
        """Nothing while it runs; then how it ended, with the last of what it said."""

    async def memory_bytes(self) -> int:
        """What it takes now; 0 when it has ended."""

    async def cpu_seconds(self) -> float:
        """Processor time that it has used; 0 when it has ended."""

    async def stop(self, seconds: float = 30) -> None:
        """End it, by force after so many seconds, and leave nothing; it may have ended before."""


def last_words(log: Path) -> str:
    """The last lines of a log as one, or nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return " | ".join(said[-_TAIL_LINES:])


def sentence(how: str, log: Path) -> str:
    """How a container ended, with the last of what it said."""
    said = last_words(log)
    return f"{how}; it said: {said}" if said else f"{how}; it said nothing"
