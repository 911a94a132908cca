"""PID 1: starts MMS and the gate, starts again what dies, and leaves no process behind."""

import contextlib
import ctypes
import functools
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from container import keeper, mms
from container.keeper import Keeper
from container.log import flush, log
from container.settings import Settings, SettingsError

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_BACKLOG = 1024
_KILL_SECONDS = 5.0  # for what was killed to be reaped
_GATE_SECONDS = 3.0  # for the gate to go, beyond its drain
_CUT_SECONDS = 0.8  # for the gate to go, after a second signal
_TICK_SECONDS = 1.0  # the longest that a flush of the log is put off
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.05, 5.0
_QUIET_SECONDS = 2.0  # a part that lived this long did not die of its start
_MOST_DEATHS = 8  # of one part, none of them quiet, before we give up
_MOST_DESCRIPTORS = 65536

EXIT_STOPPED, EXIT_NOT_STARTED, EXIT_FAILED = 0, 1, 3


class StartError(Exception):
    """The container cannot start; the message is the one line to print."""


def serve(environ: Mapping[str, str]) -> int:
    """Run the container until it is told to stop.

    Returns:
        The exit status: 0 after SIGTERM or SIGINT, 1 when it cannot start, 3 when a part of it
        died again and again.
    """
    try:
        settings = Settings.from_environ(environ)
        _raise_descriptor_limit()
        with (
            _listening(settings.bind_address, settings.port) as listener,
            _private_directory(settings.temporary_directory) as run,
        ):
            return Supervisor(settings, listener, run).run()
    except (SettingsError, StartError, mms.MissingPartError) as error:
        sys.stderr.write(f"mme serve: {error}\n")
        return EXIT_NOT_STARTED


def _raise_descriptor_limit() -> None:
    """As many descriptors as we may have; the gate keeps some of them for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@contextlib.contextmanager
def _listening(address: str, port: int) -> Iterator[socket.socket]:
    """The public port, bound here so that it stays ours whatever becomes of the gate."""
    sixth = ":" in address or (not address and socket.has_dualstack_ipv6())
    with socket.socket(socket.AF_INET6 if sixth else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the clients' inherit it
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listener.bind((address, port))
        except OSError as error:
            where = f"port {port} of {address}" if address else f"port {port}"
            raise StartError(f"{where} cannot be used: {error.strerror}") from None
        listener.listen(_BACKLOG)
        yield listener


@contextlib.contextmanager
def _private_directory(parent: Path) -> Iterator[Path]:
    """A directory for sockets, the configuration and the journal, of this start alone."""
    try:
        run = Path(tempfile.mkdtemp(prefix="mme-", dir=parent))
    except OSError as error:
        sentence = f"the temporary directory {parent} is not writable: {error.strerror}"
        raise StartError(sentence) from None
    try:
        yield run
    finally:
        shutil.rmtree(run, ignore_errors=True)


@dataclass(slots=True)
class _Part:
    """A process that is kept running: MMS, or the gate."""

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    start_at: float = 0.0
    deaths: int = 0  # one after another, each soon after its start

    def start_if_due(self) -> None:
        """Start it, unless it runs or must wait."""
        if self.process is None and time.monotonic() >= self.start_at:
            self.process = self.start()
            self.started = time.monotonic()

    def died(self) -> int | None:
        """The status of a process that has ended since the last call, else None."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        now = time.monotonic()
        self.process = None
        self.deaths = 1 if now - self.started > _QUIET_SECONDS else self.deaths + 1
        delay = min(_FIRST_DELAY_SECONDS * 2 ** (self.deaths - 1), _LONGEST_DELAY_SECONDS)
        self.start_at = now + (delay if self.deaths > 1 else 0.0)
        return status


