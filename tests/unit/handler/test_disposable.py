"""Disposable processes under a real parent, without MMS: what dies harms nobody, and is cleared.

What models do to a load through the server is in ``tests/faults``; here are the processes alone.
Run as a program this is a worker whose child has one scenario played, and writes what came of it.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from handler.disposable import DiedError, Disposables, Job, Reply, died
from handler.ledger import Ledger
from handler.parent import Lanes, Parent

ROOT = Path(__file__).parent.parent.parent.parent
SECONDS = 30.0  # that anything here may take
SHORT_SECONDS = 2.0  # for what hangs
MOST = 5  # disposable processes at once
MOST_OPEN = 8  # descriptors of one at work: standard ones, channel, answer, and some to look
DEATHS = {  # what a job may do, and how that is called
    "exit": "exit status 3",
    "exit-0": "exit status 0",
    "raise": "exit status 1",
    "segv": "SIGSEGV",
    "kill": "SIGKILL",
}

done = 0  # jobs, by this process


def work(job: Job, files: Sequence[bytes]) -> Reply:
    """Do what the job says, in a disposable process; a good one tells who did it, and the jobs."""
    global done
    done += 1
    assert descriptors(os.getpid()) <= MOST_OPEN
    if "tell" in job:
        Path(job["tell"]).write_text(str(os.getpid()))
    match job["do"]:
        case "echo":
            return 200, "text/plain", b"".join(files)
        case "refuse":
            return 400, "text/plain", b"no"
        case "exit":
            os._exit(3)
        case "exit-0":
            os._exit(0)
        case "exit-if-used" if done > 1:
            os._exit(3)
        case "raise":
            raise RuntimeError("on purpose")
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            signal.pause()
        case "swell":
            bytearray(2**31)
    return 200, "text/plain", json.dumps([os.getpid(), done, len(children(os.getppid()))]).encode()


def children(pid: int) -> list[int]:
    """Those that a process has forked and not buried."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  # of names, not of paths


def alive(pid: int) -> bool:
    """Whether a process is there, and not just its number."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def soon(condition: Callable[[], bool]) -> bool:
    """Whether something comes true before the time is over."""
    give_up, look = time.monotonic() + SECONDS, threading.Event()
    while not (true := condition()) and time.monotonic() < give_up:
        look.wait(0.005)
    return true


class Asking:
    """The child that asks, for a scenario."""

    def __init__(self, disposables: Disposables, home: Path) -> None:
        self._disposables, self.home = disposables, home

    def run(
        self,
        do: str,
        files: Sequence[bytes] = (),
        *,
        apart: bool = False,
        seconds: float = SECONDS,
        **job: str,
    ) -> Any:
        """The answer, or the words of the death, or None if it took too long."""
        until = time.monotonic() + seconds
        try:
            return self._disposables.run({"do": do, **job}, files, until, apart=apart)
        except DiedError as death:
            return str(death)
        except TimeoutError:
            return None

    def good(self, *, apart: bool = False) -> tuple[int, int, int]:
        """Have a good job done: by whom, after how many, among how many of the parent's."""
        status, _, body = self.run("tell", [b"x"], apart=apart)
        assert status == 200
        pid, jobs, siblings = json.loads(body)
        return pid, jobs, siblings

    @contextlib.contextmanager
    def nothing_left(self) -> Iterator[None]:
        """Soon after the block parent and child have no more than before it."""
        self.good()
        before = self._holds()
        yield
        assert soon(lambda: all(now <= at for now, at in zip(self._holds(), before, strict=True)))

    def _holds(self) -> tuple[int, int, int]:
        """Descriptors of the parent, but for one a process; of the child; and processes."""
        there = len(children(os.getppid()))  # the child, and two at most that wait
        return descriptors(os.getppid()) - there, descriptors(os.getpid()), max(3, there)


def files_come_whole(ask: Asking) -> None:
    """Whatever their sizes, and the answer's; none of it is seen as something else."""
    for sizes in ([], [0], [1], [0, 5], [70_000, 3], [3, 5_000_000]):
        files = [os.urandom(size) for size in sizes]
        assert ask.run("echo", files) == (200, "text/plain", b"".join(files))
    assert ask.run("refuse") == (400, "text/plain", b"no")


def one_is_used_again(ask: Asking) -> None:
    """What did its job well does the next; what must be alone has a process that did nothing."""
    with ask.nothing_left():
        jobs = [ask.good()[:2] for _ in range(30)]
        assert len({pid for pid, _ in jobs}) <= MOST
        assert max(number for _, number in jobs) >= 30 // MOST
        alone = [ask.good(apart=True)[:2] for _ in range(5)]
        assert {number for _, number in alone} == {1}
        told = ask.home / "pid"
        assert ask.run("refuse", tell=str(told))[0] == 400  # after which it is not used again
        gone = {int(told.read_text()), *(pid for pid, _ in alone)}
        assert len(gone) == 6
        assert not gone & {pid for pid, _ in (ask.good()[:2] for _ in range(10))}


def deaths(ask: Asking) -> None:
    """Each is called by its name, and the next job is done."""
    with ask.nothing_left():
        for apart in (False, True):
            for do, how in DEATHS.items():
                assert ask.run(do, [b"x" * 10], apart=apart) == how
                ask.good()
                ask.good(apart=apart)


def another_try(ask: Asking) -> None:
    """What dies in a used process is tried in a new one before it is believed."""
    with ask.nothing_left():
        for _ in range(10):
            ask.good()
            status, _, body = ask.run("exit-if-used", [b"x"])
            assert status == 200
            assert json.loads(body)[1] == 1


