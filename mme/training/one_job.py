"""One training job for all models, whose instances share the data's parts."""

import functools
import hashlib
import threading
from collections.abc import Callable

from mme.aws import Aws
from mme.errors import CommandError
from mme.training import request as requests
from mme.training.bucket import Bucket, Place
from mme.training.fit import SUFFIX
from mme.training.follow import Described, Follower
from mme.training.progress import Progress
from mme.training.split import Rows, dealt
from mme.training.work import COMPLETED, Work, end, why

_PARTS = 64  # of the data: enough for instances to have about as much each


class OneJob:
    """One job for all models, whose instances share the data's parts."""

    def __init__(
        self, work: Work, rows: Rows | None, bucket: Bucket, here: Aws, leave: threading.Event
    ) -> None:
        self._work, self._rows, self._bucket = work, rows, bucket
        self._progress = Progress(None if rows is None else len(rows.groups))
        self._follower = Follower(here.client("sagemaker"), leave, self._note)
        self._place = work.place

    def run(self) -> int:
        """Upload, run the job, copy the archives, and say which models there are not."""
        work = self._work
        data, word = self._data()
        name = requests.job_name(work.args.name, "", word)
        self._place = work.place.below(name)
        if self._rows is not None:
            data = self._upload(self._place)
        asked = work.hyperparameters(skip_failed=True)
        with self._progress:
            described = self._follower.follow(
                name,
                requests.request(work.fleet, work.args.instances, asked, data, self._place.url),
            )
            name = described["TrainingJobName"]
            if described["TrainingJobStatus"] != COMPLETED:
                raise CommandError(f"{why(described)}; the same command tries again", status=1)
        source = self._place.below(f"output/{name}/output/model")
        failed = self._failures(source)
        found, copied = self._bucket.copy_archives(source, work.output)
        return end(found, copied, failed, work.output, self._progress)

    def _data(self) -> tuple[str, str]:
        """What the keys of the data begin with, and a digest of it."""
        work = self._work
        if self._rows is not None:
            with work.args.data.open("rb") as file:
                return "", work.digest(hashlib.file_digest(file, "sha256").hexdigest())
        place = Place.parse(work.args.prefix, "--data")
        entries = self._bucket.entries(place)
        if not entries:
            raise CommandError(f"{place.url} has no objects", status=1)
        return place.url, work.digest(entries)

    def _upload(self, place: Place) -> str:
        rows = self._rows
        assert rows is not None  # noqa: S101  # who calls it has looked
        sizes = {name: len(lines) for name, lines in rows.groups.items()}
        files: dict[str, Callable[[], bytes]] = {
            f"part-{number:04}.csv.gz": functools.partial(rows.packed, names)
            for number, names in enumerate(dealt(sizes, _PARTS))
        }
        data = place.below("data")
        put = self._bucket.fill(data, files)
        self._progress.say(f"{len(files)} parts of the data at {data.url}, {put} uploaded now")
        return data.url

    def _note(self, described: Described) -> None:
        kept = self._bucket.entries(self._place.below("checkpoints"))
        done = sum(entry.key.endswith(SUFFIX) for entry in kept)
        self._progress.at(done, described.get("SecondaryStatus", ""))

    def _failures(self, source: Place) -> dict[str, str]:
        """Why each model failed that did.

        Raises:
            CommandError: two instances trained the same group, each with a part of its rows.
        """
        seen: set[str] = set()
        failed = {}
        for row in self._bucket.metrics(source):
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
