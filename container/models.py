"""The gate's register of models: what is loaded, where, and in which state of its life.

There may be a million of them, and each takes memory that no model can have: what few models need
is made when one needs it.
"""

import asyncio
import enum
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field

from sortedcontainers import SortedList

from container.journal import Entry, Journal
from container.shards import Shard

SINGLE = "model"  # the name of the one model of an endpoint that is not multi-model
PAGE = 100  # models a page of the listing, at most and by default
_FREEZE_MODELS = 10_000  # new ones, after which the collector is told to look at them no more


class State(enum.Enum):
    """``absent → loading → ready → unloading → absent``; absent is not to be in the register."""

    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"


@dataclass(slots=True, eq=False)
class Trouble:
    """Of a model that a worker has died with."""

    crashes: int = 0  # of processes with nothing but a request to this model in them
    trials: int = 0  # of requests that such a process is given, since the worker died with them
    apart: asyncio.Lock = field(default_factory=asyncio.Lock)  # one of them at a time
    rest_until: float = 0.0  # after a crash it is asked no more before this (time.monotonic())


class Model:
    """One model as the gate knows it.

    Args:
        name: of the model.
        url: as the platform gave it.
        directory: what the url means, with links resolved.
        shard: that it is on.
    """

    __slots__ = (
        "_directory",
        "_waiters",
        "in_flight",
        "load_is_over",
        "loads",
        "name",
        "shard",
        "state",
        "target",
        "trouble",
        "url",
    )

    def __init__(self, name: str, url: str, directory: str, shard: Shard) -> None:
        self.name = name
        self.url = url
        self._directory = None if directory == url else directory
        self.shard = shard
        self.state = State.LOADING
        self.load_is_over = False  # however it ended
        self.in_flight = 0
        self.loads = 0  # again, since its worker had it no more
        self.target = ""  # the name that the platform's clients know, for logs and metrics
        self.trouble: Trouble | None = None
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def directory(self) -> str:
        """Where its files are."""
        return self.url if self._directory is None else self._directory

    @property
    def is_suspect(self) -> bool:
        """Whether it is asked in a process of its own."""
        trouble = self.trouble
        return trouble is not None and (trouble.crashes > 0 or trouble.trials > 0)

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
        self._names: SortedList[str] = SortedList()
        self._unfrozen = 0
        if journal is not None:
            journal.keeps(self._entries_now)

    def __len__(self) -> int:
        return len(self._models)

    def restore(self, shards: list[Shard]) -> list[Model]:
        """Take over what the journal says of an earlier gate's models.

        Returns:
            Those that it had only begun to load or to unload; they are not taken over.
        """
        if self._journal is None:
            return []
        collects = gc.isenabled()
        gc.disable()  # it would look at all of them each time that there are a quarter more
        begun: dict[str, Entry] = {}
        for event in self._journal.entries():
            name = event.name
            self._models.pop(name, None)
            begun.pop(name, None)
            if not isinstance(event, Entry):
                continue
            if not event.ready:
                begun[name] = event
                continue
            self._models[name] = model = _model(event, shards)
            model.load_is_over = True
            model.state = State.READY
        for model in self._models.values():
            model.shard.models += 1
        self._names.update(self._models)
        for name in begun:
            self._journal.forget(name, len(self._models))
        _freeze()
        if collects:
            gc.enable()
        return [_model(entry, shards) for entry in begun.values()]

    def set_state(self, model: Model, state: State) -> None:
        """A model of the register goes on to its next state."""
        model.state = state
        self._note(model)

    def _note(self, model: Model) -> None:
        if self._journal is not None:
            self._journal.note(_entry(model), len(self._models))

    def _entries_now(self) -> Iterator[Entry]:
        """All as they are when it is their turn; who comes or goes meanwhile may be among them."""
        for name in list(self._models):
            model = self._models.get(name)
            if model is not None:
                yield _entry(model)

    def get(self, name: str) -> Model | None:
        """The model of that name, in whatever state."""
        return self._models.get(name)

    def add(self, model: Model) -> None:
        """Take a model in."""
        self._models[model.name] = model
        self._names.add(model.name)
        model.shard.models += 1
        self._note(model)
        self._unfrozen += 1
        if self._unfrozen >= _FREEZE_MODELS:
            self._unfrozen = 0
            _freeze()

    def remove(self, model: Model) -> None:
        """Let a model go, once."""
        if self._models.get(model.name) is model:
            del self._models[model.name]
            self._names.remove(model.name)
            model.shard.models -= 1
            if self._journal is not None:
                self._journal.forget(model.name, len(self._models))
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


def _model(entry: Entry, shards: list[Shard]) -> Model:
    shard = shards[entry.shard % len(shards)]
    return Model(entry.name, entry.url, entry.directory or entry.url, shard)


def _entry(model: Model) -> Entry:
    ready = model.state is State.READY
    directory = "" if model.directory == model.url else model.directory
    return Entry(model.name, model.url, directory, model.shard.number, ready)


def _freeze() -> None:
    """Collect what is new, and let the collector pass over all that is left from now on.

    With a million models each full collection would stop the gate for as long as it takes to look
    at them, and models are no garbage: they end when they are let go.
    """
    gc.collect()
    gc.freeze()
