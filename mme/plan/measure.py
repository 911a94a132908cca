"""What a model takes, measured: copies of a sample archive in the real container."""

import contextlib
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mme import artifacts
from mme.client import Client, Reply
from mme.errors import CommandError
from mme.process import ServeProcess
from mme.process_tree import anonymous_bytes, memory_bytes

MIB = 1024**2
_FEW, _LEAST_MORE, _MOST_MORE = 8, 8, 400  # copies for the first look at memory, then so many
_ENOUGH_BYTES = 16 * MIB  # of models, by their files' size: memory then says more than its noise
_WARM_REQUESTS = 200
_OK, _BAD_REQUEST = 200, 400


@dataclass(frozen=True)
class Measured:
    """What one model takes.

    Attributes:
        archive_mb: of the ``model.tar.gz``, in MiB, as the next two.
        memory_mb: that one more model adds to the container's processes.
        base_mb: of the container without its models, once it has loaded some. That is soon after
            its start: Java's memory grows with use, so a plan takes no less than after long use.
        load_ms: ``POST /models``, the median.
        warm_ms: one row at a loaded model, the median.
    """

    archive_mb: float
    memory_mb: float
    base_mb: float
    load_ms: float
    warm_ms: float


def measure(sample: Path, row: bytes | None = None) -> Measured:
    """Load copies of the sample, as many as need be, and ask one of them.

    Args:
        sample: a ``model.tar.gz``.
        row: one row of CSV for it; one of zeros, of as many columns as it takes, if None.

    Raises:
        CommandError: the archive cannot be unpacked, or the container does not load it.
    """
    with tempfile.TemporaryDirectory(prefix="mme-plan-") as folder:
        root = Path(folder)
        size = _unpack(sample, root, 0)
        container = ServeProcess(root, {"MME_ACCESS_LOG": "false"})
        try:
            container.wait_healthy()
            more = round(min(_MOST_MORE, max(_LEAST_MORE, _ENOUGH_BYTES / max(size, 1))))
            for number in range(1, _FEW + more):
                _unpack(sample, root, number)
            # The first ones grow what is there for all; only the difference of two counts is
            # what one more takes.
            _load(container.client, root, range(_FEW))
            before = anonymous_bytes(container.process.pid)
            all_before = memory_bytes(container.process.pid)
            times = _load(container.client, root, range(_FEW, _FEW + more))
            after = anonymous_bytes(container.process.pid)
            warm = _ask(container.client, row)
        finally:
            with contextlib.suppress(OSError):
                container.stop()
    each = max(after - before, 1) / more
    return Measured(
        archive_mb=sample.stat().st_size / MIB,
        memory_mb=each / MIB,
        base_mb=(all_before - _FEW * each) / MIB,
        load_ms=1000 * statistics.median(times),
        warm_ms=1000 * statistics.median(warm),
    )


def _name(number: int) -> str:
    return f"copy-{number}"


def _directory(root: Path, number: int) -> Path:
    return root / _name(number) / "model"


def _unpack(sample: Path, root: Path, number: int) -> int:
    """Bytes of the sample's files, which are in the model root then."""
    directory = _directory(root, number)
    try:
        artifacts.unpack(sample, directory)
    except artifacts.ArtifactError as error:
        raise CommandError(f"the sample: {error}: give a model.tar.gz") from None
    except OSError as error:
        raise CommandError(f"the sample {sample} cannot be read: {error.strerror}") from None
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _load(client: Client, root: Path, numbers: range) -> list[float]:
    """Seconds of each load."""
    times = []
    for number in numbers:
        begun = time.perf_counter()
        expect(client.load(_name(number), str(_directory(root, number))), "load")
        times.append(time.perf_counter() - begun)
    return times


def _ask(client: Client, row: bytes | None) -> list[float]:
    """Seconds of each answer, of a model that has answered before."""
    body = row if row is not None else _zeros(client)
    expect(client.invoke(_name(0), body), "answer")
    times = []
    for _ in range(_WARM_REQUESTS):
        begun = time.perf_counter()
        client.invoke(_name(0), body)
        times.append(time.perf_counter() - begun)
    return times


def _zeros(client: Client) -> bytes:
    """A row that the model takes: of zeros, as wide as need be."""
    for columns in (*range(1, 65), 128, 256, 512, 1024):
        row = ",".join(["0"] * columns).encode()
        if client.invoke(_name(0), row).status != _BAD_REQUEST:
            return row
    raise CommandError("the sample takes no row of zeros of up to 64 columns: give --row")


def expect(reply: Reply, what: str) -> None:
    """Go on only with an answer that is 200.

    Raises:
        CommandError: it is another; with the container's sentence.
    """
    if reply.status != _OK:
        raise CommandError(
            f"the container does not {what} the sample ({reply.status}): {_message(reply.body)}"
        )


def _message(body: bytes) -> str:
    """The sentence in an answer that is an error, in one line."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):  # it may be none of our own
        text = str(json.loads(text)["message"])
    return " ".join(text.split())
