"""A control plane to test: endpoints that only change their status, and HTTP for boto3."""

import asyncio
import contextlib
import functools
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from mme.local.aws.objects import Objects
from mme.local.control.control import Control
from mme.local.control.store import Store
from mme.local.runtime.deployment import Deployment
from mme.local.training import document as documents
from mme.local.training.plan import Plan

REGION, ACCOUNT = "us-east-1", "123456789012"
SINGLE = {"Image": "any"}  # a container for one model
NO_EMULATION = "is not emulated by mme local."
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
BUCKET = "data"
SECONDS = 20
T = TypeVar("T")


def arn(kind: str, name: str) -> str:
    """The ARN of a resource."""
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"


def container(**more: Any) -> dict[str, Any]:
    """A multi-model container over the bucket."""
    url = f"s3://{BUCKET}/models/"
    return {"Image": "xgboost-mme", "Mode": "MultiModel", "ModelDataUrl": url, **more}


def variant(name: str = "AllTraffic", **more: Any) -> dict[str, Any]:
    """A production variant."""
    return {
        "VariantName": name,
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        **more,
    }


def bucket(root: Path) -> Objects:
    """A bucket with two models."""
    models = root / BUCKET / "models"
    models.mkdir(parents=True)
    for name in ("a.tar.gz", "b.tar.gz"):
        (models / name).write_bytes(b"any")
    return Objects(root)


@functools.cache
def _session() -> boto3.Session:
    """One for all, since each reads the service's model anew."""
    return boto3.Session("local", "local", region_name=REGION)


class MemoryEndpoints:
    """Endpoints without containers; a change takes as long as the gate is closed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.gate = asyncio.Event()
        self.gate.set()
        self._changes: dict[str, asyncio.Task[None]] = {}

    def _begin(self, document: dict[str, Any], status: str, then: Callable[[], None]) -> None:
        self._save(document, status)

        async def change() -> None:
            await self.gate.wait()
            then()

        self._changes[document["EndpointName"]] = asyncio.create_task(change())

    def _save(self, document: dict[str, Any], status: str) -> None:
        document["EndpointStatus"] = status
        document["ProductionVariants"] = [
            {
                "VariantName": one.name,
                "CurrentWeight": one.weight,
                "DesiredWeight": one.weight,
                "CurrentInstanceCount": one.instance_count,
                "DesiredInstanceCount": one.instance_count,
            }
            for one in Deployment.from_json(document["Deployment"]).variants
        ]
        self.store.put("endpoint", document["EndpointName"], document)

    def document(self, name: str) -> dict[str, Any]:
        """What the store has."""
        document = self.store.get("endpoint", name)
        assert document is not None
        return document

    async def create(self, document: dict[str, Any]) -> None:
        """Create an endpoint."""
        self._begin(document, "Creating", lambda: self._save(document, "InService"))

    async def update(self, name: str, document: dict[str, Any]) -> None:
        """Replace what an endpoint runs."""
        assert document["EndpointName"] == name
        self._begin(self.document(name), "Updating", lambda: self._save(document, "InService"))

    async def scale(self, name: str, wanted: Mapping[str, tuple[float | None, int | None]]) -> None:
        """Give variants other weights and counts."""
        document = self.document(name)
        deployment = Deployment.from_json(document["Deployment"])
        all_wanted = {}
        for one in deployment.variants:
            weight, count = wanted.get(one.name, (None, None))
            all_wanted[one.name] = (
                one.weight if weight is None else weight,
                one.instance_count if count is None else count,
            )
        document["Deployment"] = deployment.scaled(all_wanted).to_json()
        self._begin(document, "Updating", lambda: self._save(document, "InService"))

    async def delete(self, name: str) -> None:
        """Delete an endpoint."""

        def gone() -> None:
            self.store.remove("endpoint", name)

        self._begin(self.document(name), "Deleting", gone)

    async def settled(self, name: str, seconds: float) -> None:
        """Return when it is not changing any more, or the time is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._changes[name]), seconds)

    async def fail(self, name: str, reason: str) -> None:
        """As if its containers had not started."""
        self._save(self.document(name) | {"FailureReason": reason}, "Failed")


class MemoryJobs:
    """Training jobs without processes: they run until they are stopped."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.plans: dict[str, Plan] = {}

    async def create(self, document: dict[str, Any]) -> None:
        """Begin with a new job."""
        self.plans[document["TrainingJobName"]] = Plan.from_document(document)
        self._save(document)

    def _save(self, document: dict[str, Any]) -> None:
        self.store.put("training-job", document["TrainingJobName"], document)

    async def stop(self, name: str) -> None:
        """Stop a job."""
        document = self.store.get("training-job", name)
        assert document is not None
        self._save(documents.moved(document, "Stopped", "Stopped"))

    async def settled(self, name: str, seconds: float) -> None:
        """Return at once."""


class Plane:
    """The control plane behind HTTP, in a thread of its own.

    Args:
        root: a folder for its files.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.requests = root, 0
        self._loop = asyncio.new_event_loop()
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))

    async def _run(self) -> None:
        with contextlib.closing(Store(self.root / "control.sqlite")) as store:
            self.endpoints = MemoryEndpoints(store)
            self.control = Control(
                *(store, self.endpoints, bucket(self.root / "s3"), MemoryJobs(store), ACCOUNT)
            )
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._ready.set()
            await self._stop.wait()
            server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                target = next(line for line in head if line.startswith("X-Amz-Target"))
                self.requests += 1
                status, answer = await self.control.call(target.split(".")[1], body, REGION)
                writer.write(
                    b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n" % (status, len(answer)) + answer
                )

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something where the control plane is."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Within the block, endpoints do not come to the end of what they begin."""
        self._loop.call_soon_threadsafe(self.endpoints.gate.clear)
        yield
        self._loop.call_soon_threadsafe(self.endpoints.gate.set)

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """A client of boto3 for it, while it runs."""
        self._thread.start()
        assert self._ready.wait(SECONDS)
        client = _session().client(
            "sagemaker", endpoint_url=self.url, config=Config(read_timeout=SECONDS)
        )
        try:
            yield client
        finally:
            client.close()
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(SECONDS)
            self._loop.close()


@contextlib.contextmanager
def refused(message: str, code: str = "ValidationException") -> Iterator[None]:
    """Within the block, boto3 raises this."""
    with pytest.raises(ClientError) as raised:
        yield
    error = raised.value.response["Error"]
    assert (error["Code"], error.get("Message")) == (code, message)


def make(sagemaker: Any, *variants: dict[str, Any], name: str = "e", **config: Any) -> None:
    """A model, a configuration and an endpoint in service."""
    with contextlib.suppress(ClientError):
        sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, Containers=[container()])
    sagemaker.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=list(variants) or [variant()], **config
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)


def answer(plane: Plane, operation: str, **asked: Any) -> Any:
    """What is answered, as JSON."""
    status, body = plane.do(plane.control.call(operation, json.dumps(asked).encode(), REGION))
    return status, json.loads(body)


def without_metadata(described: dict[str, Any]) -> dict[str, Any]:
    """What is described, without what boto3 adds."""
    return {name: value for name, value in described.items() if name != "ResponseMetadata"}
