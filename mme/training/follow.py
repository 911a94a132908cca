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
        kept: whether what a completed job made is still there.
        waiting: told how many wait for the account's quota, when that changes.
    """

    def __init__(
        self,
        client: Any,
        leave: threading.Event,
        note: Callable[[Described], None],
        kept: Callable[[Described], bool],
        waiting: Callable[[int], None],
    ) -> None:
        self._client, self._leave, self._note = client, leave, note
        self._kept, self._tell = kept, waiting
        self._lock, self._first = threading.Lock(), threading.Lock()
        self._waiting = 0
        self._ours = False  # whether a job of ours has had a part of the quota

    def follow(self, name: str, make: Callable[[], dict[str, Any]]) -> Described:
        """Find the job, or make it, and wait for its end; its description.

        One that failed, was stopped, or whose results have been deleted is made again under another
        name. One attempt is made in one call.

        Args:
            name: of the first attempt.
            make: uploads what the job needs, and returns the request without the name.

        Raises:
            LeftError: we are to leave.
        """
        described = self._find_or_create(name, make)
        while described["TrainingJobStatus"] in _RUNNING:
            self._note(described)
            self._pause()
            described = self._describe(described["TrainingJobName"]) or described
        return described

    def _find_or_create(self, name: str, make: Callable[[], dict[str, Any]]) -> Described:
        number = 1
        while True:
            described = self._describe(attempt(name, number))
            if described is None:
                return self._create(attempt(name, number), make())
            status = described["TrainingJobStatus"]
            if status in _RUNNING:
                self._ours = True
                return described
            if status == _GOOD and self._kept(described):
                return described
            number += 1

    def _create(self, name: str, request: dict[str, Any]) -> Described:
        """Make the job; while jobs of ours have had the account's instances, wait for them."""
        is_waiting = False
        try:
            while not self._try(name, request):
                if not is_waiting:
                    is_waiting = True
                    self._wait(1)
                self._pause()
        finally:
            if is_waiting:
                self._wait(-1)
        # It may fail at once: then it is this attempt's failure, not one of an earlier call.
        return (self._describe(name) or {"TrainingJobStatus": _RUNNING[0]}) | {
            "TrainingJobName": name
        }

    def _try(self, name: str, request: dict[str, Any]) -> bool:
        """Make the job; false where the quota is taken, but not by strangers alone."""
        if not self._ours:
            with self._first:  # one at a time, until it is known that there is any quota for us
                if not self._ours:
                    self._call(name, request)
                    self._ours = True
                    return True
        try:
            self._call(name, request)
        except ClientError as error:
            if aws.code(error) != _LIMIT:
                raise
            return False
        return True

    def _call(self, name: str, request: dict[str, Any]) -> None:
        try:
            self._client.create_training_job(TrainingJobName=name, **request)
        except ClientError as error:
            if aws.code(error) != _BUSY:  # which is: somebody has made it meanwhile
                raise

    def _wait(self, more: int) -> None:
        with self._lock:
            self._waiting += more
            count = self._waiting
        self._tell(count)

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
