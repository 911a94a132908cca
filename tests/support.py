"""What tests share: the real container as a process, and real models for it."""

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from benchmarks.processes import descendants
from mme.process import ServeProcess

START_SECONDS = 60
STOP_SECONDS = 40
SOON_SECONDS = 20  # for what is there in an instant, but for a machine that others load too
FEATURES = 6


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the condition's first true value; fail when the time is over."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if value := condition():
            return value
        time.sleep(0.01)
    if value := condition():  # the machine may have stalled meanwhile
        return value
    pytest.fail(f"{what} not within {seconds} s")


def sockets(pids: Iterable[int]) -> set[str]:
    """The inodes of the sockets that these processes have open, as /proc/net names them."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):  # it has ended meanwhile
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                    if (name := str(descriptor.readlink())).startswith("socket:["):
                        inodes.add(name.removeprefix("socket:[").removesuffix("]"))
    return inodes


def alive(pids: list[int]) -> dict[int, str]:
    """Those of the processes that are there still, zombies apart, with their command lines."""
    there = {}
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                there[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return there


class Server(ServeProcess):
    """A running ``mme serve`` with a model root that tests fill."""

    def processes(self) -> dict[str, list[int]]:
        """Its living processes, by what they are."""
        found: dict[str, list[int]] = {}
        for pid in alive(descendants(self.process.pid)):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command = Path(f"/proc/{pid}/cmdline").read_text()
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if "ModelServer" in command:
                    name = "java"
                elif "container.gate" in command:
                    name = "gate"
                elif pid == self.process.pid:
                    name = "supervisor"
                found.setdefault(name, []).append(pid)
        return found

    def pid(self, name: str) -> int:
        """The one process of that name: java, gate, mme-worker, mme-shard, mme-try.

        What has just been forked has its parent's name for an instant.
        """

        def one() -> int | None:
            pids = self.processes().get(name, [])
            return pids[0] if len(pids) == 1 else None

        return int(wait_until(one, SOON_SECONDS, f"one {name}"))

    def put(self, name: str, files: dict[str, bytes]) -> str:
        """Lay a model's files where the platform would, and return the directory's path."""
        directory = self.root / name / "model"
        directory.mkdir(parents=True)
        for file, data in files.items():
            (directory / file).write_bytes(data)
        return str(directory)


Serve = Callable[..., Server]


def train(objective: str = "reg:squarederror", seed: int = 0, **parameters: Any) -> xgboost.Booster:
    """A small real model on six features, some values missing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(200, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    classes = parameters.get("num_class", 2)
    score = np.nansum(rows, axis=1)
    labels = score if objective.startswith("reg:") else np.digitize(score, range(classes - 1))
    matrix = xgboost.DMatrix(rows, label=labels)
    settings = {"objective": objective, "max_depth": 4, "nthread": 1, "seed": seed, **parameters}
    return xgboost.train(settings, matrix, num_boost_round=10)


def saved(booster: xgboost.Booster, form: str = "ubj") -> bytes:
    """The booster's file, as ``save_model`` writes it."""
    return bytes(booster.save_raw(form))


def error_of(status: int, body: bytes) -> str:
    """Check that a body is an error as the policy has it, and return its message."""
    error = json.loads(body)
    assert set(error) == {"code", "type", "message"}
    assert error["code"] == status
    assert "Traceback" not in error["message"]
    assert 'File "' not in error["message"]
    return str(error["message"])
