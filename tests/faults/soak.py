"""Soak and chaos: traffic over many models with loads and evictions, while processes are killed.

``python -m tests.faults.soak --seconds 600`` is ``make soak``; a short form is a test. Every
request must be answered in time, with the right numbers or one of the documented errors, and at the
end there must be no more memory or descriptors than at the beginning.
"""

import argparse
import collections
import contextlib
import http.client
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xgboost

from benchmarks.processes import descendants, memory_bytes
from mme.client import Client, Reply
from tests.support import FEATURES, Server, saved, train

MODELS, RESIDENT, BOOSTERS, ROWS = 500, 300, 8, 50
CLIENTS = 6
DEADLINE_SECONDS = 10  # of an invocation, as the server is told
HUNG_SECONDS = DEADLINE_SECONDS + 5
ZIPF = 1.1
PAUSE_SECONDS = (0.5, 2.5)  # between two kills
SETTLE_SECONDS = 12.0  # before memory and descriptors are first looked at
VICTIMS = ("mme-shard", "mme-worker", "mme-try", "gate")
MIB = 1024**2
# Beside 200: absent after an eviction; loaded by another; crashed with its process each time;
# restarting, draining or resting.
DOCUMENTED = {404, 409, 500, 503, 507}


@dataclass
class Tally:
    """What came of the requests."""

    sent: int = 0
    answered: int = 0
    hung: int = 0
    wrong: int = 0
    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    troubles: list[str] = field(default_factory=list)
    memory_bytes: int = 0  # more at the end than at the beginning
    descriptors: int = 0

    def line(self, seconds: float) -> str:
        """The result in one line."""
        kills = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        statuses = ", ".join(f"{count} x {code}" for code, count in sorted(self.statuses.items()))
        sign = "=" if self.sent == self.answered else "!="
        return (
            f"soak: {seconds:.0f} s, {self.sent} requests sent {sign} {self.answered} answered, "
            f"{self.hung} hung, {self.wrong} wrong ({statuses}); killed: {kills}; "
            f"memory {self.memory_bytes / MIB:+.0f} MB, descriptors {self.descriptors:+d}"
        )


