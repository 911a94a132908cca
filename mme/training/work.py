"""What is to be trained on SageMaker, and what is said at its end."""

import argparse
import sys
from collections.abc import Mapping
from typing import NamedTuple

from mme.training import request as requests
from mme.training.bucket import Bucket, Place
from mme.training.fit import Recipe
from mme.training.follow import Described
from mme.training.metrics import say_failed
from mme.training.progress import Progress
from mme.training.request import Fleet
from mme.training.split import digest

COMPLETED = "Completed"


class Work(NamedTuple):
    """What is to be done.

    Attributes:
        args: of the command.
        recipe: how each model is trained.
        fleet: what jobs run on.
        output: the prefix for the archives.
        place: for data, checkpoints and output of the jobs.
    """

    args: argparse.Namespace
    recipe: Recipe
    fleet: Fleet
    output: Place
    place: Place

    def digest(self, *words: object) -> str:
        """What a model and its place depend on, beside some words about its data."""
        args = self.args
        whole = (args.by, args.target, self.recipe, self.fleet.image, self.output.url)
        return digest(*whole, *words)

    def hyperparameters(self, skip_failed: bool) -> dict[str, str]:
        """Of its jobs."""
        args = self.args
        return requests.hyperparameters(args.by, args.target, self.recipe, skip_failed)


def why(described: Described) -> str:
    """How a job ended that did not complete, in one line."""
    name, status = described["TrainingJobName"], described["TrainingJobStatus"]
    reason = described.get("FailureReason") or described.get("SecondaryStatus", "")
    return f"training job {name}: {status}: {reason}"


def made(described: Described) -> Place:
    """Where a completed job's archives are."""
    return Place.parse(described["ModelArtifacts"]["S3ModelArtifacts"], "S3ModelArtifacts")


class Result(NamedTuple):
    """What came of it.

    Attributes:
        archives: that are there now, by name.
        new: how many of them were not.
        failed: why others are not.
        where: the other failures are told, where these are too many.
    """

    archives: set[str]
    new: int
    failed: Mapping[str, str]
    where: str


def end(
    result: Result, asked: int | None, bucket: Bucket, output: Place, progress: Progress
) -> int:
    """The last lines, and the exit status: 1 when there is not all that was asked for.

    Args:
        result: what came of it.
        asked: models, where that is known.
        bucket: of the output.
        output: the prefix for the archives.
        progress: says it.
    """
    there, failed = len(result.archives), len(result.failed)
    line = f"{there} models at {output.url}, {result.new} of them new, {failed} failed"
    if older := len(bucket.archives(output).keys() - result.archives):
        line += f"; {older} older archives remain there"
    progress.say(line)
    say_failed(result.failed, result.where)
    lost = (asked or 1) - there - failed
    if lost > 0:
        words = "no model is there, and none has failed"
        if asked:
            words = f"{lost} of {asked} models are neither there nor have they failed"
        sys.stderr.write(f"mme train: {words}: see the jobs' logs\n")
    return 1 if failed or lost > 0 else 0