def hangs(ask: Asking) -> None:
    """Who waits gets an end in time, others their answers meanwhile, and the process is killed."""
    with ask.nothing_left(), ThreadPoolExecutor(3) as threads:
        told = [ask.home / f"pid-{number}" for number in range(3)]
        begun = time.monotonic()
        waiting = [
            threads.submit(ask.run, "hang", apart=n > 0, seconds=SHORT_SECONDS, tell=str(told[n]))
            for n in range(3)
        ]
        ask.good()
        ask.good()
        assert [one.result(SECONDS) for one in waiting] == [None] * 3
        assert time.monotonic() - begun < SECONDS / 2
        pids = [int(path.read_text()) for path in told]
        assert soon(lambda: not any(map(alive, pids)))
        ask.good()


def swells(ask: Asking) -> None:
    """One that wants more memory than its files explain is refused; the next is not bound by it."""
    with ask.nothing_left():
        for apart in (False, True):
            status, kind, body = ask.run("swell", [b"x"], apart=apart)
            assert kind == "application/json"
            assert json.loads(body)["code"] == status
            assert status in (500, 507)  # as the machine has more or less memory than it may take
            assert ("more memory than its size explains" in str(body)) == (status == 500)
            ask.good(apart=apart)


def many_at_once(ask: Asking) -> None:
    """More jobs than there may be processes wait for one; each has its answer."""
    with ask.nothing_left(), ThreadPoolExecutor(24) as threads:
        jobs = [threads.submit(ask.good, apart=number % 2 == 0) for number in range(72)]
        dying = [threads.submit(ask.run, "segv", apart=number % 2 == 0) for number in range(12)]
        assert max(job.result(SECONDS)[2] for job in jobs) <= MOST + 1  # and the child that asks
        assert {job.result(SECONDS) for job in dying} == {"SIGSEGV"}


PLAYED = {
    scenario.__name__: scenario
    for scenario in (
        *(files_come_whole, one_is_used_again, deaths, another_try),
        *(hangs, swells, many_at_once),
    )
}


def main(scenario: str, home: Path) -> None:
    """Be the worker."""

    def serve(control: socket.socket, ledger: Ledger, _lanes: Lanes) -> None:
        over = threading.Event()

        def beat() -> None:
            while not over.wait(0.05):  # or the parent thinks that it hangs
                ledger.beat(time.monotonic())

        threading.Thread(target=beat, daemon=True).start()
        failure = ""
        try:
            PLAYED[scenario](Asking(Disposables(control), home))
        except BaseException:
            failure = traceback.format_exc()
        sys.stdout.write(json.dumps([failure, os.getpid(), *children(os.getppid())]) + "\n")
        sys.stdout.flush()
        over.wait(SECONDS)

    def listener(name: str) -> socket.socket:
        there = socket.socket(socket.AF_UNIX)
        there.bind(str(home / name))
        there.listen()
        return there

    Parent(listener("lanes"), listener("life"), serve, work).run()


@pytest.mark.parametrize("scenario", PLAYED)
def test_scenario(scenario: str, tmp_path: Path) -> None:
    """It goes well, and when standard input ends so does all that the worker has forked."""
    program = [sys.executable, "-m", "tests.unit.handler.test_disposable", scenario, str(tmp_path)]
    with (
        (tmp_path / "errors").open("w+") as errors,
        subprocess.Popen(
            program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as worker,
    ):
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            ready, _, _ = select.select([worker.stdout], [], [], SECONDS + 10)
            said = worker.stdout.readline() if ready else b""
            worker.stdin.close()
            status = worker.wait(SECONDS)
        finally:
            worker.kill()
    assert said, (tmp_path / "errors").read_text()
    failure, *pids = json.loads(said)
    assert not failure, failure
    assert status == 0
    assert soon(lambda: not any(map(alive, pids)))


def answered(reply: bytes) -> Reply:
    """What the asking side makes of the bytes that come for one job, and then their end."""
    control, parent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    job, files = {"do": "x"}, [b"one", b""]

    def answer() -> None:
        message, found, _, _ = socket.recv_fds(parent, 16 * 1024, 4)
        assert json.loads(message.removeprefix(b"apart ")) == job
        assert [os.pread(file, 9, 0) for file in found[1:]] == files
        for file in found[1:]:
            os.close(file)
        with socket.socket(fileno=found[0]) as end:
            end.sendall(reply)

    with control, parent, ThreadPoolExecutor(1) as thread:
        answering = thread.submit(answer)
        try:
            return Disposables(control).run(job, files, time.monotonic() + SECONDS, apart=True)
        finally:
            answering.result(SECONDS)


def test_answer_that_is_cut() -> None:
    """A process that dies while it answers, after any byte, has died; nothing half is passed on."""
    whole = (200).to_bytes(2) + (4).to_bytes(2) + (5).to_bytes(8) + b"kind" + b"bytes"
    before = descriptors(os.getpid())
    for length in range(len(whole)):
        with pytest.raises(DiedError, match="it is gone"):
            answered(whole[:length])
    assert answered(whole) == (200, "kind", b"bytes")
    with pytest.raises(DiedError, match="SIGSEGV"):
        answered(died("SIGSEGV"))
    assert descriptors(os.getpid()) <= before


def test_parent_that_is_gone() -> None:
    """A job that cannot be sent leaves no descriptor behind."""
    control, parent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control:
        parent.close()
        before = descriptors(os.getpid())
        with pytest.raises(OSError, match=r"pipe|reset|connected"):
            Disposables(control).run({}, [b"x"], time.monotonic() + SECONDS, apart=False)
        assert descriptors(os.getpid()) <= before


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
