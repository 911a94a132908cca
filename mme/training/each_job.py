"""A training job for each model, some at once."""

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

from mme.aws import Aws
from mme.training import request as requests
from mme.training.bucket import Bucket
from mme.training.fit import SUFFIX
from mme.training.follow import Follower, LeftError
from mme.training.progress import Progress
from mme.training.split import Rows
from mme.training.work import COMPLETED, Work, end, why


class EachJob:
    """One job for each model, some at once."""

    def __init__(
        self, work: Work, rows: Rows, bucket: Bucket, here: Aws, leave: threading.Event
    ) -> None:
        self._work, self._rows, self._bucket, self._leave = work, rows, bucket, leave
        self._progress = Progress(len(rows.groups))
        self._follower = Follower(here.client("sagemaker"), leave, lambda _: None)

    def run(self) -> int:
        """Train what is not there; say which models there are not."""
        failed: dict[str, str] = {}
        trained = there = 0
        with self._progress, ThreadPoolExecutor(self._work.args.concurrency) as pool:
            futures = {pool.submit(self._train, name): name for name in sorted(self._rows.groups)}
            try:
                for future in as_completed(futures):
                    reason = future.result()
                    if reason is None:
                        there += 1
                    elif reason:
                        failed[futures[future]] = reason
                    else:
                        trained += 1
                    self._progress.at(there + trained, f"{len(failed)} failed")
            except BaseException:
                self._leave.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return end(there + trained, trained, failed, self._work.output, self._progress)

    def _train(self, group: str) -> str | None:
        """Have a model in the output; None if it was there, else why it failed, if it did."""
        work, archive = self._work, f"{group}{SUFFIX}"
        if self._leave.is_set():
            raise LeftError
        body = self._rows.packed([group])
        word = work.digest(body)
        if self._bucket.digest(work.output, archive) == word:
            return None
        name = requests.job_name(work.args.name, group, word)
        place = work.place.below(name)
        self._bucket.fill(place.below("data"), {"part.csv.gz": lambda: body})
        asked = work.hyperparameters(skip_failed=False)
        data = place.below("data").url
        described = self._follower.follow(
            name, requests.request(work.fleet, 1, asked, data, place.url)
        )
        if described["TrainingJobStatus"] != COMPLETED:
            return why(described)
        source = place.below(f"output/{described['TrainingJobName']}/output/model")
        self._bucket.copy(source, archive, work.output, word)
        return ""
