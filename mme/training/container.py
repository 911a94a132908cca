"""``docker run IMAGE train``: SageMaker's training container, from its files to the archives."""

import hashlib
import os
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from container import resources
from mme.errors import CommandError
from mme.training.checkpoints import Checkpoints
from mme.training.files import replace
from mme.training.fit import SUFFIX, Failed, Group, Trained, digest
from mme.training.metrics import Row, as_csv, say_failed
from mme.training.order import OrderError, read_order
from mme.training.settings import ROOT, Settings
from mme.training.table import Share, Table
from mme.training.workers import StoppedError, train_all

_STOPPED = 128 + signal.SIGTERM
_REASON_CHARACTERS = 1024  # that SageMaker shows of output/failure


class _Stop:
    """Whether it is to stop: an attribute, since a second signal may come while one is handled."""

    asked = False

    def ask(self, *_: object) -> None:
        self.asked = True


def run(environ: Mapping[str, str]) -> int:
    """Train what the platform has laid out; SIGTERM is this container's from now on.

    Args:
        environ: with the settings.

    Returns:
        0; 143 when it was stopped.

    Raises:
        OrderError: it failed; the reason is in ``output/failure``, too.
    """
    stop = _Stop()
    signal.signal(signal.SIGTERM, stop.ask)
    root = Settings.from_environ({ROOT: environ.get(ROOT, "")}).root
    try:
        return Container(Settings.from_environ(environ), stop).train()
    except StoppedError:
        _say("stopped; what is done is kept")
        return _STOPPED
    except CommandError as error:
        _fail(root, str(error))
        raise OrderError(str(error)) from None
    except Exception as error:
        _fail(root, f"{type(error).__name__}: {error}")
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends; the status is the first one's


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
        stop: whether it is to stop.
    """

    def __init__(self, settings: Settings, stop: _Stop) -> None:
        self._settings, self._stop = settings, stop
        self._order = read_order(settings.root / "input" / "config")
        self._models = settings.root / "model"
        self._checkpoints = Checkpoints(settings.root / "checkpoints")
        self._trained: list[Row] = []
        self._failed: list[Failed] = []
        self._total, self._features = 0, ""
        self._begun = self._said = time.monotonic()

    def train(self) -> int:
        """Train this host's groups, and write the table; what is done stays, whatever ends it."""
        table = self._table()
        self._total, self._failed = len(table), table.failed()
        # Models take rows by position: other hosts must have seen the columns in the same order.
        self._features = hashlib.sha256(repr(table.features).encode()).hexdigest()[:16]
        try:
            self._models.mkdir(exist_ok=True)
            try:
                self._train(table)
            finally:
                name = f"metrics-{self._order.host}.csv"
                replace(self._models / name, self._metrics())
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
        share = Share(order.hosts.index(order.host) % hosts, hosts)
        table = Table(order.by, order.target, share, self._look)
        folder = self._settings.root / "input" / "data" / order.channel
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        for file in files:
            self._look(table.seen)
            if file.stat().st_size:  # S3's consoles leave empty objects as folders
                table.read(file, file.name)
        if not table.seen and not (order.sharded and len(order.hosts) > 1):
            raise OrderError(f"channel {order.channel} has no rows in {len(files)} files")
        return table

    def _look(self, rows: int) -> None:
        """While files are read: stop, or say how far it is."""
        if self._stop.asked:
            raise StoppedError
        if self._is_time():
            self._said = time.monotonic()
            _say(f"{rows} rows read, {self._said - self._begun:.1f} s")

    def _train(self, table: Table) -> None:
        jobs = self._settings.jobs or resources.cpus()
        groups = self._new(table)
        for result, word in train_all(groups, self._order.recipe, jobs, self._is_stopping):
            if isinstance(result, Failed):
                self._failed.append(result)
            else:
                self._keep(result)
                self._checkpoints.keep(result, word)
            if self._is_time():
                self._progress()

    def _is_stopping(self) -> bool:
        return self._stop.asked

    def _new(self, table: Table) -> Iterator[tuple[Group, str]]:
        """The groups that are not among the checkpoints, each with its digest."""
        for group in table.groups():
            if self._stop.asked:
                raise StoppedError
            word = digest(group, self._order.recipe)
            found = self._checkpoints.find(group.name, word)
            if found is None:
                yield group, word
            else:
                self._keep(found)

    def _keep(self, result: Trained) -> None:
        replace(self._models / f"{result.name}{SUFFIX}", result.archive)
        self._trained.append(Row.of(result))

    def _metrics(self) -> bytes:
        """The table of this host's models, as CSV."""
        rows = [*self._trained, *map(Row.of, self._failed)]
        return as_csv(rows, features=self._features)

    def _is_time(self) -> bool:
        return time.monotonic() - self._said >= self._settings.progress_seconds

    def _progress(self) -> None:
        """Say how far it is, with numbers that a metric definition's pattern can take."""
        self._said = time.monotonic()
        done, failed = len(self._trained), len(self._failed)
        line = f"{done} of {self._total} models, {failed} failed, {self._said - self._begun:.1f} s"
        if done:
            median = statistics.median(one.rmse or 0.0 for one in self._trained)
            line += f"; models={done} failed={failed} rmse_median={median:.6g}"
        _say(line)

    def _report(self) -> None:
        """Name the groups that failed; they are the job's failure unless it is to skip them."""
        if not self._failed:
            return
        failed = dict(sorted((one.name, one.reason) for one in self._failed))
        say_failed(failed, "the metrics")
        if self._order.skip_failed:
            return
        named = "; ".join(f"{name!r}: {reason}" for name, reason in failed.items())
        raise OrderError(f"{len(failed)} of {self._total} groups failed: {named}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
