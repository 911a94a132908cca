"""What a model goes through before it is let in: found, read, tried where it can do no harm."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handler import directory, forest
from handler.answer import Answer, PassedOnError
from handler.artifact import Artifact
from handler.directory import Found
from handler.disposable import DiedError, Disposables, Job
from handler.envelope import OPERATION
from handler.errors import Fault, HandlerError
from handler.formats import Format
from handler.memory import Room
from handler.model import FIRST, Part
from handler.model_settings import ModelSettings
from handler.resident import memory_of_forest, rule, suits_forest
from handler.settings import Settings
from handler.traits import Traits
from handler.trial import check, described, work


class Admission:
    """The way of a model's files into a worker process.

    Args:
        settings: of the container.
        room: for models.
    """

    def __init__(self, settings: Settings, room: Room) -> None:
        self._settings, self._room = settings, room
        self._disposables: Disposables | None = None

    def use(self, disposables: Disposables) -> None:
        """Try models in disposable processes from now on, instead of in this one."""
        self._disposables = disposables

    def find(self, place: Path) -> Found:
        """The files of a directory, of which those are chosen that count.

        Raises:
            HandlerError: there is no model, or it has a script that may not be run.
        """
        found = directory.find(place, self._settings.program, self._room.check)
        if found.script is not None and not self._settings.allow_scripts:
            raise HandlerError(
                Fault.BAD_MODEL,
                f"it has a script, {directory.CODE}/{self._settings.program}, which is not run: "
                "set MME_ALLOW_SCRIPTS=1, or remove it",
            )
        if rule(found.settings, self._settings) == FIRST:
            return replace(found, models=found.models[:1])
        return found

    def prepared(self, found: Found, until: float, with_forest: bool) -> tuple[list[Part], int]:
        """Read the files where they can do no harm, and learn how much memory they take.

        A forest's reader can do none here; what it does not take is checked in another process.

        Args:
            found: the files.
            until: CLOCK_MONOTONIC seconds; later nobody waits for it.
            with_forest: a forest may have it.

        Raises:
            HandlerError: a file cannot be served; the message says why.
        """
        parts, size = [], 0
        for one in found.models:
            checked = self._as_forest(one, found.settings) if with_forest else None
            part, taken = checked or self._checked(one, until)
            parts.append(part)
            size += taken
        return parts, size

    def _as_forest(self, one: Artifact, own: ModelSettings) -> tuple[Part, int] | None:
        if not self._settings.forest or one.format not in (Format.UBJ, Format.JSON):
            return None
        read = forest.read(one.data)
        if read is None or not suits_forest(read[1], own, self._settings):
            return None
        return Part(one.path.name, one.data, read[1], read[0]), memory_of_forest(read[0], read[1])

    def _checked(self, one: Artifact, until: float) -> tuple[Part, int]:
        if self._disposables is None:
            return check(one, self._settings.threads)
        job = {OPERATION: "check"} | described([one])
        answer = self.in_disposable(job, [one.data], until)
        if answer.status != 200:
            raise PassedOnError(answer)
        head, _, data = answer.body.partition(b"\n")
        said = json.loads(head)
        traits = Traits.from_json(said["traits"])
        return Part(one.path.name, data or one.data, traits), said["bytes"]

    def in_disposable(self, job: Job, files: Sequence[bytes], until: float) -> Answer:
        """Have work done in a process that may die of it, without which it is done in this one.

        Raises:
            HandlerError: it took too long, or the process died.
            MemoryError: of too little memory.
        """
        check = job[OPERATION] == "check"
        if self._disposables is None:
            return Answer(*work(self._settings, job, files))
        begun = time.monotonic()
        try:
            return Answer(*self._disposables.run(job, files, until, apart=not check))
        except TimeoutError:
            seconds = round(time.monotonic() - begun, 1)
            if check:
                sentence = f"the model did not load in {seconds} s"
                raise HandlerError(Fault.BAD_MODEL, sentence) from None
            sentence = f"no answer in {seconds} s: the model hangs"
            raise HandlerError(Fault.MODEL_CRASHED, sentence) from None
        except DiedError as died:
            if str(died) == "out of memory":
                raise MemoryError from None
            raise HandlerError(
                Fault.MODEL_CRASHED, f"the model crashed ({died}); save it again or remove it"
            ) from None
