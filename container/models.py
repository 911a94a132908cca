"""The gate's register of models: what is loaded, where, and in which state of its life."""

import asyncio
import bisect
import enum
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from container.journal import Entry, Journal
from container.shards import Shard

PAGE = 100  # models a page of the listing, at most and by default


class State(enum.Enum):
    """``absent → loading → ready → unloading → absent``; absent is not to be in the register."""

    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


@dataclass(slots=True, eq=False)
class Model:
    """One model as the gate knows it."""

    name: str
    url: str
    directory: Path
    shard: Shard
    state: State = State.LOADING
    load_is_over: bool = False  # however it ended
    in_flight: int = 0
    loads: int = 0  # again, since its worker had it no more
    crashes: int = 0  # of processes with nothing but a request to this model in them
    trials: int = 0  # of requests that such a process is given, since the worker died with them
    apart: asyncio.Lock = field(default_factory=asyncio.Lock)  # one of them at a time
    rest_until: float = 0.0  # after a crash it is asked no more before this (time.monotonic())
    target: str = ""  # the name that the platform's clients know, for logs and metrics
    key: bytes = field(init=False)  # the name as a header can carry it
    _waiters: list[asyncio.Future[None]] | None = None

    def __post_init__(self) -> None:
        self.key = quote(self.name, safe="").encode()

    async def changed(self) -> None:
        """Wait until something above has changed; look what, since it may be another thing."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters = [*(self._waiters or ()), waiter]
        await waiter

    def notify(self) -> None:
        """Wake who waits for a change."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


class Register:
    """All models by name, and their names in order.

    Args:
        journal: notes what comes and goes; None where nobody needs to know later.
    """

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self._models: dict[str, Model] = {}
        self._names: list[str] = []

    def __len__(self) -> int:
        return len(self._models)

    def set_state(self, model: Model, state: State) -> None:
        """A model of the register goes on to its next state."""
        model.state = state
        self._note(model)

    def _note(self, model: Model) -> None:
        if self._journal is not None:
            url, directory = model.url, str(model.directory)
            ready = model.state is State.READY
            self._journal.note(Entry(model.name, url, directory, model.shard.number, ready))

    def get(self, name: str) -> Model | None:
        """The model of that name, in whatever state."""
        return self._models.get(name)

    def add(self, model: Model) -> None:
        """Take a model in."""
        self._models[model.name] = model
        bisect.insort(self._names, model.name)
        model.shard.models += 1
        self._note(model)

    def remove(self, model: Model) -> None:
        """Let a model go, once."""
        if self._models.get(model.name) is model:
            del self._models[model.name]
            del self._names[bisect.bisect_left(self._names, model.name)]
            model.shard.models -= 1
            if self._journal is not None:
                self._journal.forget(model.name)
        model.notify()

    def page(self, limit: str, token: str) -> dict[str, object]:
        """One page of the listing, as MMS gives it, without its empty page after a full last one.

        Args:
            limit: models a page, 1 to 100; anything else means 100.
            token: where to begin, a number that the last page gave; anything else means 0.
        """
        size = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 4 else PAGE
        if not 1 <= size <= PAGE:
            size = PAGE
        start = int(token) if token.isascii() and token.isdigit() and len(token) < 12 else 0
        names = self._names[start : start + size]
        models = [{"modelName": name, "modelUrl": self._models[name].url} for name in names]
        if start + size < len(self._names):
            return {"nextPageToken": str(start + size), "models": models}
        return {"models": models}
