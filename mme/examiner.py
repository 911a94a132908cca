"""The process that looks at files of strangers: a job a line in, an answer a line out.

It is started by ``mme.apart``, never imported there: whatever a file does to XGBoost or to us, it
does here. What it says of a file is what the container's own code says.
"""

import contextlib
import functools
import json
import math
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from handler import directory, trial
from handler.answer import fault_answer
from handler.artifact import Artifact
from handler.booster import runtime_version
from handler.directory import Found
from handler.errors import Fault, HandlerError
from handler.formats import Format, binary, pickles, ubj
from handler.model_settings import ModelSettings
from handler.prepare import Prepared, prepare
from handler.resident import rule
from handler.service import Service
from handler.settings import Settings
from mme import facts, rewrite

_ALLOWED_BYTES, _ALLOWED_TIMES = 1024**3, 60  # of memory, and for each byte of the files
_NO_DEADLINE = math.inf
_FORMATS = {
    Format.JSON: "JSON",
    Format.UBJ: "UBJ",
    Format.BINARY: "old binary",
    Format.PICKLE: "pickle",
}
_VOTED = ("multi:softmax", "binary:hinge")  # objectives whose predictions are classes

Reply = dict[str, Any]


def look(place: str) -> Reply:
    """Look what a directory holds.

    Returns:
        ``models`` (name, format and bytes of each), ``settings`` of mme.json that are not the
        usual ones, ``script`` and whether it ``runs``, and the ``runtime``.

    Raises:
        HandlerError: there is no model in it, or what it holds is refused before any is read.
    """
    settings, found = _settings(), _found(place)
    own = json.loads(found.settings.to_json())
    usual = json.loads(ModelSettings().to_json())
    return {
        "runtime": _runtime(),
        "models": [
            {"name": one.path.name, "format": _FORMATS[one.format], "bytes": len(one.data)}
            for one in found.models
        ],
        "settings": {name: value for name, value in own.items() if value != usual.get(name)},
        "script": str(found.script.relative_to(place)) if found.script else None,
        "runs": settings.allow_scripts,
        "rule": rule(found.settings, settings),
    }


def check(place: str, name: str) -> Reply:
    """Prepare a model, check it, load it and predict once, as the container does.

    Returns:
        What ``facts.of`` says, the traits, ``counted_bytes`` of memory by the container's count,
        ``expected_bytes`` by the nodes, ``changes`` and ``wrapper``.

    Raises:
        HandlerError: the container refuses it.
    """
    one = _model(place, name)
    (_, data, traits), counted = trial.check(one, _settings().threads)
    prepared = prepare(one)
    model = parsed(data)
    return facts.of(model) | {
        "version": _text(prepared.version),
        "objective": traits.objective,
        "features": traits.features,
        "names": list(traits.names),
        "classes": traits.classes,
        "targets": traits.targets,
        "nodes": prepared.nodes,
        "rounds_used": traits.rounds or None,
        "missing": traits.missing if math.isfinite(traits.missing) else None,
        "labels": list(traits.labels),
        "wrapper": _wrapper(one),
        "counted_bytes": counted,
        "expected_bytes": facts.memory_bytes(prepared.nodes),
        "changes": _changes(one, prepared, model),
        "rule": "vote" if traits.objective in _VOTED else "mean",
    }


def guess(place: str, name: str) -> Reply:
    """Tell what can be told of a model that the container refuses.

    Raises:
        HandlerError: nothing can be told.
    """
    try:
        return facts.of(_before(_model(place, name)))
    except Exception:  # what is wrong with it has been said
        raise HandlerError(Fault.BAD_MODEL, f"{name} cannot be read") from None


def load(place: str) -> Reply:
    """Load all that a directory holds, as the container does.

    Raises:
        HandlerError: the container refuses it.
    """
    Service(_settings()).load("", Path(place), _NO_DEADLINE)
    return {}


