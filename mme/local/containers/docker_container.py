"""An image as the container of an instance: run by the Docker Engine as SageMaker runs it."""

import asyncio
import contextlib
import math
import time
from typing import Any

from mme.local.containers.container import HOST, ContainerError, Spec, sentence
from mme.local.containers.engine import Engine, EngineError, labelled, to

_PORT = "8080"
_SAFE_PORTS = "25000-25999"
_HOST_NAME = "model.aws.local"
_MULTI_MODEL = "com.amazonaws.sagemaker.capabilities.multi-models"
_STATE, _ENDPOINT = "mme.local.state", "mme.local.endpoint"
_FRESH_SECONDS = 1.0  # the engine measures no sooner again: a second look would wait for so long
_CLOSE_SECONDS = 10.0  # for the last of a log to come


class DockerContainer:
    """A container of Docker.

    Args:
        spec: what to run.
        label: names the state directory, for ``remove_stale``.

    Attributes:
        name: of the container in Docker.
    """

    def __init__(self, spec: Spec, label: str) -> None:
        self._spec = spec
        self._label = label
        self.url_host, self.url_port = HOST, 0
        self.model_root = "/opt/ml/models" if spec.multi_model else "/opt/ml/model"
        self.name = f"mme-local-{spec.instance}"
        self._engine: Engine | None = None
        self._life: asyncio.Task[None] | None = None
        self._end: str | None = None
        self._measuring = asyncio.Lock()
        self._measured: dict[str, Any] = {}
        self._measured_at = -math.inf

    async def start(self) -> None:
        """As of ``Container``."""
        self._spec.model_root.mkdir(parents=True, exist_ok=True)
        # The image's user, who is not ours, looks into it; below, the files are for all to read.
        self._spec.model_root.chmod(0o755)
        engine = Engine()
        image = await self._find_image(engine)
        self._engine = engine  # from here on there is something to remove
        try:
            await engine.call("POST", to("containers", "create", name=self.name), self._body(image))
            await engine.call("POST", to("containers", self.name, "start"))
            state = await engine.call("GET", to("containers", self.name, "json"))
        except ContainerError as error:
            await self._remove(engine)
            raise ContainerError(f"the image {image} cannot be run: {error}") from None
        # There is no port when it has ended already: `ended` will say so.
        for binding in state["NetworkSettings"]["Ports"].get(f"{_PORT}/tcp") or ():
            self.url_port = int(binding["HostPort"])
        self._life = asyncio.create_task(self._follow(engine))

    async def _find_image(self, engine: Engine) -> str:
        """The name by which the engine has the image: in full, or without its registry."""
        wanted = self._spec.image
        short = wanted.rpartition("/")[2]
        for name in dict.fromkeys((wanted, short)):
            try:
                image = await engine.call("GET", to("images", name, "json"))
            except EngineError as error:
                if not error.missing:
                    raise
                continue
            labels = image["Config"].get("Labels") or {}
            if self._spec.multi_model and labels.get(_MULTI_MODEL) != "true":
                raise ContainerError(
                    f"Your Ecr Image {wanted} does not contain required {_MULTI_MODEL}=true "
                    "Docker label(s)."
                )
            return name
        raise ContainerError(
            f"the image {wanted} is not in the local Docker Engine: build it (`make image` builds "
            f"xgboost-mme), `docker pull` it, or name one so with `docker tag IMAGE {short}`"
        )

    def _body(self, image: str) -> dict[str, Any]:
        spec = self._spec
        variables = {
            **spec.variables(),
            "SAGEMAKER_BIND_TO_PORT": _PORT,
            "SAGEMAKER_SAFE_PORT_RANGE": _SAFE_PORTS,
        }
        models = {
            "Type": "bind",
            "Source": str(spec.model_root.resolve()),
            "Target": self.model_root,
            "ReadOnly": True,
        }
        return {
            "Image": image,
            "Cmd": ["serve"],
            "Hostname": _HOST_NAME,
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": {_STATE: self._label, _ENDPOINT: spec.endpoint},
            "ExposedPorts": {f"{_PORT}/tcp": {}},
            "HostConfig": {
                "Memory": spec.memory_bytes,
                "MemorySwap": spec.memory_bytes,  # none beyond: an instance does not swap
                "Mounts": [models],
                "PortBindings": {f"{_PORT}/tcp": [{"HostIp": HOST, "HostPort": ""}]},
                "LogConfig": {"Type": "local"},  # which has a bound, while we copy it
            },
        }

    async def _follow(self, engine: Engine) -> None:
        """Copy what it writes, to its end; then find out how it ended."""
        try:
            with self._spec.log.open("ab", buffering=0) as log:
                async for data in engine.logs(self.name):
                    with contextlib.suppress(OSError):  # a full disk must not end an instance
                        log.write(data)
            await engine.call("POST", to("containers", self.name, "wait"))
            state = (await engine.call("GET", to("containers", self.name, "json")))["State"]
        except (OSError, ContainerError) as error:
            self._end = f"the container was lost: {error}"
            return
        memory = " for want of memory" if state["OOMKilled"] else ""
        how = f"the container ended with status {state['ExitCode']}{memory}"
        self._end = sentence(how, self._spec.log)

    def ended(self) -> str | None:
        """As of ``Container``."""
        return self._end

    async def memory_bytes(self) -> int:
        """As of ``Container``: what counts against its limit, without the files that it read."""
        memory = (await self._stats()).get("memory_stats", {})
        kinds = memory.get("stats", {})
        files = kinds.get("total_inactive_file", kinds.get("inactive_file", 0))
        return max(0, int(memory.get("usage", 0)) - int(files))

    async def cpu_seconds(self) -> float:
        """As of ``Container``."""
        cpu = (await self._stats()).get("cpu_stats", {})
        return int(cpu.get("cpu_usage", {}).get("total_usage", 0)) / 1e9

    async def _stats(self) -> dict[str, Any]:
        if self._engine is None or self._end is not None:
            return {}
        path = to("containers", self.name, "stats", **{"stream": "false", "one-shot": "true"})
        async with self._measuring:
            if time.monotonic() - self._measured_at > _FRESH_SECONDS:
                try:
                    self._measured = await self._engine.call("GET", path)
                except ContainerError:
                    self._measured = {}
                self._measured_at = time.monotonic()
            return self._measured

    async def stop(self, seconds: float = 30) -> None:
        """As of ``Container``; what a silent engine keeps is for ``remove_stale``."""
        if self._engine is None:
            return
        path = to("containers", self.name, "stop", t=round(seconds))
        with contextlib.suppress(ContainerError):
            await self._engine.call("POST", path, seconds=seconds + _CLOSE_SECONDS)
        if self._life is not None:
            await asyncio.wait([self._life], timeout=_CLOSE_SECONDS)
            self._life.cancel()
        await self._remove(self._engine)

    async def _remove(self, engine: Engine) -> None:
        with contextlib.suppress(ContainerError):
            await engine.call("DELETE", to("containers", self.name, force=1, v=1))


async def remove_stale(label: str) -> None:
    """Remove the containers of an earlier run over the same state directory, which was killed.

    Args:
        label: as of ``DockerContainer``.

    Raises:
        ContainerError: the engine cannot be used.
    """
    engine = Engine()
    found = to("containers", "json", all=1, filters=labelled({_STATE: label}))
    for container in await engine.call("GET", found):
        with contextlib.suppress(EngineError):  # somebody else removes it
            await engine.call("DELETE", to("containers", container["Id"], force=1, v=1))