class Soak:
    """One run.

    Args:
        server: that is tortured.
        seed: of all that is random.
    """

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._seed = seed
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._loaded: collections.OrderedDict[str, None] = collections.OrderedDict()
        self.tally = Tally()
        rows = np.random.default_rng(seed).normal(size=(ROWS, FEATURES)).astype(np.float32)
        self._bodies = [",".join(map(repr, row.astype(float).tolist())).encode() for row in rows]
        self._expected, self._urls = [], []
        for number in range(BOOSTERS):
            booster = train(seed=number)
            self._urls.append(server.put(f"soak{number}", {"m.ubj": saved(booster)}))
            self._expected.append(booster.predict(xgboost.DMatrix(rows)).tolist())

    def run(self, seconds: float, java_kills: int) -> Tally:
        """Torture the server for so long."""
        clients = [threading.Thread(target=self._be_client, args=(n,)) for n in range(CLIENTS)]
        killer = threading.Thread(target=self._kill, args=(seconds, java_kills))
        for thread in clients:
            thread.start()
        self._over.wait(min(SETTLE_SECONDS, seconds / 4))
        memory, descriptors = self._holdings()
        killer.start()
        self._over.wait(seconds)
        self._over.set()
        for thread in (*clients, killer):
            thread.join(2 * HUNG_SECONDS)
            if thread.is_alive():
                self.tally.troubles.append("a thread does not end")
        # All that was killed has come back before we look again.
        with Client("127.0.0.1", self._server.port) as client:
            for name in list(self._loaded):
                self._ask(client, name, 0)
        memory_now, descriptors_now = self._holdings()
        self.tally.memory_bytes = memory_now - memory
        self.tally.descriptors = descriptors_now - descriptors
        return self.tally

    def _holdings(self) -> tuple[int, int]:
        """Memory and descriptors of what stays, whatever tries models just now."""
        pid = self._server.process.pid
        trying = self._server.processes().get("mme-try", [])
        files = 0
        for process in descendants(pid):
            if process not in trying:
                with contextlib.suppress(OSError):
                    files += len(list(Path(f"/proc/{process}/fd").iterdir()))
        return memory_bytes(pid) - sum(memory_bytes(one) for one in trying), files

    def _be_client(self, number: int) -> None:
        picks = random.Random(f"{self._seed}-{number}")  # noqa: S311  # the same each time
        weights = list(itertools.accumulate(1 / (rank + 1) ** ZIPF for rank in range(MODELS)))
        with Client("127.0.0.1", self._server.port, 3 * HUNG_SECONDS) as client:
            while not self._over.is_set():
                (model,) = picks.choices(range(MODELS), cum_weights=weights)
                self._serve(client, f"s{model}", picks.randrange(ROWS))

    def _serve(self, client: Client, name: str, row: int) -> None:
        """What the platform does for a request: load the model first if need be, and make room."""
        with self._lock:
            here = name in self._loaded
            self._loaded[name] = None
            self._loaded.move_to_end(name)
            old = self._loaded.popitem(last=False)[0] if len(self._loaded) > RESIDENT else None
        if old is not None:
            self._count(lambda: client.unload(old))
        if not here:
            self._load(client, name)
        reply = self._ask(client, name, row)
        if reply is not None and reply.status == 404:
            self._load(client, name)
            self._ask(client, name, row)

    def _load(self, client: Client, name: str) -> None:
        self._count(lambda: client.load(name, self._urls[int(name[1:]) % BOOSTERS]))

    def _ask(self, client: Client, name: str, row: int) -> Reply | None:
        reply = self._count(lambda: client.invoke(name, self._bodies[row]))
        if reply is not None and reply.status == 200:
            right = [self._expected[int(name[1:]) % BOOSTERS][row]]
            if json.loads(reply.body) != right:
                with self._lock:
                    self.tally.wrong += 1
                    self.tally.troubles.append(f"{name}: {reply.body!r} is not {right}")
        return reply

    def _count(self, call: "collections.abc.Callable[[], Reply]") -> Reply | None:
        begun = time.monotonic()
        reply, trouble = None, ""
        try:
            reply = call()
        except (OSError, http.client.HTTPException) as error:
            trouble = f"no answer: {error!r}"
        seconds = time.monotonic() - begun
        with self._lock:
            tally = self.tally
            tally.sent += 1
            if reply is not None:
                tally.answered += 1
                tally.statuses[reply.status] += 1
                if reply.status not in {200, *DOCUMENTED}:
                    trouble = f"status {reply.status}: {reply.body!r}"
                    tally.wrong += 1
                elif reply.status != 200 and set(json.loads(reply.body)) != {
                    "code",
                    "type",
                    "message",
                }:
                    trouble = f"not an error: {reply.body!r}"
                    tally.wrong += 1
            if seconds > HUNG_SECONDS:
                tally.hung += 1
                trouble = trouble or f"answered after {seconds:.1f} s"
            if trouble:
                tally.troubles.append(trouble)
        return reply

    def _kill(self, seconds: float, java_kills: int) -> None:
        picks = random.Random(f"{self._seed}-killer")  # noqa: S311  # the same
        begun = time.monotonic()
        java_at = [seconds * (number + 1) / (java_kills + 1) for number in range(java_kills)]
        while not self._over.wait(picks.uniform(*PAUSE_SECONDS)):
            victim = picks.choice(VICTIMS)
            if java_at and time.monotonic() - begun > java_at[0]:
                java_at.pop(0)
                victim = "java"
            pids = self._server.processes().get(victim)
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(picks.choice(pids), signal.SIGKILL)
                    self.tally.kills[victim] += 1


def failures(tally: Tally, memory_limit: int, descriptors_limit: int) -> list[str]:
    """What is not as it must be."""
    found = list(tally.troubles)
    if tally.sent != tally.answered or tally.hung or tally.wrong or not tally.statuses[200]:
        found.append("not every request was answered well and in time")
    if tally.memory_bytes > memory_limit:
        found.append("memory grew")
    if tally.descriptors > descriptors_limit:
        found.append("descriptors grew")
    return found


def main() -> int:
    """Run, print the line, and end with 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        environ = {"MME_SHARDS": "2", "MME_INVOKE_DEADLINE_SECONDS": str(DEADLINE_SECONDS)}
        server = Server(Path(root), environ | {"MME_ACCESS_LOG": "false"})
        try:
            server.wait_healthy()
            tally = Soak(server, options.seed).run(options.seconds, java_kills=1)
        finally:
            status, _ = server.stop()
    bad = failures(tally, 60 * MIB, 40)
    if status:
        bad.append(f"the server ended with {status}")
    for trouble in bad[:20]:
        sys.stdout.write(f"soak: {trouble}\n")
    sys.stdout.write(tally.line(options.seconds) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
