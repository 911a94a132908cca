"""One training job for all models, whose instances share the data's parts."""

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mme.aws import Aws
from mme.errors import CommandError
from mme.training import request as requests
from mme.training.bucket import Bucket, Place
from mme.training.fit import SUFFIX
from mme.training.follow import Described, Follower
from mme.training.progress import Progress
from mme.training.split import Parts, Survey, dealt
from mme.training.work import COMPLETED, Result, Work, end, made, why

_PARTS = 64  # of the data at least: enough for instances to have about as much each


class OneJob:
    """One job for all models, whose instances share the data's parts.

    Args:
        work: what is to be done.
        found: in the file; nothing where the data is in S3.
        folder: for files meanwhile.
        here: the account.
        leave: set when we are to leave.
    """

    def __init__(
        self, work: Work, found: Survey | None, folder: Path, here: Aws, leave: threading.Event
    ) -> None:
        self._work, self._found, self._folder = work, found, folder
        self._bucket = Bucket(here.client("s3"))
        self._total = None if found is None else len(found.sizes) + len(found.failed)
        self._progress = Progress(self._total)
        self._follower = Follower(
            here.client("sagemaker"), leave, self._note, self._kept, lambda _: None
        )
        self._place = work.place

    def run(self) -> int:
        """Upload, run the job, copy the archives, and say which models there are not."""
        work, found = self._work, self._found
        data, word = self._data()
        name = requests.job_name(work.args.name, "", word)
        self._place = work.place.below(name)

        def make() -> dict[str, Any]:
            url = data if found is None else self._upload(found)
            asked = work.hyperparameters(skip_failed=True)
            count = work.args.instances
            return requests.request(work.fleet, count, asked, url, self._place.url)

        with self._progress:
            described = self._follower.follow(name, make)
            if described["TrainingJobStatus"] != COMPLETED:
                raise CommandError(f"{why(described)}; the same command tries again", status=1)
        source = made(described)
        failed = failures(self._bucket.metrics(source)) | (dict(found.failed) if found else {})
        archives, new = self._bucket.copy_archives(source, work.output)
        result = Result(archives, new, failed, f"the metrics-*.csv at {source.url}")
        return end(result, self._total, self._bucket, work.output, self._progress)

    def _data(self) -> tuple[str, str]:
        """What the keys of the data begin with, and a digest of it."""
        work, found = self._work, self._found
        if found is not None:
            return "", work.digest(found.digest)
        place = Place.parse(work.args.prefix, "--data")
        entries = self._bucket.entries(place)
        if not entries:
            raise CommandError(f"{place.url} has no objects", status=1)
        check_instances(work.args.instances, len(entries), f"objects at {place.url}")
        return place.url, work.digest(entries)

    def _upload(self, found: Survey) -> str:
        parts = max(_PARTS, self._work.args.instances)
        files = Parts(found, dealt(found.sizes, parts), self._folder).files()
        data = self._place.below("data")
        put = self._bucket.fill(data, files)
        self._progress.say(f"{len(files)} parts of the data at {data.url}, {put} uploaded now")
        return data.url

    def _kept(self, described: Described) -> bool:
        """Whether the job's tables are there still, which it has even when each model failed."""
        return bool(self._bucket.entries(made(described)))

    def _note(self, described: Described) -> None:
        kept = self._bucket.entries(self._place.below("checkpoints"))
        done = sum(entry.key.endswith(SUFFIX) for entry in kept)
        self._progress.at(done, described.get("SecondaryStatus", ""))


def check_instances(instances: int, there: int, what: str) -> None:
    """Refuse instances that would have nothing to do.

    Raises:
        CommandError: there are some.
    """
    if instances > there:
        raise CommandError(f"--instances is {instances}, and there are {there} {what}: take fewer")


def failures(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Why each model failed that did, from the tables of all instances.

    Raises:
        CommandError: two instances trained the same group, each with a part of its rows, or saw the
            columns in different orders.
    """
    seen: set[str] = set()
    columns: set[str | None] = set()
    failed = {}
    for row in rows:
        columns.add(row.get("features"))
        if len(columns) > 1:
            raise CommandError(
                "instances saw other columns, or in another order: models take rows by position, "
                "so all objects must have the same header",
                status=1,
            )
        if row["model"] in seen:
            raise CommandError(
                f"group {row['model']!r} is in objects of two instances: each object must hold "
                "whole groups",
                status=1,
            )
        seen.add(row["model"])
        if row["failed"]:
            failed[row["model"]] = row["failed"]
    return failed
