"""Which models are held, and which goes when room is needed: least recently used, in bytes.

Pure: it knows names, sizes and times, and neither files nor processes. The local endpoint keeps
the memory and the disk of its instances by it; who plans an endpoint replays a trace through it.
"""

import enum
from collections import OrderedDict
from dataclasses import dataclass


class Outcome(enum.Enum):
    """What a request finds: its model held, being loaded for somebody else, or neither."""

    HIT = "hit"
    WAIT = "wait"
    MISS = "miss"


@dataclass(slots=True)
class Held:
    """One model that is held.

    Attributes:
        size: bytes.
        loaded_at: seconds, by the clock of who calls; as is the next.
        used_at: when it was asked for last.
        pins: uses in progress, during which it does not go.
        uses: requests that have found it here.
    """

    size: int
    loaded_at: float
    used_at: float
    pins: int = 0
    uses: int = 0


@dataclass(slots=True)
class Counts:
    """What has happened: requests and what they found, loads and how they ended, evictions."""

    hits: int = 0
    waits: int = 0
    misses: int = 0
    loads: int = 0
    failures: int = 0
    evictions: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.hits + self.waits + self.misses

    @property
    def hit_rate(self) -> float:
        """Share of requests that found their model, 0 to 1; CloudWatch's ModelCacheHit."""
        return self.hits / self.requests if self.requests else 0.0


class Residency:
    """The models of one instance, in its memory or on its disk.

    Args:
        capacity: bytes of models that fit; None where only who loads them knows.
        floor_seconds: a model stays for so long after its load. Without it, an instance that is
            asked for more models than fit can spend its time on loads of which each is used once.
    """

    def __init__(self, capacity: int | None = None, floor_seconds: float = 0.0) -> None:
        self.capacity = capacity
        self.floor_seconds = floor_seconds
        self.counts = Counts()
        self.used = 0
        self._held: OrderedDict[str, Held] = OrderedDict()  # the least recently used first
        self._loading: set[str] = set()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, name: str) -> bool:
        return name in self._held

    @property
    def loading(self) -> int:
        """Models that are being loaded."""
        return len(self._loading)

    def get(self, name: str) -> Held | None:
        """A model that is held; asking is no use of it."""
        return self._held.get(name)

    def held(self) -> list[tuple[str, Held]]:
        """All models that are held, the least recently used first."""
        return list(self._held.items())

    def request(self, name: str, now: float) -> Outcome:
        """Count a request, and note that the model is in use now.

        Returns:
            HIT: it is held. WAIT: it is being loaded. MISS: it is to be loaded, by who asked.
        """
        model = self._held.get(name)
        if model is not None:
            model.used_at = now
            model.uses += 1
            self._held.move_to_end(name)
            self.counts.hits += 1
            return Outcome.HIT
        if name in self._loading:
            self.counts.waits += 1
            return Outcome.WAIT
        self.counts.misses += 1
        return Outcome.MISS

    def begin(self, name: str) -> None:
        """A load of the model begins."""
        self._loading.add(name)

    def loaded(self, name: str, size: int, now: float) -> Held:
        """The load has come to its end: the model is held, in use now."""
        self._loading.discard(name)
        self.remove(name)
        held = self._held[name] = Held(size, now, now)
        self.used += size
        self.counts.loads += 1
        return held

    def failed(self, name: str) -> None:
        """The load has come to nothing."""
        self._loading.discard(name)
        self.counts.failures += 1

    def lacks(self, size: int) -> int:
        """Bytes that must go before so many more fit; 0 where they fit, or nobody knows."""
        if self.capacity is None:
            return 0
        return max(0, self.used + size - self.capacity)

    def victim(self, now: float) -> str | None:
        """The model to go next: of those neither pinned nor under the floor, the least recent."""
        for name, model in self._held.items():
            if not model.pins and model.loaded_at + self.floor_seconds <= now:
                return name
        return None

    def victim_from(self) -> float | None:
        """When a model is over the floor that is only kept by it; None where there is none."""
        free = (model.loaded_at for model in self._held.values() if not model.pins)
        earliest = min(free, default=None)
        return None if earliest is None else earliest + self.floor_seconds

    def evict(self, name: str) -> Held:
        """Let a victim go."""
        model = self._held.pop(name)
        self.used -= model.size
        self.counts.evictions += 1
        return model

    def remove(self, name: str) -> Held | None:
        """Let a model go that has gone already, or goes for another reason than room."""
        model = self._held.pop(name, None)
        if model is not None:
            self.used -= model.size
        return model

    def make_room(self, size: int, now: float) -> list[str]:
        """Evict until so many bytes fit, or nothing may go any more; the names that went."""
        gone = []
        while self.lacks(size) and (name := self.victim(now)) is not None:
            self.evict(name)
            gone.append(name)
        return gone
