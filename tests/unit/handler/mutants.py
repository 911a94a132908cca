"""Damages sound models and tries them: the checks first, then XGBoost with those that they let in.

    python -m tests.unit.handler.mutants MODEL FIRST LAST

tries the mutants of the seeds from FIRST to LAST - 1 and prints a line of JSON for each: the seed,
what was changed, and ``refused``, ``served``, or what the process died of. A seed is one mutant for
ever. A process tries many, one after another, and another takes over where one dies.
"""

import json
import math
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from handler.artifact import Artifact
from handler.errors import HandlerError
from handler.formats import ubj
from handler.formats.sniff import sniff
from handler.memory import MIB
from handler.model import Part, load_model
from handler.prepare import prepare
from tests.unit.handler import writing

_SECONDS = 10.0  # for one mutant
_MOST_BYTES = 512 * MIB  # that it may take
_WHOLE = (-1, -2, 0, 1, 10**6, 2**31 - 1)
_FLOATS = (math.inf, -math.inf, math.nan, 1e38)
_TEXTS = ("", "x", "inf", "nan", "1E38", "[5E-1,5E-1]")


def mutant(sound: bytes, seed: int) -> tuple[str, bytes]:
    """What was changed in a sound model, and the model that it became."""
    random = Random(seed)  # noqa: S311  # to be the same again
    if random.random() < 0.2:
        return _flipped(sound, random)
    in_ubj = sound.startswith(b"{L")
    document = ubj.loads(sound) if in_ubj else json.loads(sound)
    what = [_change(document, random) for _ in range(random.choice((1, 1, 2)))]
    write = random.choice((writing.ubj, writing.as_json)) if in_ubj else writing.as_json
    return f"{', '.join(what)} ({write.__name__})", write(document)


def _flipped(sound: bytes, random: Random) -> tuple[str, bytes]:
    data = bytearray(sound)
    places = [random.randrange(len(data)) for _ in range(random.choice((1, 1, 2, 4)))]
    for at in places:
        data[at] = random.randrange(256)
    return f"bytes {places}", bytes(data)


def _change(document: Any, random: Random) -> str:
    """Change one thing; what there is once is changed as often as what each tree has."""
    places: dict[str, list[tuple[str, Any, Any]]] = {}
    for name, place in _places(document, "", ""):
        places.setdefault(name, []).append(place)
    path, parent, key = random.choice(places[random.choice(sorted(places))])
    if random.random() < 0.2:
        del parent[key]
        return f"no {path}"
    parent[key], what = _other(parent[key], random)
    return f"{path} {what}"


def _places(value: Any, name: str, path: str) -> Iterator[tuple[str, tuple[str, Any, Any]]]:
    """All that can be changed: the last key that leads to it, and its way, its parent and key."""
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        here = key if isinstance(key, str) else name
        yield here, (f"{path}.{key}", value, key)
        if isinstance(item, dict) or (
            isinstance(item, list) and isinstance(next(iter(item), 0), dict)
        ):
            yield from _places(item, here, f"{path}.{key}")


def _other(value: Any, random: Random) -> tuple[Any, str]:
    """Something else in place of a value, and what it is."""
    other: Any
    match value:
        case dict():
            return [], "is a list"
        case np.ndarray():
            items, what = _other(value.tolist(), random)
            return np.array(items).astype(value.dtype), what
        case list():
            return _other_list(value, random)
        case str():
            bare = value.strip("[]")
            number = int(bare) if bare.isdigit() else 3
            other = random.choice((*_WHOLE, number, number + 1, *_TEXTS))
            other = value.replace(bare, str(other)) if bare else str(other)
        case float():
            other = random.choice(_FLOATS)
        case _:
            other = random.choice(_WHOLE)
    return other, f"is {other!r}"


def _other_list(items: list[Any], random: Random) -> tuple[list[Any], str]:
    items = list(items)
    at = random.randrange(len(items) + 1)
    if at == len(items):  # or it is empty
        number = random.choice(_WHOLE)
        return [*items, number], f"ends with {number}"
    how = random.choice(("other", "other", "other", "without", "twice"))
    if how == "without":
        del items[at]
    elif how == "twice":
        items.insert(at, items[at])
    elif isinstance(items[at], int):
        items[at] = random.choice((*_WHOLE, len(items), len(items) + 1))
        how = str(items[at])
    else:
        items[at], how = _other(items[at], random)
    return items, f"[{at}] {how}"


def _verdict(data: bytes) -> str:
    """What becomes of a model, as in the service; it predicts with rows of several kinds."""
    form = sniff(data)
    if form is None:
        return "refused"
    try:
        prepared = prepare(Artifact(Path("m"), form, data))
        model = load_model([Part("m", prepared.data, prepared.traits)], threads=1)
    except (HandlerError, MemoryError):
        return "refused"
    for value in (0, 1, -1e30, 1e30):
        model.predict(np.full((1, model.num_features), value, dtype=np.float32))
    return "served"


def _try_all(sound: bytes, seeds: range, report: int) -> None:
    """Be the process that tries mutants, until one of them is its end."""
    status = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        for seed in seeds:
            _, data = mutant(sound, seed)
            signal.setitimer(signal.ITIMER_REAL, _SECONDS)  # which is its end
            os.write(report, f"{_verdict(data)}\n".encode())
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """Try mutants, and say what became of them."""
    sound = Path(sys.argv[1]).read_bytes()
    seeds = range(int(sys.argv[2]), int(sys.argv[3]))
    while seeds:
        read, write = os.pipe()
        if not (pid := os.fork()):
            _try_all(sound, seeds, write)
        os.close(write)
        with os.fdopen(read) as report:
            verdicts = report.read().split()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            verdicts.append(signal.Signals(-code).name if code < 0 else f"exit status {code}")
        for seed, verdict in zip(seeds, verdicts, strict=False):
            print(json.dumps([seed, mutant(sound, seed)[0], verdict]))  # noqa: T201  # a report
        seeds = seeds[len(verdicts) :]


if __name__ == "__main__":
    main()
