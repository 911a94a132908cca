"""The process of ``mme local``: starts moto and the endpoints, listens, and ends them all."""

import asyncio
import contextlib
import fcntl
import json
import shutil
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from mme.local.aws.moto import Moto, MotoError
from mme.local.aws.objects import Objects
from mme.local.aws.proxy import Proxy
from mme.local.containers import serve_container
from mme.local.containers.container import Container, ContainerError, Spec
from mme.local.containers.docker_container import DockerContainer, remove_stale
from mme.local.containers.serve_container import ServeContainer
from mme.local.control import validation
from mme.local.control.autoscaler import Autoscaler
from mme.local.control.control import Control
from mme.local.control.store import Store, StoreError
from mme.local.front import REGION, VERSION, Front
from mme.local.runtime.cache import Surroundings
from mme.local.runtime.deployment import MULTI_MODEL, Variant
from mme.local.runtime.endpoints import Endpoint, Endpoints
from mme.local.runtime.history import Events
from mme.local.runtime.instance import memory_limit_bytes
from mme.local.runtime.pool import INSTANCES
from mme.local.runtime.runtime import Runtime
from mme.local.settings import Settings
from mme.local.settle import Settler
from mme.local.state import State
from mme.local.training.jobs import Jobs
from mme.process import LOCAL_READY

ACCOUNT = "123456789012"
HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_KEEP_ALIVE_SECONDS = 300
_BACKLOG = 2048
# What a state has, by how the names begin.
_STATE = ("control.sqlite", "instances", "lock", "logs", "s3", "training")
_MODELS_BUCKET = "mme-local-models"
_ROLE = f"arn:aws:iam::{ACCOUNT}:role/mme-local"
_TYPE = "ml.m5.xlarge"  # of the endpoint over a folder


