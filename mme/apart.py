"""Files of strangers, looked at in a process of its own: what kills it is an answer, not the end.

The other side is ``mme.examiner``. A process does one job after another, until one does not go
well; so a file that harms it harms nothing that is said of the next.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import IO, Any

from mme.local.containers import tied

SECONDS = 300.0  # for one job, as the container has for a load
# -P: no module of the folder that the command runs in, which may be the stranger's, is imported.
COMMAND = (sys.executable, "-P", "-m", "mme.examiner")
_CHUNK = 1024**2


class RefusedError(Exception):
    """The job cannot be done; the message is the sentence that the container would answer."""


class Apart:
    """A process that does jobs, and the one after it.

    Args:
        command: the process's.
        seconds: for each job.
    """

    def __init__(self, command: tuple[str, ...] = COMMAND, seconds: float = SECONDS) -> None:
        self._command, self._seconds = command, seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Apart":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, operation: str, **job: Any) -> dict[str, Any]:
        """Have one job done.

        Args:
            operation: what.
            job: to what; all of it can be written as JSON.

        Raises:
            RefusedError: it cannot be done, or kills the process, or takes too long.
        """
        process = self._process = self._process or self._started()
        stdin, stdout = _pipes(process)
        # Else it has ended already, and the reading says how.
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps({"operation": operation, **job}).encode() + b"\n")
            stdin.flush()
        fit = False
        try:
            line = _line(stdout, time.monotonic() + self._seconds)
            if line is None:
                raise RefusedError(_died(process))
            reply: dict[str, Any] = json.loads(line)
            if "refused" in reply:
                raise RefusedError(str(reply["refused"]))
            fit = True
        except TimeoutError:
            sentence = f"the model did not load in {self._seconds:g} s"
            raise RefusedError(sentence) from None
        finally:
            if not fit:
                self.close()
        return reply

    def close(self) -> None:
        """End the process; the next job has another one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in _pipes(process):
            with contextlib.suppress(BrokenPipeError):  # what it has not read
                pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            tied.command(*self._command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # XGBoost warns of every old file
        )


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process has no pipes")
    return process.stdin, process.stdout


def _line(stream: IO[bytes], until: float) -> bytes | None:
    """One line; None at the end of the stream."""
    received = bytearray()
    while not received.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(stream.fileno(), _CHUNK)
        if not part:
            return None
        received += part
    return bytes(received)


def _died(process: subprocess.Popen[bytes]) -> str:
    """How it did, in the words of the container."""
    code = process.wait()
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"the model crashed ({how}); save it again or remove it"
