"""A training job from its name to its end: found or made, and looked at until it is over."""

import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from mme import aws
from mme.training.request import attempt

POLL_SECONDS = 15.0
_ABSENT = ("ValidationException", "ResourceNotFound")  # which of them AWS says is not documented
_BUSY, _LIMIT = "ResourceInUse", "ResourceLimitExceeded"
_RUNNING, _GOOD = ("InProgress", "Stopping"), "Completed"

Described = dict[str, Any]


class LeftError(Exception):
    """We are to leave; the job goes on."""


class Follower:
    """Follows jobs, each in a thread of its own.

    Args:
        client: of SageMaker.
        leave: set when we are to leave them.
        note: told each description of a job that runs.
    """

    def __init__(
        self, client: Any, leave: threading.Event, note: Callable[[Described], None]
    ) -> None:
        self._client, self._leave, self._note = client, leave, note
        self._lock, self._running = threading.Lock(), 0

    def follow(self, name: str, request: dict[str, Any]) -> Described:
        """Find the job, or make it, and wait for its end; its description.

        One that failed or was stopped is made again under another name. One attempt is made in one
        call.

        Raises:
            LeftError: we are to leave.
        """
        described = self._find_or_create(name, request)
        with self._lock:
            self._running += 1
        try:
            while described["TrainingJobStatus"] in _RUNNING:
                self._note(described)
                self._pause()
                described = self._describe(described["TrainingJobName"]) or described
        finally:
            with self._lock:
                self._running -= 1
        return described

    def _find_or_create(self, name: str, request: dict[str, Any]) -> Described:
        number = 1
        while True:
            described = self._describe(attempt(name, number))
            if described is None:
                described = self._create(attempt(name, number), request)
            if described["TrainingJobStatus"] in (*_RUNNING, _GOOD) or described.get("new"):
                return described
            number += 1

    def _create(self, name: str, request: dict[str, Any]) -> Described:
        """Make the job; while others of ours take the account's instances, wait for them."""
        while True:
            try:
                self._client.create_training_job(TrainingJobName=name, **request)
            except ClientError as error:
                if aws.code(error) == _LIMIT and self._running:
                    self._pause()
                    continue
                if aws.code(error) != _BUSY:
                    raise
            # It may fail at once: then it is this attempt's failure, not one of an earlier call.
            return (self._describe(name) or {"TrainingJobStatus": _RUNNING[0]}) | {
                "TrainingJobName": name,
                "new": True,
            }

    def _describe(self, name: str) -> Described | None:
        while True:
            try:
                return dict(self._client.describe_training_job(TrainingJobName=name))
            except ClientError as error:
                if aws.code(error) in _ABSENT:
                    return None
                if not aws.is_slower(error):
                    raise
                self._pause()

    def _pause(self) -> None:
        if self._leave.wait(POLL_SECONDS):
            raise LeftError
