"""A training job for each model, some at once."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from mme.aws import Aws
from mme.training import request as requests
from mme.training.bucket import Bucket
from mme.training.fit import SUFFIX
from mme.training.follow import Described, Follower, LeftError
from mme.training.progress import Progress
from mme.training.split import Parts, Survey
from mme.training.work import COMPLETED, Result, Work, end, made, why


class EachJob:
    """One job for each model, some at once.

    Args:
        work: what is to be done.
        found: in the file.
        folder: for files meanwhile.
        here: the account.
        leave: set when we are to leave.
    """

    def __init__(
        self, work: Work, found: Survey, folder: Path, here: Aws, leave: threading.Event
    ) -> None:
        self._work, self._found, self._leave = work, found, leave
        self._bucket = Bucket(here.client("s3"))
        self._parts = Parts(found, [[name] for name in found.sizes], folder)
        self._progress = Progress(len(found.sizes) + len(found.failed))
        self._follower = Follower(
            here.client("sagemaker"), leave, lambda _: None, self._kept, self._wait
        )
        self._lock, self._waiting = threading.Lock(), 0
        self._there: set[str] = set()
        self._failed = dict(found.failed)

    def run(self) -> int:
        """Train what is not there; say which models there are not."""
        trained = 0
        names = self._found.sizes
        with self._progress, ThreadPoolExecutor(self._work.args.concurrency) as pool:
            futures = {pool.submit(self._train, name): name for name in names}
            try:
                for future in as_completed(futures):
                    reason, name = future.result(), futures[future]
                    if reason:
                        self._failed[name] = reason
                    else:
                        self._there.add(f"{name}{SUFFIX}")
                        trained += reason is not None
                    self._show()
            except BaseException:
                self._leave.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        result = Result(self._there, trained, self._failed, "the jobs' logs")
        count = len(names) + len(self._found.failed)
        return end(result, count, self._bucket, self._work.output, self._progress)

    def _train(self, group: str) -> str | None:
        """Have a model in the output; None if it was there, else why it failed, if it did."""
        work, archive = self._work, f"{group}{SUFFIX}"
        if self._leave.is_set():
            raise LeftError
        word = work.digest(self._found.digests[group])
        if self._bucket.digest(work.output, archive) == word:
            return None
        name = requests.job_name(work.args.name, group, word)
        place = work.place.below(name)

        def make() -> dict[str, Any]:
            data = place.below("data")
            self._bucket.fill(data, [self._parts.file(group)])
            asked = work.hyperparameters(skip_failed=False)
            return requests.request(work.fleet, 1, asked, data.url, place.url)

        described = self._follower.follow(name, make)
        if described["TrainingJobStatus"] != COMPLETED:
            return why(described)
        self._bucket.copy(made(described), archive, work.output, word)
        return ""

    def _kept(self, described: Described) -> bool:
        """Whether the job's archive is there still."""
        return bool(self._bucket.archives(made(described)))

    def _wait(self, count: int) -> None:
        self._waiting = count
        self._show()

    def _show(self) -> None:
        with self._lock:
            words = f"{len(self._failed)} failed"
            if self._waiting:
                words += f", {self._waiting} jobs wait for the account's quota"
            self._progress.at(len(self._there), words)