def convert(place: str, name: str, out: str) -> Reply:
    """Write a model again, as ``rewrite.rewrite`` does, after it was seen to predict the same.

    Raises:
        HandlerError: the container refuses it, or what was written predicts something else.
    """
    one = _model(place, name)
    prepared = prepare(one)
    origin = f"{_FORMATS[one.format]} of XGBoost {_text(prepared.version) or 'unknown'}"
    data = rewrite.rewrite(one.data, prepared, origin, parsed(prepared.data))
    again = prepare(Artifact(Path("model.ubj"), Format.UBJ, data))
    rows = rewrite.rows(parsed(prepared.data), prepared.traits)
    rewrite.compare([(name, prepared.data, prepared.traits)], [(name, data, again.traits)], rows)
    Path(out).write_bytes(data)
    return {
        "origin": origin,
        "wrapper": _wrapper(one),
        "version": _text(again.version),
        "same": data == one.data,
        "rounds": facts.of(parsed(prepared.data))["rounds"],
        "rounds_used": prepared.traits.rounds or None,
        "rows": len(rows),
        "bytes": len(data),
        "lost": rewrite.lost(prepared.traits, again.traits),
    }


def compare(place: str, other: str) -> Reply:
    """Compare what two directories predict together, by the rule that they have.

    Raises:
        HandlerError: they are not the same bits, or one does not load.
    """
    parts = []
    for here in (place, other):
        found = _found(here)
        prepared = [(one.path.name, prepare(one)) for one in found.models]
        parts.append([(name, ready.data, ready.traits) for name, ready in prepared])
    how = rule(_found(place).settings, _settings())
    rows = rewrite.rows(parsed(parts[0][0][1]), parts[0][0][2])
    rewrite.compare(parts[0], parts[1], rows, how)
    return {"rows": len(rows)}


def parsed(data: bytes) -> Any:
    """A model's file as a dict; JSON or UBJ.

    Raises:
        ValueError, UbjError: it is neither.
    """
    if data.startswith(b"{L"):
        return ubj.loads(data)
    try:
        return orjson.loads(data)
    except ValueError:  # it does not take the NaN that XGBoost writes for a category
        return json.loads(data)


def _before(one: Artifact) -> Any:
    """A model as its file has it, before anything is repaired."""
    if one.format is Format.BINARY:
        return binary.read(one.data)
    if one.format is not Format.PICKLE:
        return parsed(one.data)
    return _of_handle(pickles.read(one.data).handle)


def _of_handle(handle: bytes) -> Any:
    """The model in a pickled Booster's bytes, which were read before."""
    if handle.startswith(b"CONFIG-offset:"):
        start = len(b"CONFIG-offset:") + 8
        size = int.from_bytes(handle[start - 8 : start], "little")
        return binary.read(handle[start : start + size])
    if handle.startswith(b"{"):
        model = parsed(handle)
        return model.get("Model", model)
    return binary.read(handle)


def _changes(one: Artifact, prepared: Prepared, model: Any) -> list[str]:
    if prepared.data == one.data:
        return []
    try:
        return facts.changes(_before(one), model)
    except (AttributeError, KeyError, TypeError, ValueError):
        return []  # it was served, so this is no more than what is told of it


def _wrapper(one: Artifact) -> str | None:
    return (pickles.read(one.data).wrapper or "Booster") if one.format is Format.PICKLE else None


def _text(version: Any) -> str | None:
    return ".".join(map(str, version)) if version else None


def _runtime() -> str:
    return _text(runtime_version()) or ""


def _settings() -> Settings:
    return Settings.from_environ(os.environ)


@functools.lru_cache(maxsize=2)
def _found(place: str) -> Found:
    found = directory.find(place, _settings().program)
    _bound(found.size)
    return found


def _model(place: str, name: str) -> Artifact:
    return next(one for one in _found(place).models if one.path.name == name)


def _bound(size: int) -> None:
    """Let memory grow by what files of so many bytes can explain."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _ALLOWED_BYTES + _ALLOWED_TIMES * size
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


OPERATIONS: Mapping[str, Callable[..., Reply]] = {
    operation.__name__: operation for operation in (look, check, guess, load, convert, compare)
}


def main() -> None:
    """Do jobs until there are no more."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # the kernel is to take this process, and not the command
        Path("/proc/self/oom_score_adj").write_text("1000")
    # What XGBoost prints must not stand among the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        for line in sys.stdin.buffer:
            answers.write(orjson.dumps(_done(json.loads(line))) + b"\n")
            answers.flush()


def _done(job: dict[str, Any]) -> Reply:
    try:
        return OPERATIONS[job.pop("operation")](**job)
    except MemoryError:
        _bound(0)
        return {"refused": "the model is damaged: it wants more memory than its size explains"}
    except Exception as error:  # the boundary: each becomes an answer
        return {"refused": json.loads(fault_answer(error).body)["message"]}


if __name__ == "__main__":
    main()
