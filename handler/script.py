"""A model whose artifact brings a script: the server's side of the script's own process.

There is one process a model, as long as the model is loaded, and one request in it at a time. It
is ended as soon as it breaks a rule, and the model with it: whoever asks next loads it again.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sagemaker_inference import content_types, parameters

from handler import memory
from handler.directory import CODE
from handler.disposable import Reply
from handler.errors import Fault, HandlerError
from handler.model_settings import ModelSettings
from handler.script_process import HEAD, MARK, MAX_OBJECT_BYTES, fault_body, packed
from handler.settings import Settings

_LATE_SECONDS = 0.05  # so that who asked has the answer before nobody waits for it
_LOOK_SECONDS = 0.2  # what a script forked may keep the connection of a dead one open
_END_SECONDS = 1.0  # that a process may take to end after its connection, or when it is killed
_QUEUED_SECONDS = 0.01  # who waited so long was not the only one
_CHUNK = 1024**2
_MORE_BYTES = 64 * 1024  # of an answer that is a fault, where answers must be small


class _GoneError(Exception):
    """The process has ended, or had to be; the message is how."""


class ScriptModel:
    """A script in its process, loaded; ``start`` makes one."""

    def __init__(
        self, directory: Path, name: str, settings: Settings, own: ModelSettings, until: float
    ) -> None:
        self.size = 0
        self._called = f"{CODE}/{settings.program}"
        self._lock = threading.Lock()  # who has it has the process to itself
        self._closed = False
        self._ended = ""  # how the process did
        self._number = 0  # of the last message
        self._took = 0.0  # seconds, for the last answer
        self._own, self._most_bytes = own, settings.max_response_bytes
        self._oom_kills = memory.oom_kills()
        place = Path(os.path.abspath(directory))  # noqa: PTH100  # links stay as they are
        if not (place / CODE / settings.program).is_file():
            raise HandlerError(Fault.BAD_MODEL, f"there is no script {self._called}")
        self._channel, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _started(theirs, _environment(place, settings, own))
            except OSError as error:
                self._channel.close()
                sentence = f"no process for {self._called}: {error.strerror}; unload models"
                raise HandlerError(Fault.OUT_OF_MEMORY, sentence) from None
        try:
            self._load(
                {
                    "directory": str(place),
                    "name": name,
                    "program": settings.program,
                    "memory_mb": own.script_memory_mb or settings.script_memory_mb,
                    "most_bytes": settings.max_response_bytes,
                },
                until - _LATE_SECONDS,
            )
        except BaseException:
            self.close()
            raise

    @classmethod
    def start(
        cls, directory: Path, name: str, settings: Settings, own: ModelSettings, until: float
    ) -> "ScriptModel":
        """Start the process of an artifact's script, and have it load its model.

        The process ends with the thread that calls this, which has to last as long as the model.

        Args:
            directory: the artifact's.
            name: of the model.
            settings: the container's.
            own: the model's.
            until: CLOCK_MONOTONIC seconds; then the process is killed.

        Raises:
            HandlerError: 500, the script or its ``model_fn`` is missing, fails, or takes too long;
                507, it wants more memory than it may have. One sentence says so.
        """
        return cls(directory, name, settings, own, until)

    @property
    def dead(self) -> bool:
        """Whether the process has gone; no answer comes from this model any more."""
        return bool(self._ended) or self._process.poll() is not None

    def _load(self, said: dict[str, Any], ends: float) -> None:
        begun = time.monotonic()
        try:
            head, _ = self._ask(said, b"", ends)
        except TimeoutError:
            seconds = round(time.monotonic() - begun, 1)
            sentence = f"{self._called} did not load in {seconds} s"
            raise HandlerError(Fault.BAD_MODEL, sentence) from None
        except _GoneError as gone:
            if str(gone) == "out of memory":
                sentence = f"not enough memory to load {self._called}; unload models and try again"
                raise HandlerError(Fault.OUT_OF_MEMORY, sentence) from None
            sentence = f"{self._called} did not load, its process ended: {gone}"
            raise HandlerError(Fault.BAD_MODEL, sentence) from None
        if head.get("failed"):
            fault, sentence = head["failed"]
            raise HandlerError(Fault[fault], sentence)
        self.size = _private_bytes(self._process.pid)

    def answer(
        self, content_type: str | None, accept: str | None, body: bytes, until: float
    ) -> Reply:
        """Have the script answer one request, after those that came before it.

        Args:
            content_type: of the body, as the client names it.
            accept: the client's, as it is.
            body: the client's.
            until: CLOCK_MONOTONIC seconds; then the process is killed, if it has begun.

        Returns:
            A status, a content type and a body: what the script answers, or what its exception
            became; 503 when the time went by in the queue.

        Raises:
            HandlerError: 500, the process ended or had to be ended; then the model is ``dead``.
        """
        arrived = time.monotonic()
        ends = until - _LATE_SECONDS
        if not self._lock.acquire(timeout=max(0.0, ends - arrived)):
            return _busy(arrived)
        try:
            begun = time.monotonic()
            # To begin what cannot end in time would cost the process, and those who wait for it.
            needs = self._took if begun - arrived > _QUEUED_SECONDS else 0.0
            if ends - begun <= needs and not self._ended:
                return _busy(arrived)
            return self._answered(content_type, accept, body, begun, ends)
        finally:
            self._lock.release()

    def _answered(
        self, content_type: str | None, accept: str | None, body: bytes, begun: float, ends: float
    ) -> Reply:
        if self._own.script_seconds:
            ends = min(ends, begun + self._own.script_seconds)
        asked = {"content_type": content_type or self._own.content_type or None, "accept": accept}
        try:
            head, answer = self._ask(asked, body, ends)
        except TimeoutError:
            seconds = round(time.monotonic() - begun, 1)
            sentence = f"no answer in {seconds} s: {self._called} hangs, or needs more time"
            raise HandlerError(Fault.MODEL_CRASHED, sentence) from None
        except _GoneError as gone:
            sentence = f"the process of {self._called} ended: {gone}"
            raise HandlerError(Fault.MODEL_CRASHED, sentence) from None
        self._took = time.monotonic() - begun
        return head["status"], head["content_type"], answer

    def close(self) -> None:
        """End the process and all that it forked; a request in it is answered with 500."""
        self._closed = True
        if not self._ended:
            self._kill()
        if self._lock.acquire(timeout=_END_SECONDS):
            try:
                self._end("", 0)
            finally:
                self._lock.release()

    def _ask(self, said: dict[str, Any], body: bytes, ends: float) -> tuple[dict[str, Any], bytes]:
        """Send a message and wait for its answer, a JSON object and a body.

        Raises:
            _GoneError: the process ended, or was ended for what it sent.
            TimeoutError: it took too long, and was ended.
        """
        if self._ended:
            raise _GoneError(self._ended)
        self._number += 1
        try:
            for part in (packed(said | {"number": self._number}, len(body)), body):
                self._channel.settimeout(max(0.001, ends - time.monotonic()))
                self._channel.sendall(part)
            return self._received(ends)
        except TimeoutError:
            self._end("it took too long", 0)
            raise
        except _GoneError as gone:
            raise _GoneError(self._end(str(gone), 0)) from None
        except OSError:
            lost = "it closed its connection to the server"
            raise _GoneError(self._end(lost, _END_SECONDS)) from None

    def _received(self, ends: float) -> tuple[dict[str, Any], bytes]:
        received = bytearray()
        needed = middle = HEAD.size
        while len(received) < needed:
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(min(left, _LOOK_SECONDS))
            try:
                data = self._channel.recv(_CHUNK)
            except TimeoutError:
                if self._process.poll() is not None:
                    raise ConnectionResetError from None
                continue
            if not data:
                raise ConnectionResetError
            received += data
            if needed == HEAD.size and len(received) >= HEAD.size:
                mark, head_length, length = HEAD.unpack_from(received)
                if mark != MARK or head_length > MAX_OBJECT_BYTES:
                    raise _GoneError("it wrote into its connection to the server")
                if length > self._most_bytes + _MORE_BYTES:
                    raise _GoneError(f"it sent {length} bytes")
                middle, needed = HEAD.size + head_length, HEAD.size + head_length + length
        head: dict[str, Any] = json.loads(received[HEAD.size : middle])
        if head["number"] != self._number or len(received) > needed:
            raise _GoneError("it answered twice: it forked, and both returned from a hook")
        return head, bytes(memoryview(received)[middle:needed])

    def _end(self, how: str, patience: float) -> str:
        """End the process, after so many seconds in which it may do so itself; return how."""
        if self._ended:
            return self._ended
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
            if (code := self._process.poll()) is not None:
                how = self._cause(code)
        self._kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._channel.close()
        self._ended = "the model was unloaded" if self._closed else how
        return self._ended

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _cause(self, code: int) -> str:
        if code == os.EX_PROTOCOL:
            return "it closed its connection to the server"
        if code >= 0:
            return f"exit status {code}"
        if code == -signal.SIGKILL and memory.oom_kills() > self._oom_kills:
            return "out of memory"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


def _started(channel: socket.socket, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    descriptor = channel.fileno()
    # -P: nothing beside the server is imported for being called as a module is; -u: nothing that
    # a script prints is lost with its process.
    command = [sys.executable, "-P", "-u", "-m", "handler.script_process"]
    return subprocess.Popen(
        [*command, str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=2,
        env=environment,
        pass_fds=[descriptor],
        process_group=0,
    )


def _environment(place: Path, settings: Settings, own: ModelSettings) -> dict[str, str]:
    environment = dict(os.environ)
    if own.threads:
        environment["OMP_NUM_THREADS"] = str(own.threads)
    # Else libraries take a thread for each core, in each of many processes.
    environment.setdefault("OMP_NUM_THREADS", str(settings.threads))
    environment[parameters.USER_PROGRAM_ENV] = settings.program
    environment["SAGEMAKER_SUBMIT_DIRECTORY"] = str(place / CODE)
    accept = own.accept or settings.default_accept
    environment[parameters.DEFAULT_INVOCATIONS_ACCEPT_ENV] = accept
    return environment


def _private_bytes(pid: int) -> int:
    """Bytes that a process has for itself, and would give back."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))
    except OSError:
        with contextlib.suppress(OSError):
            _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
            return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _busy(arrived: float) -> Reply:
    seconds = round(time.monotonic() - arrived, 1)
    sentence = f"no answer in {seconds} s: the script was busy with requests before this one"
    body = fault_body(503, "ServiceUnavailableException", sentence)
    return 503, content_types.JSON, body
