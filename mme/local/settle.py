"""Hands over to moto what has been counted and logged here, before somebody reads it there."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from mme.local.aws.clients import Clients
from mme.local.runtime.endpoints import Endpoints
from mme.local.runtime.meter import Datum
from mme.local.training.jobs import LOGS

logger = logging.getLogger(__name__)
_EVERY_SECONDS = 10.0
_KEPT_SECONDS = 7 * 86400.0  # a log that nothing is written to
_MOST_LOG_BYTES = 16 * 1024**2  # of an instance's file, before it is emptied
_MOST_EVENTS = 10_000  # of one stream at once: as many as are kept
_EVENT_CHARACTERS = 32_000
_BATCH_BYTES, _EVENT_BYTES = 900_000, 26  # of one call; and what an event counts beside its text
_VALUES, _DATA = 150, 500  # of one datum; of one call
T = TypeVar("T")
_GROUP, _TRAINING = "/aws/sagemaker/Endpoints/", "/aws/sagemaker/TrainingJobs"


class Settler:
    """Metrics and logs on their way to moto.

    Args:
        url: moto's.
        endpoints: whose metrics they are.
        logs: the folder ``<region>/<endpoint>/<variant>/<instance>.log``; of training
            jobs, ``<region>/@training/<job>/<host>.log``.
    """

    def __init__(self, url: str, endpoints: Endpoints, logs: Path) -> None:
        self._endpoints, self._logs = endpoints, logs
        self._locks = {"metrics": asyncio.Lock(), "logs": asyncio.Lock()}
        self._clients = Clients(url)
        self._read: dict[Path, int] = {}  # bytes of each file that have been handed over

    async def run(self) -> None:
        """Settle every so often, so that nothing grows here."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.settle("metrics")
            try:
                await self._trim_logs()
            except OSError as error:
                logger.warning("logs cannot be trimmed: %s", error)

    async def _trim_logs(self) -> None:
        """Empty a file that has grown large; remove that of an instance that ended long ago."""
        for file in self._files():
            with contextlib.suppress(FileNotFoundError):
                seen = file.stat()
                if time.time() - seen.st_mtime > _KEPT_SECONDS:
                    file.unlink()
                elif seen.st_size > _MOST_LOG_BYTES:
                    await self.settle("logs")
                    os.truncate(file, 0)
                    self._read[file] = 0

    async def settle(self, what: str) -> None:
        """Hand over ``metrics`` or ``logs``; what moto does not take is lost."""
        async with self._locks[what]:
            with contextlib.suppress(BotoCoreError, ClientError, OSError):
                if what == "metrics":
                    data = self._take()
                    if data:
                        await asyncio.to_thread(self._put_metrics, data)
                else:
                    await asyncio.to_thread(self._put_logs)

    def _take(self) -> list[tuple[str, str, Datum]]:
        taken = []
        for endpoint in (*self._endpoints.all(), *self._endpoints.departed()):
            endpoint.refresh()
            region, name = endpoint.around.region, endpoint.name
            taken += [(region, name, datum) for datum in endpoint.around.meter.take()]
        return taken

    def _put_metrics(self, taken: list[tuple[str, str, Datum]]) -> None:
        taken.sort(key=lambda one: (one[0], one[2].namespace))
        for (region, namespace), group in itertools.groupby(
            taken, key=lambda one: (one[0], one[2].namespace)
        ):
            client = self._clients.get("cloudwatch", region)
            pieces = [piece for _, name, datum in group for piece in _pieces(name, datum)]
            for some in _batches(pieces, _DATA):
                client.put_metric_data(Namespace=namespace, MetricData=some)

    def _files(self) -> list[Path]:
        return sorted(self._logs.glob("*/*/*/*.log"))

    def _put_logs(self) -> None:
        for file in self._files():
            region, endpoint, variant = file.relative_to(self._logs).parts[:3]
            events = self._new_events(file)
            if not events:
                continue
            client = self._clients.get("logs", region)
            where = {
                "logGroupName": _TRAINING if endpoint == LOGS else f"{_GROUP}{endpoint}",
                "logStreamName": f"{variant}/{file.stem}",
            }
            already = client.exceptions.ResourceAlreadyExistsException
            with contextlib.suppress(already):
                client.create_log_group(logGroupName=where["logGroupName"])
            with contextlib.suppress(already):
                client.create_log_stream(**where)
            for batch in _by_size(events):
                client.put_log_events(**where, logEvents=batch)

    def _new_events(self, file: Path) -> list[dict[str, Any]]:
        """The lines that a file has got since the last time, the newest of very many."""
        lines: deque[bytes] = deque(maxlen=_MOST_EVENTS)
        with contextlib.suppress(FileNotFoundError), file.open("rb") as log:
            log.seek(min(self._read.get(file, 0), file.stat().st_size))
            for line in log:
                if not line.endswith(b"\n"):  # it is being written
                    break
                self._read[file] = self._read.get(file, 0) + len(line)
                lines.append(line)
        now = time.time()
        events = [_event(line, now) for line in lines if line.strip()]
        return sorted(events, key=lambda event: int(event["timestamp"]))


def _event(line: bytes, now: float) -> dict[str, Any]:
    """A line as CloudWatch Logs takes it, with the time that it names, if it names one."""
    text = line.decode("utf-8", "replace").rstrip("\n")[:_EVENT_CHARACTERS]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        now = float(json.loads(text)["time"])
    return {"timestamp": int(1000 * now), "message": text}


def _by_size(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for event in events:
        bytes_of_it = len(event["message"].encode()) + _EVENT_BYTES
        if batch and size + bytes_of_it > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += bytes_of_it
    if batch:
        yield batch


def _pieces(endpoint: str, datum: Datum) -> Iterator[dict[str, Any]]:
    """A datum as PutMetricData takes it, in pieces if it has too many values for one."""
    for some in _batches(list(datum.values.items()), _VALUES):
        yield {
            "MetricName": datum.metric,
            "Dimensions": [
                {"Name": "EndpointName", "Value": endpoint},
                {"Name": "VariantName", "Value": datum.variant},
            ],
            "Timestamp": datum.period_start,
            "Unit": datum.unit,
            "Values": [value for value, _ in some],
            "Counts": [float(count) for _, count in some],
            "StorageResolution": 1,
        }


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