class Supervisor:
    """One run of the container's processes."""

    def __init__(self, settings: Settings, listener: socket.socket, run: Path) -> None:
        self._settings = settings
        self._run = run
        self._mms_output = run / "mms.out"
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        slots = keeper.slots(settings.max_connections, descriptors)
        self._selector = selectors.DefaultSelector()
        self._keeper = Keeper(listener, slots, self._selector)
        self._mms = _Part("MMS", self._start_mms)
        self._gate = _Part("the gate", self._start_gate)
        self._stop_at: float | None = None  # the gate has been told to drain until then
        self._signals = 0  # to stop

    def run(self) -> int:
        """Start all, start again what dies, and stop all when told to."""
        # An orphan of any depth becomes our child, and so is found and reaped at the end.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        events, put = os.pipe()
        for end in (events, put):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(put, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the number comes through the pipe
        take_signals = functools.partial(self._take_signals, events)
        self._selector.register(events, selectors.EVENT_READ, take_signals)
        try:
            while True:
                if self._stop_at is None:
                    self._mms.start_if_due()
                    self._gate.start_if_due()
                self._keeper.watch()
                for key, _ in self._selector.select(self._wait_seconds()):
                    key.data()
                flush()
                if (status := self._bury_the_dead()) is not None:
                    return status
        finally:
            signal.set_wakeup_fd(-1)
            _end_all_children()

    def _wait_seconds(self) -> float:
        """Until something is due, whatever happens or not."""
        due = [part.start_at for part in (self._mms, self._gate) if part.process is None]
        due = due if self._stop_at is None else [self._stop_at]
        return max(0.0, min([_TICK_SECONDS, *(at - time.monotonic() for at in due)]))

    def _take_signals(self, events: int) -> None:
        for number in os.read(events, 4096):
            if number not in (signal.SIGTERM, signal.SIGINT):
                continue
            self._signals += 1
            seconds = self._settings.drain_seconds + _GATE_SECONDS
            if self._signals > 1:
                seconds = _CUT_SECONDS
            log("stopping", reason=signal.Signals(number).name, seconds=seconds)
            self._stop_at = time.monotonic() + seconds
            if self._gate.process is not None:
                self._gate.process.terminate()

    def _bury_the_dead(self) -> int | None:
        """Reap, and see to what has died; the exit status when it is time to go."""
        gate, server = self._gate, self._mms
        _reap_orphans({part.process.pid for part in (gate, server) if part.process is not None})
        if (status := gate.died()) is not None:
            if self._stop_at is not None:
                return EXIT_STOPPED
            if status == EXIT_NOT_STARTED:
                self._log_last_words()
                return EXIT_NOT_STARTED
            self._bury_gate(status)
        if (status := server.died()) is not None and self._stop_at is None:
            log("restarting", part=server.name, status=status, deaths=server.deaths)
            self._log_last_words()
        if self._stop_at is not None:
            gone = gate.process is None or time.monotonic() >= self._stop_at
            return EXIT_STOPPED if gone else None
        for part in (gate, server):
            if part.deaths > _MOST_DEATHS:
                log("giving up", part=part.name, deaths=part.deaths)
                return EXIT_FAILED
        return None

    def _bury_gate(self, status: int) -> None:
        answered = self._keeper.answer_for_the_dead()
        log("restarting", part=self._gate.name, status=status, unanswered=answered)

    def _log_last_words(self) -> None:
        said = self._mms_output.read_text(errors="replace").strip().rpartition("\n")[2]
        if said:
            log("MMS said", line=said)

    def _start_mms(self) -> "subprocess.Popen[bytes]":
        mms.lay(self._settings, self._run)
        with self._mms_output.open("w") as output:
            return _start(
                mms.command(self._settings, self._run),
                stdout=output.fileno(),  # two lines of no use, or why it did not start
                directory=self._run,
                environ=mms.environment(self._settings.shards),
            )

    def _start_gate(self) -> "subprocess.Popen[bytes]":
        with self._keeper.new_channel() as theirs:
            options = {
                "--channel-fd": theirs.fileno(),
                "--ledger-fd": self._keeper.descriptor,
                "--run": self._run,
            }
            words = [str(word) for option in options.items() for word in option]
            fds = [theirs.fileno(), self._keeper.descriptor]
            return _start(
                [sys.executable, "-m", "container.gate", *words],
                environ=os.environ | self._settings.mode,  # each gate's is that of the first
                pass_fds=fds,
            )


def _start(
    command: Sequence[str],
    *,
    stdout: int | None = None,
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        cwd=directory,
        env=environ,
        pass_fds=pass_fds,
        process_group=0,  # a Ctrl-C of the terminal is for the supervisor alone
        preexec_fn=_die_with_parent,  # there are no threads
    )


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _die_with_parent() -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reap_orphans(own: set[int]) -> None:
    """Bury the dead that others left to us; our own are asked for their status elsewhere."""
    looking = os.WEXITED | os.WNOHANG | os.WNOWAIT
    with contextlib.suppress(ChildProcessError):
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