class StartError(Exception):
    """It cannot start; the message is the one line to print."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    port: int
    state: Path
    models: Path | None
    endpoint: str | None
    docker: bool
    settings: Settings


class Server:
    """One ``mme local``."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._events = Events()

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT.

        Returns:
            The exit status: 0.

        Raises:
            StartError: the port or the state is somebody else's, or moto does not start.
        """
        state = self._options.state
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(_listening(self._options.port))
            stack.enter_context(_locked(state))
            # What a run has left that was killed.
            for instance in (state / "instances").glob(INSTANCES):
                shutil.rmtree(instance, ignore_errors=True)
            serve_container.remove_stale(state / "instances")
            if self._options.models is not None:
                _link_bucket(state, self._options.models)
            moto = Moto(state)
            try:
                await self._remove_stale()
                stack.enter_context(moto.running())
            except (ContainerError, MotoError) as error:
                raise StartError(str(error)) from None
            try:
                store = Store(state / "control.sqlite")
            except StoreError as error:
                raise StartError(str(error)) from None
            stack.enter_context(contextlib.closing(store))
            await self._serve(listener, moto, store)
        return 0

    async def _remove_stale(self) -> None:
        """Remove containers of Docker that a run has left which was killed, whatever this one is.

        Raises:
            ContainerError: there is no engine, and it is needed.
        """
        try:
            await remove_stale(str(self._options.state))
        except ContainerError:
            if self._options.docker:
                raise

    async def _serve(self, listener: socket.socket, moto: Moto, store: Store) -> None:
        options, url = self._options, f"http://{HOST}:{moto.port}"
        objects = Objects(options.state / "s3")
        endpoints = Endpoints(
            store=store,
            objects=objects,
            make=self._make,
            folder=options.state / "instances",
            events=self._events,
            settings=options.settings,
            account=ACCOUNT,
        )
        jobs = Jobs(
            *(store, objects, options.state / "training", options.state / "logs"),
            docker=options.docker,
        )
        jobs.restore()
        control = Control(store, endpoints, objects, jobs, ACCOUNT)
        settler = Settler(url, endpoints, options.state / "logs")
        autoscaler = Autoscaler(url, endpoints, options.settings.minute_seconds)
        front = Front(
            Runtime(endpoints, self._events, options.settings, ACCOUNT),
            control,
            autoscaler,
            settler,
            State(endpoints, self._events, VERSION, REGION),
            Proxy(HOST, moto.port),
        )
        http = _Http(front)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, http.stop)
        endpoints.restore()
        await asyncio.to_thread(validation.service)  # takes a moment, when first asked for
        work = [asyncio.create_task(one) for one in (settler.run(), autoscaler.run(), moto.keep())]
        try:
            # Who connects meanwhile, waits.
            await _unless(http.stopping, self._serve_models(control, endpoints))
            serving = asyncio.create_task(http.serve(sockets=[listener]))
            port = listener.getsockname()[1]
            _say(f"mme local listens on http://{HOST}:{port} (state in {options.state})")
            await _unless(http.stopping, _announce(endpoints))
            await serving
        finally:  # also when it cannot start: containers of Docker would stay
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await jobs.close()
            await endpoints.stop()

    def _make(self, identity: str, around: Surroundings, variant: Variant, home: Path) -> Container:
        """The container of an instance."""
        state = self._options.state
        log = state / "logs" / around.region / around.endpoint / variant.name / f"{identity}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        spec = Spec(
            instance=identity,
            endpoint=around.endpoint,
            image=variant.image,
            multi_model=variant.multi_model,
            models=home / "models",
            log=log,
            environment=variant.environment,
            memory_bytes=memory_limit_bytes(variant, around),
            region=around.region,
        )
        return DockerContainer(spec, str(state)) if self._options.docker else ServeContainer(spec)

    async def _serve_models(self, control: Control, endpoints: Endpoints) -> None:
        """Have the endpoint over ``--models`` in service, made as a client makes it."""
        name = self._options.endpoint
        if name is None:
            return
        if endpoints.get(name) is None:
            await _create(control, name)
        await endpoints.settled(name, _START_SECONDS)


async def _create(control: Control, name: str) -> None:
    calls: dict[str, dict[str, object]] = {
        "CreateModel": {
            "ModelName": name,
            "ExecutionRoleArn": _ROLE,
            "PrimaryContainer": {
                "Image": "xgboost-mme",
                "Mode": MULTI_MODEL,
                "ModelDataUrl": f"s3://{_MODELS_BUCKET}/",
            },
        },
        "CreateEndpointConfig": {
            "EndpointConfigName": name,
            "ProductionVariants": [
                {
                    "VariantName": "AllTraffic",
                    "ModelName": name,
                    "InstanceType": _TYPE,
                    "InitialInstanceCount": 1,
                }
            ],
        },
        "CreateEndpoint": {"EndpointName": name, "EndpointConfigName": name},
    }
    for operation, request in calls.items():
        status, answer = await control.call(operation, json.dumps(request).encode(), REGION)
        if status != 200 and b"already existing" not in answer:
            raise StartError(json.loads(answer)["message"])


async def _announce(endpoints: Endpoints) -> None:
    """Say of each endpoint how it has started, then that all have."""
    for endpoint in endpoints.all():
        await endpoint.settled(_START_SECONDS)
        _say(_state_of(endpoint))
    _say(LOCAL_READY.strip())


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do something, but no more of it when we are to stop."""
    task, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if task.done():
        task.result()
    task.cancel()


def _state_of(endpoint: Endpoint) -> str:
    reason = endpoint.document.get("FailureReason")
    return f"endpoint {endpoint.name}: {endpoint.status}{f' ({reason})' if reason else ''}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class _Http(uvicorn.Server):
    """The HTTP server; signals are ours."""

    def __init__(self, front: Front) -> None:
        super().__init__(
            uvicorn.Config(
                front,
                http="httptools",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=int(_STOP_SECONDS),
            )
        )

        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to us."""
        yield

    def stop(self) -> None:
        """Take no more requests, and end when those in flight are answered; asked again, now."""
        self.stopping.set()
        self.force_exit = self.should_exit
        self.should_exit = True


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """The state is ours alone."""
    strange = [path for path in state.glob("*") if not path.name.startswith(_STATE)]
    if strange:
        raise StartError(f"{state} has {strange[0].name}, so it is no state of mme local's")
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "lock").open("a")
    except OSError as error:
        raise StartError(f"{state} cannot be written: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"another mme local has its state in {state}: --state DIR") from None
        yield


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise StartError(f"port {port} cannot be taken: {error}") from None
        listener.listen(_BACKLOG)
        yield listener


def _link_bucket(state: Path, models: Path) -> None:
    """The folder is the bucket that the endpoint's archives come from."""
    bucket = state / "s3" / _MODELS_BUCKET
    bucket.parent.mkdir(parents=True, exist_ok=True)
    if bucket.is_symlink():
        bucket.unlink()
    elif bucket.exists():
        raise StartError(f"{bucket} is a bucket already: --models needs its name")
    bucket.symlink_to(models, target_is_directory=True)
