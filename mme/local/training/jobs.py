"""All training jobs: those that run, and what is known of those that ran."""

import asyncio
import contextlib
import shutil
from pathlib import Path

from mme.local.aws.objects import Objects
from mme.local.control import errors
from mme.local.control.resources import TRAINING_JOB, Fields
from mme.local.control.store import Store
from mme.local.training import document as documents
from mme.local.training.document import CHANGING
from mme.local.training.host import end_left
from mme.local.training.job import Job

LOGS = "@training"  # in the place of an endpoint's name, which has no such letter
_LOST = "InternalServerError: mme local was killed while the job ran; its checkpoints are kept."


class Jobs:
    """The jobs.

    Args:
        store: keeps their documents.
        objects: of S3.
        folder: for the jobs' folders.
        logs: the folder of all logs.
        docker: whether containers are to be Docker's, which these cannot be.
    """

    def __init__(
        self, store: Store, objects: Objects, folder: Path, logs: Path, docker: bool = False
    ) -> None:
        self._docker = docker
        self._store, self._objects, self._folder, self._logs = store, objects, folder, logs
        self._running: dict[str, tuple[Job, asyncio.Task[None]]] = {}

    def restore(self) -> None:
        """Fail the jobs that a process left which was killed, and end what is left of them."""
        for root in self._folder.glob("*/*/"):
            end_left(root)
        shutil.rmtree(self._folder, ignore_errors=True)
        for found in self._store.all(TRAINING_JOB.key):
            if found["TrainingJobStatus"] in CHANGING:
                self._save(documents.failed(found, _LOST))

    async def create(self, document: Fields) -> None:
        """Begin with a new job.

        Raises:
            RequestError: it would be a container of Docker.
        """
        if self._docker:
            raise errors.not_emulated("Training in containers (--docker)")
        name: str = document["TrainingJobName"]
        self._save(document)
        region = document["TrainingJobArn"].split(":")[3]
        job = Job(
            *(document, self._save, self._objects),
            self._folder / name,
            self._logs / region / LOGS / name,
        )
        task = asyncio.create_task(job.run())
        self._running[name] = (job, task)
        task.add_done_callback(lambda _: self._running.pop(name, None))

    def _save(self, document: Fields) -> None:
        self._store.put(TRAINING_JOB.key, document["TrainingJobName"], document)

    async def stop(self, name: str) -> None:
        """Begin to stop a job, if it runs and is not being stopped."""
        if name in self._running and not self._running[name][0].is_stopping:
            self._running[name][0].stop()

    async def settled(self, name: str, seconds: float) -> None:
        """Return when a job has ended, or the time is over."""
        if name in self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._running[name][0].settled(), seconds)

    async def close(self) -> None:
        """End all of them."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
