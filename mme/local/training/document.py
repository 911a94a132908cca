"""A training job's document from state to state, as DescribeTrainingJob tells it."""

import time
from typing import Any

from mme.local.control.resources import Fields

IN_PROGRESS, STOPPING = "InProgress", "Stopping"
CHANGING = (IN_PROGRESS, STOPPING)
_REASON_CHARACTERS = 1024
_WORDS = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Stopping": "Stopping the training job",
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Failed": "Training job failed",
}


def moved(document: Fields, status: str, secondary: str, **more: Any) -> Fields:
    """The document in another state; what was the last one ends now."""
    now = round(time.time(), 3)
    past = [dict(one) for one in document.get("SecondaryStatusTransitions", [])]
    if past:
        past[-1].setdefault("EndTime", now)
    step = {"Status": secondary, "StartTime": now, "StatusMessage": _WORDS[secondary]}
    new = {**document, "TrainingJobStatus": status, "SecondaryStatus": secondary}
    new |= {"LastModifiedTime": now, **more}
    if secondary == "Training":
        new["TrainingStartTime"] = now
    if status not in CHANGING:
        step["EndTime"] = new["TrainingEndTime"] = now
        seconds = int(now - new.setdefault("TrainingStartTime", now))
        new |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
    return new | {"SecondaryStatusTransitions": [*past, step]}


def failed(document: Fields, reason: str) -> Fields:
    """The document of a job that failed."""
    words = reason[:_REASON_CHARACTERS]
    new = moved(document, "Failed", "Failed", FailureReason=words)
    new["SecondaryStatusTransitions"][-1]["StatusMessage"] = words
    return new
