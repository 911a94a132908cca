"""What is to be trained on SageMaker, and what is said at its end."""

import argparse
import sys
from typing import NamedTuple

from mme.training import request as requests
from mme.training.bucket import Place
from mme.training.fit import Recipe
from mme.training.follow import Described
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
        """What a model depends on, beside some words about its data."""
        args = self.args
        return digest(args.by, args.target, self.recipe, self.fleet.image, *words)

    def hyperparameters(self, skip_failed: bool) -> dict[str, str]:
        """Of its jobs."""
        args = self.args
        return requests.hyperparameters(args.by, args.target, self.recipe, skip_failed)


def why(described: Described) -> str:
    """How a job ended that did not complete, in one line."""
    name, status = described["TrainingJobName"], described["TrainingJobStatus"]
    reason = described.get("FailureReason") or described.get("SecondaryStatus", "")
    return f"training job {name}: {status}: {reason}"


def end(found: int, copied: int, failed: dict[str, str], output: Place, progress: Progress) -> int:
    """The last lines, and the exit status."""
    progress.say(f"{found} models at {output.url}, {copied} of them new, {len(failed)} failed")
    for name, reason in sorted(failed.items()):
        sys.stderr.write(f"mme train: {name!r} failed: {reason}\n")
    return 1 if failed else 0
