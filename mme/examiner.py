"""The process that looks at files of strangers: a job a line in, an answer a line out.

It is started by ``mme.apart``, never imported there: whatever a file does to XGBoost or to us, it
does here. What it says of a file is what the container's own code says.
"""

import contextlib
import json
import math
import os
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from handler import directory, memory, trial
from handler.answer import fault_answer
from handler.artifact import Artifact
from handler.directory import Found
from handler.errors import HandlerError
from handler.formats import Format, binary, pickles, ubj
from handler.formats.sniff import sniff
from handler.model_settings import ModelSettings
from handler.prepare import RUNTIME, Prepared, prepare
from handler.resident import rule
from handler.service import Service
from handler.settings import Settings
from handler.traits import Traits
from mme import facts, rewrite

_ALLOWED_BYTES, _ALLOWED_TIMES = 1024**3, 60  # of memory, and for each byte of the files
_MOST_OF_AVAILABLE = 0.8
_ANY_RELEASE = (2**31, 0, 0)  # of a runtime for which no file is too new
_NO_DEADLINE = math.inf
_FORMATS = {
    Format.JSON: "JSON",
    Format.UBJ: "UBJ",
    Format.BINARY: "old binary",
    Format.PICKLE: "pickle",
}
_CONFIG, _CONFIG_BYTES = b"CONFIG-offset:", 8  # before a binary in a pickle of 1.0 to 1.2
_IN_BINARY_BEFORE = (1, 3, 0)  # models in pickles
_VOTED = ("multi:softmax", "binary:hinge")  # objectives whose predictions are classes

Reply = dict[str, Any]


def inspect(place: str) -> Reply:
    """Look at all that a directory holds, as the container does when it loads it.

    Returns:
        ``models`` (a dict each, as ``_told`` makes it), ``settings`` of mme.json that are not the
        usual ones, ``script``, ``ensemble`` (how several models answer as one), ``runtime`` and
        ``error``, which is None if the container would load it.

    Raises:
        HandlerError: there is no model in it, or what it holds is refused before any is read.
    """
    settings, found = _settings(), _found(place)
    models = [_told(one, settings) for one in found.models]
    own, usual = (json.loads(one.to_json()) for one in (found.settings, ModelSettings()))
    if found.script and settings.allow_scripts:
        error = None  # what it does with the files is its own, and it is not run here
    elif found.script or len(models) > 1:
        error = _error_of_load(place, settings)
    else:
        error = models[0]["error"]
    voted = any(model.get("objective") in _VOTED for model in models)
    usual_rule = "vote" if voted else "mean"
    return {
        "runtime": _text(RUNTIME),
        "models": models,
        "settings": {name: value for name, value in own.items() if value != usual[name]},
        "script": str(found.script.relative_to(place)) if found.script else None,
        "ensemble": (rule(found.settings, settings) or usual_rule) if len(models) > 1 else None,
        "error": error,
    }


def _told(one: Artifact, settings: Settings) -> Reply:
    """What is known of a model, and whether it loads: prepared, checked and asked once.

    Returns:
        ``name``, ``format``, ``bytes`` and ``error``, the container's sentence or None; and, as far
        as it makes sense at all, what ``facts.of`` says, its traits, ``version``, ``nodes``,
        ``wrapper`` and ``repaired``; and ``memory_bytes`` by the container's count, if it loads.
    """
    told: Reply = {
        "name": one.path.name,
        "format": _FORMATS[one.format],
        "bytes": len(one.data),
        "error": None,
    }
    try:
        _, told["memory_bytes"] = trial.check(one, settings.threads)
    except HandlerError as error:
        told["error"] = error.message
    # Of what is too new for this runtime, much can be told all the same.
    with contextlib.suppress(HandlerError):
        told |= _known(one, prepare(one, _ANY_RELEASE))
    return told


def _known(one: Artifact, prepared: Prepared) -> Reply:
    traits, served = prepared.traits, _parsed(prepared.data)
    written = facts.of(_as_written(one))
    changed = tuple(served["version"]) != prepared.version or (
        one.format in (Format.JSON, Format.UBJ) and prepared.data != one.data
    )
    return written | {
        "version": _release(prepared),
        "objective": traits.objective,
        "features": traits.features,
        "names": list(traits.names),
        "classes": traits.classes,
        "targets": traits.targets,
        "nodes": prepared.nodes,
        "rounds_used": _rounds_used(traits, served, written["rounds"]),
        "missing": traits.missing if math.isfinite(traits.missing) else None,
        "labels": list(traits.labels),
        "wrapper": _wrapper(one),
        "repaired": changed,
    }


def _rounds_used(traits: Traits, served: Any, rounds: int) -> int | None:
    """How many rounds a prediction uses, if not all: those of an old file may be cut already."""
    used = traits.rounds or (facts.of(served)["rounds"] - 1 if traits.added else 0)
    return used if 0 < used < rounds else None


