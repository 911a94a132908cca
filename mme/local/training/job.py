"""One training job: ``Starting → Downloading → Training → Uploading → Completed``, or less."""

import asyncio
import contextlib
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mme.local.aws.objects import Objects
from mme.local.control.resources import Fields
from mme.local.training import document as documents
from mme.local.training import storage
from mme.local.training.document import IN_PROGRESS, STOPPING
from mme.local.training.host import Host
from mme.local.training.plan import Plan, shared_out
from mme.local.training.storage import JobError, Seen

logger = logging.getLogger(__name__)
_LOOK_SECONDS = 0.1  # between two looks at the hosts
_SYNC_SECONDS = 0.5  # between two copies of their checkpoints
_SHUTDOWN_SECONDS = 8.0  # for hosts to end when we do


class Job:
    """A job that runs.

    Args:
        document: what Describe answers.
        save: keeps it.
        objects: of S3.
        folder: for its hosts' folders; removed at the end.
        logs: the folder for what the hosts write.
    """

    def __init__(
        self,
        document: Fields,
        save: Callable[[Fields], None],
        objects: Objects,
        folder: Path,
        logs: Path,
    ) -> None:
        self.document, self._save, self._objects, self._folder = document, save, objects, folder
        self.plan = Plan.from_document(document)
        region = document["TrainingJobArn"].split(":")[3]
        environment = {
            "AWS_REGION": region,
            "TRAINING_JOB_NAME": self.plan.name,
            "TRAINING_JOB_ARN": document["TrainingJobArn"],
        }
        begun = int(document["CreationTime"])  # as in the names of the platform's log streams
        self._hosts = [
            Host(self.plan, number, folder / name, logs / f"{name}-{begun}.log", environment)
            for number, name in enumerate(self.plan.hosts)
        ]
        self._stopping, self._over = asyncio.Event(), asyncio.Event()
        self._seen: Seen = {}

    async def run(self) -> None:
        """Run it to its end, whatever that is."""
        try:
            await self._run()
        except JobError as error:
            self._become(documents.failed(self.document, str(error)))
        except asyncio.CancelledError:
            await self._end(_SHUTDOWN_SECONDS)
            words = "InternalServerError: mme local ended while the job ran; checkpoints are kept."
            self._become(documents.failed(self.document, words))
            raise
        except Exception as error:
            logger.exception("training job %s", self.plan.name)
            await self._end(_SHUTDOWN_SECONDS)
            self._become(documents.failed(self.document, f"InternalServerError: {error}"))
        finally:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._over.set()

    @property
    def is_stopping(self) -> bool:
        """Whether somebody has asked it to stop."""
        return self._stopping.is_set()

    async def settled(self) -> None:
        """Return when it has ended."""
        await self._over.wait()

    def stop(self) -> None:
        """Begin to stop it."""
        self._become(documents.moved(self.document, STOPPING, "Stopping"))
        self._stopping.set()

    def _become(self, document: Fields) -> None:
        self.document = document
        self._save(document)

    def _go_on(self, secondary: str) -> None:
        """Be in the next state, unless it is being stopped: that is all that is said then."""
        if not self._stopping.is_set():
            self._become(documents.moved(self.document, IN_PROGRESS, secondary))

    async def _run(self) -> None:
        self._go_on("Downloading")
        await asyncio.to_thread(self._download)
        in_time = True
        if not self._stopping.is_set():
            self._go_on("Training")
            in_time = await self._train()
        if in_time and not self._stopping.is_set():
            self._go_on("Uploading")
        await asyncio.to_thread(self._upload)
        artifacts = {"S3ModelArtifacts": self.plan.model_url}
        status, secondary = "Completed", "Completed"
        if self._stopping.is_set():
            status, secondary = "Stopped", "Stopped"
        elif not in_time:
            status, secondary = "Stopped", "MaxRuntimeExceeded"
        metrics = await asyncio.to_thread(lambda: list(self._final_metrics()))
        more = {"FinalMetricDataList": metrics} if metrics else {}
        self._become(
            documents.moved(self.document, status, secondary, ModelArtifacts=artifacts, **more)
        )

    def _download(self) -> None:
        plan, objects = self.plan, self._objects
        storage.check_bucket(objects, plan.output_url)
        for host in self._hosts:
            host.lay_out()
        for channel in plan.channels:
            keys = storage.data_keys(objects, channel.url)
            shares = shared_out(keys, len(self._hosts), channel.sharded)
            for host, share in zip(self._hosts, shares, strict=True):
                folder = host.root / "input" / "data" / channel.name
                storage.download(objects, channel.url, share, folder)
        if (url := plan.checkpoint_url) is not None:
            storage.check_bucket(objects, url)
            prefix = f"{url.rstrip('/')}/"
            for host in self._hosts:
                kept = storage.keys(objects, prefix)
                storage.download(objects, prefix, kept, host.root / "checkpoints")

    async def _train(self) -> bool:
        """Run the hosts; whether they ended in time.

        Raises:
            JobError: one failed.
        """
        give_up = time.monotonic() + self.plan.max_run_seconds
        synced = time.monotonic()
        in_time = True  # also when it ends while it is looked at
        for host in self._hosts:
            host.start()
        while in_time and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK_SECONDS)
            statuses = [host.status for host in self._hosts]
            if any(statuses) or None not in statuses:  # one has failed, or all have ended
                break
            if time.monotonic() - synced > _SYNC_SECONDS:
                await asyncio.to_thread(self._sync)
                synced = time.monotonic()
            in_time = time.monotonic() < give_up
        bad = [host for host in self._hosts if host.status]
        await self._end()
        if bad and in_time and not self._stopping.is_set():
            await asyncio.to_thread(self._upload_details)
            raise JobError(bad[0].failure())
        return in_time

    async def _end(self, seconds: float | None = None) -> None:
        """End all hosts, and keep what they have left as checkpoints."""
        more = () if seconds is None else (seconds,)
        await asyncio.gather(*(host.stop(*more) for host in self._hosts))
        await asyncio.to_thread(self._sync)

    def _sync(self) -> None:
        url = self.plan.checkpoint_url
        for host in self._hosts if url is not None else ():
            with contextlib.suppress(FileNotFoundError):
                storage.upload(self._objects, host.root / "checkpoints", str(url), self._seen)

    def _upload(self) -> None:
        models = [host.root / "model" for host in self._hosts]
        if self.plan.compressed:
            storage.upload_archive(self._objects, models, self.plan.model_url)
        else:
            for folder in models:
                storage.upload(self._objects, folder, self.plan.model_url, {})
        self._upload_details()

    def _upload_details(self) -> None:
        """Keep ``output/data`` of all hosts, if there is anything."""
        folders = [host.root / "output" / "data" for host in self._hosts]
        folders = [folder for folder in folders if any(folder.iterdir())]
        if folders and self.plan.compressed:
            url = f"{self.plan.results_url}/output.tar.gz"
            storage.upload_archive(self._objects, folders, url)
        elif folders:
            for folder in folders:
                storage.upload(self._objects, folder, f"{self.plan.results_url}/data", {})

    def _final_metrics(self) -> Iterator[Fields]:
        """What the metric definitions find last in the first host's log, where that is a number."""
        text = self._hosts[0].log.read_text(errors="replace") if self._hosts[0].log.exists() else ""
        for name, pattern in self.plan.metrics:
            with contextlib.suppress(re.error, ValueError, IndexError):
                found = re.findall(pattern, text)
                value = found[-1] if isinstance(found[-1], str) else found[-1][0]
                yield {
                    "MetricName": name,
                    "Value": float(value),
                    "Timestamp": round(time.time(), 3),
                }
