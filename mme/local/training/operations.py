"""SageMaker's operations for training jobs."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from mme.local.control import listing, tags
from mme.local.control.errors import RequestError
from mme.local.control.resources import TRAINING_JOB, Fields, Resources
from mme.local.control.tags import Tags
from mme.local.training import document as documents
from mme.local.training import plan
from mme.local.training.document import CHANGING, IN_PROGRESS

_HOLD_SECONDS = 20  # of Describe, so that boto3's waiter, which asks every 120 s, asks once
_SHOWN = ("TrainingJobName", "TrainingJobArn", "CreationTime", "LastModifiedTime")
_SHOWN_TOO = ("TrainingJobStatus", "SecondaryStatus", "TrainingEndTime")
_NO_EFFECT = {
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
}


class Jobs(Protocol):
    """Who runs jobs, and writes their documents to the store."""

    async def create(self, document: Fields) -> None:
        """Begin with a new job."""

    async def stop(self, name: str) -> None:
        """Begin to stop a job."""

    async def settled(self, name: str, seconds: float) -> None:
        """Return when a job has ended, or the time is over."""


class Operations:
    """Answers the operations.

    Args:
        resources: where documents are.
        tags: the jobs'.
        jobs: runs them.
    """

    def __init__(self, resources: Resources, tags: Tags, jobs: Jobs) -> None:
        self._resources, self._tags, self._jobs = resources, tags, jobs

    def handlers(self) -> dict[str, Callable[[Fields, str], Awaitable[Fields]]]:
        """By operation."""
        return {
            "CreateTrainingJob": self._create,
            "DescribeTrainingJob": self._describe,
            "ListTrainingJobs": self._list,
            "StopTrainingJob": self._stop,
        }

    async def _create(self, asked: Fields, region: str) -> Fields:
        given = tags.check(asked.pop("Tags", []))
        document = self._resources.begin(TRAINING_JOB, asked["TrainingJobName"], region)
        plan.check(asked)
        document |= _NO_EFFECT | asked
        await self._jobs.create(documents.moved(document, IN_PROGRESS, "Starting"))
        self._tags.put(document["TrainingJobArn"], given)
        return {"TrainingJobArn": document["TrainingJobArn"]}

    async def _describe(self, asked: Fields, region: str) -> Fields:
        found = self._resources.find(TRAINING_JOB, asked["TrainingJobName"], region)
        await self._jobs.settled(found["TrainingJobName"], _HOLD_SECONDS)
        return self._resources.describe(TRAINING_JOB, asked["TrainingJobName"], region)

    async def _list(self, asked: Fields, region: str) -> Fields:  # noqa: ARG002  # as all handlers
        asked.setdefault("SortOrder", "Ascending")
        found = self._resources.all(TRAINING_JOB)
        return listing.page(TRAINING_JOB, found, asked, _SHOWN, _SHOWN_TOO)

    async def _stop(self, asked: Fields, region: str) -> Fields:
        found = self._resources.find(TRAINING_JOB, asked["TrainingJobName"], region)
        if found["TrainingJobStatus"] not in CHANGING:
            raise RequestError(
                "The request was rejected because the training job is in status "
                f"{found['TrainingJobStatus']}."
            )
        await self._jobs.stop(found["TrainingJobName"])
        return {}
