"""The Docker Engine of this machine, by its HTTP API: quicker than its command, and no processes.

Requests are of HTTP 1.0, so that an answer is whole when the engine closes the connection.
"""

import asyncio
import contextlib
import functools
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from mme.local.containers.container import ContainerError

_SOCKET: Final = "unix:///var/run/docker.sock"
_SECONDS = 60.0
_FRAME_HEAD = 8  # of a log: the stream, three zeros, the length of what follows
_NOT_FOUND = 404


class EngineError(ContainerError):
    """The engine refused; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def missing(self) -> bool:
        """There is no such image or container."""
        return self.status == _NOT_FOUND


class Engine:
    """The engine that the ``docker`` command would talk to: by DOCKER_HOST, or its context.

    Raises:
        ContainerError: it is not one of this machine.
    """

    def __init__(self) -> None:
        address = os.environ.get("DOCKER_HOST") or _address_of_context()
        if not address.startswith("unix://"):
            raise ContainerError(
                f"the Docker Engine is at {address}, and instances need one of this machine: set "
                f"DOCKER_HOST={_SOCKET}"
            )
        self._path = address.removeprefix("unix://")

    async def call(
        self, method: str, path: str, body: object = None, *, seconds: float = _SECONDS
    ) -> Any:
        """Make one call.

        Args:
            method: of HTTP.
            path: with its query, as ``to`` makes it.
            body: sent as JSON.
            seconds: to wait for the whole answer.

        Returns:
            The answer's JSON, or nothing.

        Raises:
            EngineError: the engine answers with an error.
            ContainerError: it does not answer.
        """
        try:
            async with asyncio.timeout(seconds), self._asked(method, path, body) as answer:
                text = await answer.read()
        except TimeoutError:
            raise self._silent(f"no answer to {method} {path} in {seconds:.0f} s") from None
        return json.loads(text) if text.strip() else None

    async def logs(self, container: str) -> AsyncIterator[bytes]:
        """What a container has written and writes, until it ends.

        Raises:
            ContainerError: as of ``call``.
        """
        path = to("containers", container, "logs", follow=1, stdout=1, stderr=1)
        async with self._asked("GET", path) as answer:
            with contextlib.suppress(asyncio.IncompleteReadError):
                while True:
                    head = await answer.readexactly(_FRAME_HEAD)
                    yield await answer.readexactly(int.from_bytes(head[4:]))

    @contextlib.asynccontextmanager
    async def _asked(
        self, method: str, path: str, body: object = None
    ) -> AsyncIterator[asyncio.StreamReader]:
        """Ask, and hand out the body of an answer that is no error."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n"
        try:
            answer, request = await asyncio.open_unix_connection(self._path)
            try:
                request.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
                status = int((await answer.readuntil(b"\r\n\r\n")).split(maxsplit=2)[1])
                if status >= 400:
                    raise EngineError(status, _message(await answer.read()))
                yield answer
            finally:
                request.close()
        except PermissionError:
            raise self._silent("this user may not use it; is it in the group docker?") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            reason = getattr(error, "strerror", None) or "it closed the connection"
            raise self._silent(f"{reason}; does Docker run here?") from None

    def _silent(self, reason: str) -> ContainerError:
        return ContainerError(f"the Docker Engine at {self._path} cannot be used: {reason}")


def to(*parts: str, **query: object) -> str:
    """A path of the API."""
    path = "".join(f"/{quote(part, safe='/:@')}" for part in parts)
    return f"{path}?{urlencode(query)}" if query else path


def labelled(labels: Mapping[str, str]) -> str:
    """The filter for containers with these labels."""
    return json.dumps({"label": [f"{name}={value}" for name, value in labels.items()]})


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()


@functools.cache
def _address_of_context() -> str:
    """Where the command's current context says that the engine is."""
    if shutil.which("docker") is None:
        return _SOCKET
    asked = subprocess.run(
        ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    return asked.stdout.strip() or _SOCKET
