"""Hot models: one whose requests wait is made resident in more shards, until it is quiet again.

A shard is one process with one interpreter. For rows that are quick to predict it is faster alone
than the rest of the way is; long work, of large bodies or large models, is what waits in it.
"""

import asyncio
import time
from dataclasses import dataclass, field

from container.log import log
from container.models import Model, State
from container.shards import Shard

WAIT_SECONDS = 0.003  # in a shard beside others of the same model: this request has waited
WAITED_OFTEN = 16  # more such requests than others before another shard is taken
QUIET_SECONDS = 30.0  # without one of them, after which a shard is given back


@dataclass(slots=True)
class _Hot:
    """A model that waits, or that has more than its first shard."""

    waited: int = 0  # up for each request that waited, down for each that did not
    shards: list[Shard] = field(default_factory=list)  # beside the model's first
    last_waited: float = field(default_factory=time.monotonic)
    work: asyncio.Task[None] | None = None  # a load or unload that goes on


class Spread:
    """Which of a model's shards answers, and how many it has."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards
        self._hot: dict[Model, _Hot] = {}

    def choose(self, model: Model) -> Shard:
        """The shard for the next request of a model: of those that have it, the least busy."""
        hot = self._hot.get(model)
        if hot is None or not hot.shards:
            return model.shard
        return min((model.shard, *hot.shards), key=lambda shard: shard.in_flight)

    def answered(self, model: Model, seconds: float) -> None:
        """Learn from a request that took so long in a shard; ``model.in_flight`` counts it still.

        Alone in its shards it cannot have waited, whatever it took.
        """
        hot = self._hot.get(model)
        count = 1 + len(hot.shards) if hot else 1
        # With more shards than one: whether it would have waited in one shard less.
        waited = model.in_flight > count and seconds * count > WAIT_SECONDS
        if hot is None:
            if not waited or len(self._shards) == 1:
                return
            hot = self._hot[model] = _Hot()
        if waited:
            hot.last_waited = time.monotonic()
            hot.waited += 1
        elif hot.waited:
            hot.waited -= 1
        if hot.waited >= WAITED_OFTEN and seconds > WAIT_SECONDS and hot.work is None:
            hot.waited = 0
            spare = [shard for shard in self._shards if shard not in (model.shard, *hot.shards)]
            if spare and model.state is State.READY:
                shard = min(spare, key=lambda shard: shard.in_flight)
                hot.work = asyncio.create_task(self._widen(model, hot, shard))

    async def _widen(self, model: Model, hot: _Hot, shard: Shard) -> None:
        try:
            answer = await shard.load(model.name, model.directory)
            if answer.status == 200:
                hot.shards.append(shard)
                log("hot", model=model.name, shards=1 + len(hot.shards))
        except Exception as error:  # it is no worse off than before
            log("not spread", model=model.name, error=str(error))
        finally:
            hot.work = None

    def lost(self, model: Model, shard: Shard) -> None:
        """A shard that should have the model does not: its process was started again."""
        hot = self._hot.get(model)
        if hot is not None and shard in hot.shards:
            hot.shards.remove(shard)

    def sweep(self) -> None:
        """Give back what quiet models have; called about once a second."""
        quiet_since = time.monotonic() - QUIET_SECONDS
        for model, hot in list(self._hot.items()):
            if hot.last_waited > quiet_since or hot.work is not None:
                continue
            if hot.shards:
                hot.work = asyncio.create_task(self._narrow(model, hot))
            else:
                del self._hot[model]

    async def _narrow(self, model: Model, hot: _Hot) -> None:
        """Take one shard from a model. A request that is on its way there is asked again."""
        try:
            await hot.shards.pop().unload(model.name)
            log("not hot", model=model.name, shards=1 + len(hot.shards))
        except Exception as error:  # then it is gone with its process
            log("not hot", model=model.name, shards=1 + len(hot.shards), error=str(error))
        finally:
            hot.work = None

    async def forget(self, model: Model) -> None:
        """Drop a model from all shards but its first. No request of it is in flight."""
        hot = self._hot.pop(model, None)
        if hot is None:
            return
        if hot.work is not None:
            await asyncio.wait([hot.work])
        while hot.shards:
            await self._narrow(model, hot)
