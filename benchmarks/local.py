"""``mme local``: what the front costs, and a catalogue far larger than what is resident."""

import collections
import concurrent.futures
import datetime
import json
import shutil
import signal
import socket
import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import numpy as np

from benchmarks.models import ROW
from benchmarks.processes import memory_bytes
from mme import artifacts
from mme.process import LocalProcess

ENDPOINT, BUCKET = "bench", "bench-models"
PATH = f"/endpoints/{ENDPOINT}/invocations"
HEAD = "Content-Type: text/csv\r\nX-Amzn-SageMaker-Target-Model: "
ZIPF = 1.1  # the exponent, as elsewhere here
CONNECTIONS = 8
MODEL_FILE = "xgboost-model"
_NAMES = 50_000  # of one file; a file system has a limit
_ROLE = "arn:aws:iam::123456789012:role/bench"
_SECONDS = 60.0
MIB = 1024**2
Figures = dict[str, Any]


class Raw:
    """One keep-alive connection without an HTTP library: what is measured is the other side."""

    def __init__(self, port: int, head: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = head

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def ask(self, path: str, target: str) -> float:
        """One request; the seconds that it took.

        Raises:
            RuntimeError: the answer is not 200.
        """
        lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{self._head}{target}\r\n"
        message = f"{lines}Content-Length: {len(ROW)}\r\n\r\n".encode() + ROW
        begun = time.perf_counter()
        self._socket.sendall(message)
        answer = self._socket.recv(65536)
        while not _is_whole(answer):
            more = self._socket.recv(65536)
            if not more:
                raise RuntimeError(f"the connection was closed after {answer!r}")
            answer += more
        seconds = time.perf_counter() - begun
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(answer.decode("utf-8", "replace"))
        return seconds


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    lengths = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    return len(body) >= lengths[0]


def measure(
    home: Path, model: bytes, models: int, memory_mb: int, requests: int, rounds: int
) -> Figures:
    """Start ``mme local`` over so many models, and measure.

    Args:
        home: an empty directory.
        model: a model's file.
        models: in the catalogue.
        memory_mb: for models, in the container: what is resident follows from it.
        requests: by Zipf's law, over several connections.
        rounds: of the front against the container.
    """
    lay(home / "state" / "s3" / BUCKET, model, models)
    local = LocalProcess(home / "state")
    try:
        local.wait_ready()
        created = time.perf_counter()
        _create(local, memory_mb)
        created = time.perf_counter() - created
        return {
            "models": models,
            "create_s": created,
            "front": _front(local, rounds),
            "zipf": _zipf(local, models, requests),
        }
    finally:
        status = local.stop(signal.SIGTERM)
        shutil.rmtree(home / "state")
        if status:
            raise RuntimeError(f"mme local ended with {status}: {local.said}")


def lay(bucket: Path, model: bytes, count: int) -> None:
    """A bucket of so many archives, as a file with many names: the disk is not measured.

    The original lies outside of the state, in which nothing but its own may be.
    """
    archive = artifacts.pack({MODEL_FILE: model})
    for number in range(count):
        if number % _NAMES == 0:
            original = bucket.parents[2] / f"{number}.original"
            bucket.mkdir(parents=True, exist_ok=True)
            original.write_bytes(archive)
        (bucket / target(number)).hardlink_to(original)


def target(number: int) -> str:
    """The name of a model."""
    return f"m{number:06}.tar.gz"


def _client(local: LocalProcess, service: str) -> Any:
    session = boto3.Session("local", "local", region_name="us-east-1")
    return session.client(service, endpoint_url=local.url)


def _create(local: LocalProcess, memory_mb: int) -> None:
    sagemaker = _client(local, "sagemaker")
    sagemaker.create_model(
        ModelName=ENDPOINT,
        ExecutionRoleArn=_ROLE,
        PrimaryContainer={
            "Image": "xgboost-mme",
            "Mode": "MultiModel",
            "ModelDataUrl": f"s3://{BUCKET}/",
            "Environment": {"MME_MODEL_MEMORY_MB": str(memory_mb)},
        },
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": ENDPOINT,
        "InstanceType": "ml.c5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=ENDPOINT, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName=ENDPOINT)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=ENDPOINT)


def _page(local: LocalProcess, path: str) -> Any:
    with urllib.request.urlopen(f"{local.url}/_mme/{path}", timeout=_SECONDS) as answer:  # noqa: S310  # our own URL
        return json.load(answer)


def _instance(local: LocalProcess) -> Any:
    return _page(local, "state")["endpoints"][0]["variants"][0]["instances"][0]


def _front(local: LocalProcess, rounds: int) -> Figures:
    """One warm row through the front, and straight to the container, in turns."""
    front = Raw(local.port, HEAD)
    front.ask(PATH, target(0))
    name = _page(local, f"models?endpoint={ENDPOINT}")["models"][0]["name"]
    direct = Raw(int(_instance(local)["url"].rpartition(":")[2]), HEAD)
    seen: dict[str, list[float]] = collections.defaultdict(list)
    for number in range(rounds + 2):
        for what, raw, where in (
            ("front", front, PATH),
            ("container", direct, f"/models/{name}/invoke"),
        ):
            times = [raw.ask(where, target(0)) for _ in range(500)]
            if number >= 2:  # until Java has compiled what it will
                seen[what] += times
    front.close()
    direct.close()
    medians = {what: 1e6 * statistics.median(times) for what, times in seen.items()}
    return {
        "front_us": medians["front"],
        "container_us": medians["container"],
        "added_us": medians["front"] - medians["container"],
    }


def _zipf(local: LocalProcess, models: int, requests: int) -> Figures:
    """Requests by Zipf's law over all models; the second half of them is measured."""
    shares = np.arange(1, models + 1) ** -ZIPF
    numbers = np.random.default_rng(1).choice(models, requests, p=shares / shares.sum())
    first, second = np.array_split(numbers, 2)
    _ask_all(local, first)
    before, memory = _instance(local), memory_bytes(local.process.pid)
    begun = time.perf_counter()
    times = _ask_all(local, second)
    seconds = time.perf_counter() - begun
    after, grown = _instance(local), memory_bytes(local.process.pid) - memory
    asked = after["invocations"] - before["invocations"]
    p50, p90, p99 = np.quantile(times, [0.5, 0.9, 0.99])
    return {
        "requests": asked,
        "resident": after["loaded"],
        "hit_rate": (after["hits"] - before["hits"]) / asked,
        "evictions": after["evictions"] - before["evictions"],
        "rate": asked / seconds,
        "p50_ms": 1000 * p50,
        "p90_ms": 1000 * p90,
        "p99_ms": 1000 * p99,
        "cold_wait_ms": _waits(local),
        "memory_mb": memory / MIB,
        "grown_mb": grown / MIB,
    }


def _ask_all(local: LocalProcess, numbers: "np.ndarray[Any, np.dtype[np.int64]]") -> list[float]:
    """Ask for each model, over several connections; the seconds that each answer took."""
    queue = iter(numbers.tolist())

    def one_client() -> list[float]:
        raw = Raw(local.port, HEAD)
        times = [raw.ask(PATH, target(number)) for number in queue]
        raw.close()
        return times

    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as threads:
        clients = [threads.submit(one_client) for _ in range(CONNECTIONS)]
        return [seconds for client in clients for seconds in client.result()]


def _waits(local: LocalProcess) -> Figures:
    """How long requests waited for their model's load, as CloudWatch says."""
    now = datetime.datetime.now(datetime.UTC)
    points = _client(local, "cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="ModelLoadingWaitTime",
        Dimensions=[
            {"Name": "EndpointName", "Value": ENDPOINT},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - datetime.timedelta(days=1),
        EndTime=now + datetime.timedelta(days=1),
        Period=86400,
        ExtendedStatistics=["p50", "p90", "p99"],
    )["Datapoints"]
    return {name: value / 1000 for name, value in points[-1]["ExtendedStatistics"].items()}
