"""``docker run IMAGE train``: SageMaker's training container, from its files to the archives."""

import csv
import io
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from container import resources
from mme.errors import CommandError
from mme.training.checkpoints import Checkpoints
from mme.training.files import replace
from mme.training.fit import SUFFIX, Failed, Group, Trained, digest
from mme.training.order import OrderError, read_order
from mme.training.settings import Settings
from mme.training.table import Share, Table
from mme.training.workers import StoppedError, train_all

COLUMNS = ("model", "rows", "rmse", "seconds", "bytes", "failed")
_FAILED, _STOPPED = 1, 128 + signal.SIGTERM
_REASON_CHARACTERS = 1024  # that SageMaker shows of output/failure
_NAMED = 20  # failed groups that the log names one by one


def run(settings: Settings) -> int:
    """Train what the platform has laid out.

    Returns:
        0; 1 when it failed, with the reason in ``output/failure``; 143 when it was stopped.
    """
    stop = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        return Container(settings, stop).train()
    except StoppedError:
        _say("stopped; what is done is kept")
        return _STOPPED
    except CommandError as error:
        _fail(settings.root, str(error))
        raise
    except Exception as error:
        _fail(settings.root, f"{type(error).__name__}: {error}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(root: Path, reason: str) -> None:
    """Leave the reason where the platform looks for it."""
    if not root.is_dir():  # no platform has laid it out
        return
    try:
        (root / "output").mkdir(exist_ok=True)
        replace(root / "output" / "failure", reason[:_REASON_CHARACTERS].encode())
    except OSError as error:
        sys.stderr.write(f"mme train: output/failure cannot be written: {error}\n")


class Container:
    """One host of one job.

    Args:
        settings: of the container.
        stop: set when it is to stop.
    """

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings, self._stop = settings, stop
        self._order = read_order(settings.root / "input" / "config")
        self._models = settings.root / "model"
        self._checkpoints = Checkpoints(settings.root / "checkpoints")
        self._trained: list[Trained] = []  # without their archives
        self._failed: list[Failed] = []
        self._total = 0
        self._begun = self._said = time.monotonic()

    def train(self) -> int:
        """Train this host's groups, and write the table; what is done stays, whatever ends it."""
        table = self._table()
        self._total = len(table)
        try:
            self._models.mkdir(exist_ok=True)
            try:
                self._train(table)
            finally:
                replace(self._models / f"metrics-{self._order.host}.csv", self._metrics())
        except PermissionError as error:
            raise OrderError(
                f"{error.filename or self._models}: {error.strerror} for user {os.getuid()}: build "
                "the image with --build-arg RUN_AS=0:0 where root alone may write here"
            ) from None
        except OSError as error:
            raise OrderError(f"{error.filename or self._models}: {error.strerror}") from None
        self._progress()
        self._report()
        return 0

    def _table(self) -> Table:
        order = self._order
        hosts = 1 if order.sharded else len(order.hosts)
        table = Table(order.by, order.target, Share(order.hosts.index(order.host) % hosts, hosts))
        folder = self._settings.root / "input" / "data" / order.channel
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for file in files:
            if self._stop.is_set():
                raise StoppedError
            if file.stat().st_size:  # S3's consoles leave empty objects as folders
                table.read(file)
        if not len(table) and len(order.hosts) == 1:
            raise OrderError(f"channel {order.channel} has no rows in {len(files)} files")
        return table

    def _train(self, table: Table) -> None:
        jobs = self._settings.jobs or resources.cpus()
        groups = self._new(table)
        for result, word in train_all(groups, self._order.recipe, jobs, self._stop.is_set):
            if isinstance(result, Failed):
                self._failed.append(result)
            else:
                self._keep(result)
                self._checkpoints.keep(result, word)
            self._progress_now_and_then()

    def _new(self, table: Table) -> Iterator[tuple[Group, str]]:
        """The groups that are not among the checkpoints, each with its digest."""
        for group in table.groups():
            word = digest(group, self._order.recipe)
            found = self._checkpoints.find(group.name, word)
            if found is None:
                yield group, word
            else:
                self._keep(found)

    def _keep(self, result: Trained) -> None:
        replace(self._models / f"{result.name}{SUFFIX}", result.archive)
        self._trained.append(result)

    def _metrics(self) -> bytes:
        """The table of this host's models, as CSV."""
        text = io.StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        rows: list[tuple[object, ...]] = [
            (one.name, one.rows, round(one.rmse, 4), round(one.seconds, 4), len(one.archive), "")
            for one in self._trained
        ]
        rows += [(one.name, "", "", "", "", one.reason) for one in self._failed]
        rows.sort(key=_name)
        lines.writerows(rows)
        return text.getvalue().encode()

    def _progress_now_and_then(self) -> None:
        if time.monotonic() - self._said >= self._settings.progress_seconds:
            self._progress()

    def _progress(self) -> None:
        """Say how far it is, with numbers that a metric definition's pattern can take."""
        self._said = time.monotonic()
        done, failed = len(self._trained), len(self._failed)
        line = f"{done} of {self._total} models, {failed} failed, {self._said - self._begun:.1f} s"
        if done:
            median = statistics.median(one.rmse for one in self._trained)
            line += f"; models={done} failed={failed} rmse_median={median:.6g}"
        _say(line)

    def _report(self) -> None:
        """Name the groups that failed; they are the job's failure unless it is to skip them."""
        if not self._failed:
            return
        failed = sorted(self._failed, key=lambda one: one.name)
        for one in failed[:_NAMED]:
            sys.stderr.write(f"mme train: {one.name!r} failed: {one.reason}\n")
        if len(failed) > _NAMED:
            sys.stderr.write(f"mme train: {len(failed) - _NAMED} more failed: see the metrics\n")
        if self._order.skip_failed:
            return
        named = "; ".join(f"{one.name!r}: {one.reason}" for one in failed)
        raise OrderError(f"{len(failed)} of {self._total} groups failed: {named}")


def _name(row: tuple[object, ...]) -> str:
    return str(row[0])


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
