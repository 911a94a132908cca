"""What a disposable process does: check a file, or have a model answer one request."""

import json
from collections.abc import Sequence
from pathlib import Path

from sagemaker_inference import content_types

from handler.answer import fault_answer
from handler.artifact import Artifact
from handler.disposable import Job, Reply
from handler.envelope import OPERATION
from handler.formats import Format
from handler.memory import heap_bytes
from handler.model import Part, load_model
from handler.model_settings import ModelSettings
from handler.prepare import prepare
from handler.resident import predict, resident
from handler.settings import Settings

_HEAP_SHARE = 3  # halves of its file's size that a model takes, where malloc cannot say
_MODEL_BYTES, _NODE_BYTES = 6144, 64  # that a small model takes, and each of its nodes: measured
_CACHED_BYTES = 64 * 1024  # the most that malloc was seen to give from its cache, for one model


def check(found: Artifact, threads: int = 1) -> tuple[Part, int]:
    """Prepare a model's file, check it as a whole, load it and predict once, and let it go.

    Returns:
        The prepared file, and bytes of memory that the model takes.

    Raises:
        HandlerError: it cannot be served; the message says why.
    """
    prepared = prepare(found)
    part = Part(found.path.name, prepared.data, prepared.traits)
    before = heap_bytes()
    model = load_model([part], threads)
    after = heap_bytes()
    if before is None or after is None:
        return part, model.size * _HEAP_SHARE // 2
    # What earlier models left in malloc's cache and this one was given does not show in the heap.
    unseen = _MODEL_BYTES + _NODE_BYTES * prepared.nodes - (after - before)
    return part, max(model.size // 2, after - before + min(max(0, unseen), _CACHED_BYTES))


def work(settings: Settings, job: Job, files: Sequence[bytes]) -> Reply:
    """Do the job of a disposable process: check a file, or have a model answer one request.

    Raises:
        MemoryError: it takes too much.
    """
    try:
        found = _described(job, files[0])
        if job[OPERATION] == "check":
            (_, data, traits, _), size = check(found[0], settings.threads)
            head = json.dumps({"bytes": size, "traits": traits.to_json()}).encode()
            # What did not change is there already.
            return 200, content_types.JSON, head + b"\n" + (b"" if data == files[0] else data)
        parts = [
            Part(one.path.name, prepared.data, prepared.traits)
            for one in found
            for prepared in [prepare(one)]
        ]
        own = ModelSettings.from_text(job["settings"])
        return predict(resident(parts, own, settings), job, files[1], settings)
    except MemoryError:
        raise
    except Exception as error:
        return fault_answer(error)


def described(models: Sequence[Artifact]) -> dict[str, str]:
    """What a job of a disposable process says of the files that it gets, one after the other."""
    return {
        "models": json.dumps([[one.path.name, one.format.value, len(one.data)] for one in models])
    }


def _described(job: Job, data: bytes) -> list[Artifact]:
    models, start = [], 0
    for name, form, size in json.loads(job["models"]):
        part = data[start : start + size]  # the very object, if it is all
        models.append(Artifact(Path(name), Format(form), part))
        start += size
    return models
