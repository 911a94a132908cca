"""PID 1: starts MMS and the gate, waits for what happens, and leaves no process behind."""

import contextlib
import ctypes
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from container import mms
from container.log import log
from container.settings import Settings, SettingsError

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_BACKLOG = 1024
_KILL_SECONDS = 5.0  # for what was killed to be reaped
_GATE_SECONDS = 3.0  # for the gate to go, beyond its drain

EXIT_STOPPED, EXIT_FAILED = 0, 1


class StartError(Exception):
    """The container cannot start; the message is the one line to print."""


def serve(environ: Mapping[str, str]) -> int:
    """Run the container until it is told to stop.

    Returns:
        The exit status: 0 after SIGTERM or SIGINT, 1 when a part of it failed.
    """
    try:
        settings = Settings.from_environ(environ)
        with (
            _listening(settings.port) as listener,
            _private_directory(settings.temporary_directory) as run,
        ):
            return Supervisor(settings, listener, run).run()
    except (SettingsError, StartError, mms.MissingPartError) as error:
        sys.stderr.write(f"mme serve: {error}\n")
        return EXIT_FAILED


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """The public port, bound here so that it stays ours whatever becomes of the gate."""
    listener = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind(("", port))
        except OSError as error:
            raise StartError(f"port {port} cannot be used: {error.strerror}") from None
        listener.listen(_BACKLOG)
        yield listener


@contextlib.contextmanager
def _private_directory(parent: Path) -> Iterator[Path]:
    """A directory for sockets and the configuration, of this start alone."""
    try:
        run = Path(tempfile.mkdtemp(prefix="mme-", dir=parent))
    except OSError as error:
        sentence = f"the temporary directory {parent} is not writable: {error.strerror}"
        raise StartError(sentence) from None
    try:
        yield run
    finally:
        shutil.rmtree(run, ignore_errors=True)


class Supervisor:
    """One run of the container's processes."""

    def __init__(self, settings: Settings, listener: socket.socket, run: Path) -> None:
        self._settings = settings
        self._listener = listener
        self._run = run
        self._mms_output = run / "mms.out"
        self._events: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()

    def run(self) -> int:
        """Start all, wait for the first reason to stop, stop all."""
        # An orphan of any depth becomes our child, and so is found and reaped at the end.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda number, _: self._events.put(signal.Signals(number)))
        started: list[subprocess.Popen[bytes]] = []
        try:
            started.append(self._start_mms())
            started.append(self._start_gate())
            return self._wait(*started)
        finally:
            _end_all_children()

    def _start_mms(self) -> "subprocess.Popen[bytes]":
        mms.lay(self._settings, self._run)
        with self._mms_output.open("w") as output:
            return subprocess.Popen(
                mms.command(self._settings, self._run),
                stdin=subprocess.DEVNULL,
                stdout=output,  # two lines of no use, or why it did not start
                cwd=self._run,
                env=mms.environment(),
                process_group=0,  # a Ctrl-C of the terminal is for the supervisor alone
                preexec_fn=_die_with_parent,  # there are no threads yet
            )

    def _start_gate(self) -> "subprocess.Popen[bytes]":
        descriptor = self._listener.fileno()
        options = {
            "--listen-fd": descriptor,
            "--mms-socket": mms.socket_path(self._run),
            "--shard-home": mms.shard_home(self._run),
        }
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "container.gate",
                *(str(o) for kv in options.items() for o in kv),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=[descriptor],
            process_group=0,
            preexec_fn=_die_with_parent,  # there are no threads yet
        )

    def _wait(self, server: "subprocess.Popen[bytes]", gate: "subprocess.Popen[bytes]") -> int:
        while True:
            event = self._events.get()
            if event is signal.SIGCHLD:
                _reap_orphans({server.pid, gate.pid})
                if server.poll() is not None:
                    said = self._mms_output.read_text().strip().rpartition("\n")[2]
                    log("stopping", reason="MMS ended", status=server.returncode, said=said)
                    return EXIT_FAILED
                if gate.poll() is not None:
                    log("stopping", reason="the gate ended", status=gate.returncode)
                    return EXIT_FAILED
            else:
                log("stopping", reason=event.name)
                gate.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    gate.wait(self._settings.drain_seconds + _GATE_SECONDS)
                return EXIT_STOPPED


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reap_orphans(own: set[int]) -> None:
    """Bury the dead that others left to us; our own two are asked for their status elsewhere."""
    looking = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (dead := os.waitid(os.P_ALL, 0, looking)) is not None and dead.si_pid not in own:
        os.waitpid(dead.si_pid, 0)


def _end_all_children() -> None:
    """Kill and reap until there is no child left, orphans of children among them."""
    give_up = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < give_up:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _children() -> list[int]:
    """Our children, by the kernel's own list."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(child) for child in listed.read_text().split()]