def _error_of_load(place: str, settings: Settings) -> str | None:
    try:
        Service(settings).load("", Path(place), _NO_DEADLINE)
    except HandlerError as error:
        return error.message
    return None


def convert(place: str, name: str, form: str, out: str) -> Reply:
    """Write a model again, if that is seen to predict the same.

    Args:
        place: the directory.
        name: of the file in it.
        form: ``json`` or ``ubj``.
        out: the file that is written.

    Returns:
        ``origin`` (what it was, in words), ``form`` and ``runtime`` (what it is now), ``same``
        (whether it was that already), ``rounds``, ``rounds_used``, ``rows`` that were compared,
        and what a file has no place for: ``missing``, ``labels``, and how many trees at the end are
        ``added``.

    Raises:
        HandlerError: the container refuses it, or what was written predicts something else.
    """
    one = next(one for one in _found(place).models if one.path.name == name)
    prepared, new_form = prepare(one), Format(form)
    served, traits, wrapper = _parsed(prepared.data), prepared.traits, _wrapper(one)
    kind = f"{_FORMATS[one.format]}{f' of {wrapper}' if wrapper else ''}"
    origin = f"{kind}, XGBoost {_release(prepared)}"
    data = rewrite.rewrite(one.data, prepared, new_form, origin, served)
    again = prepare(Artifact(one.path, new_form, data))
    asked = rewrite.rows(served, traits)
    rewrite.check_same(name, prepared, again, asked)
    Path(out).write_bytes(data)
    rounds = facts.of(_as_written(one))["rounds"]
    usual = tuple(range(len(traits.labels)))
    return {
        "origin": origin,
        "form": _FORMATS[new_form],
        "runtime": _text(RUNTIME),
        "same": data == one.data,
        "rounds": rounds,
        "rounds_used": _rounds_used(traits, served, rounds),
        "rows": len(asked),
        "missing": traits.missing if math.isfinite(traits.missing) else None,
        "labels": [] if traits.labels == usual else list(traits.labels),
        "added": traits.added,
    }


def _as_written(one: Artifact) -> Any:
    """A model as its file has it, before anything is put right; it was prepared, so it is sound."""
    data, form = one.data, one.format
    if form is Format.PICKLE:
        data = pickles.read(data).handle
        if data.startswith(_CONFIG):
            start = len(_CONFIG) + _CONFIG_BYTES
            size = int.from_bytes(data[len(_CONFIG) : start], "little")
            return binary.read(data[start : start + size])
        form = sniff(data) or form
    if form is Format.BINARY:
        return binary.read(data)
    model = _parsed(data)
    return model.get("Model", model)  # the first only in a pickle


def _parsed(data: bytes) -> Any:
    """A model's data as ``prepare`` gives it, as a dict."""
    if data.startswith(b"{L"):
        return ubj.loads(data)
    try:
        return orjson.loads(data)
    except ValueError:  # it does not take the NaN that XGBoost writes for a category
        return json.loads(data)


def _wrapper(one: Artifact) -> str | None:
    return (pickles.read(one.data).wrapper or "Booster") if one.format is Format.PICKLE else None


def _release(prepared: Prepared) -> str:
    """A file's writer, as far as it has it: the old binary format has no third figure."""
    old = prepared.format is Format.BINARY or (
        prepared.format is Format.PICKLE and prepared.version < _IN_BINARY_BEFORE
    )
    if old and prepared.version == binary.OLDEST:
        return "before 1.0"
    return _text(prepared.version[:2] if old else prepared.version)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _settings() -> Settings:
    return Settings.from_environ(os.environ)


def _found(place: str) -> Found:
    bound = _Bound()
    bound(0)
    return directory.find(place, _settings().program, bound)


class _Bound:
    """Lets memory grow by what the files that are read can explain, and the machine has."""

    def __init__(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        self._begun_with = pages * resource.getpagesize()
        self._available = int(memory.available_bytes()[0] * _MOST_OF_AVAILABLE)
        self._files = 0

    def __call__(self, size: int) -> None:
        """Count a file of so many bytes that is about to be read."""
        self._files += size
        allowed = _ALLOWED_BYTES + _ALLOWED_TIMES * self._files
        most = self._begun_with + min(allowed, self._available)
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


OPERATIONS: Mapping[str, Callable[..., Reply]] = {
    operation.__name__: operation for operation in (inspect, convert)
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
            answers.write(json.dumps(_done(json.loads(line))).encode() + b"\n")
            answers.flush()


def _done(job: dict[str, Any]) -> Reply:
    try:
        return OPERATIONS[job.pop("operation")](**job)
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)  # for the answer
        return {"refused": "the model wants more memory than its size explains, or than there is"}
    except Exception as error:  # the boundary: each becomes an answer
        return {"refused": json.loads(fault_answer(error).body)["message"]}


if __name__ == "__main__":
    main()
