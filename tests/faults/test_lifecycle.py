"""C. Processes that die, stop or start badly, each row of the fault table by its id."""

import ast
import collections
import concurrent.futures
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.processes import descendants
from mme.client import Client
from tests.faults import injected
from tests.faults.conftest import BUSY_SECONDS, ROW, Site, error, row
from tests.support import (
    SOON_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    Serve,
    alive,
    saved,
    train,
    wait_until,
)

ROOT = Path(__file__).parent.parent.parent
SLOW = row(injected.SLOW) + (b"\n" + ROW) * 6000


def in_flight(site: Site, count: int) -> None:
    """Wait until the gate has so many requests beside this question."""

    def there() -> bool:
        lines = site.client.call("GET", "/metrics").body.decode().splitlines()
        return f"mme_in_flight {count + 1}.0" in lines

    wait_until(there, SOON_SECONDS, f"{count} requests in flight")


def replaced(site: Site, name: str, pid: int) -> None:
    """Wait until another process has the place of that one."""
    wait_until(
        lambda: site.server.processes().get(name) not in (None, [pid]),
        SOON_SECONDS,
        f"a new {name}",
    )


def ended(pids: list[int]) -> None:
    wait_until(lambda: not alive(pids), SOON_SECONDS, f"the end of {alive(pids)}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_f74_stop(sites: Callable[..., Site], tmp_path: Path, number: int) -> None:
    """SIGTERM with two in flight: they get 200, new ones and /ping 503; exit 0, nothing left."""
    site = sites(TMPDIR=str(tmp_path))
    asked = [site.in_flight("bystander", SLOW) for _ in range(2)]
    in_flight(site, 2)
    pids = descendants(site.server.process.pid)
    with Client("127.0.0.1", site.server.port) as other:
        assert other.healthy()
        site.server.process.send_signal(number)
        wait_until(lambda: not site.client.healthy(), SOON_SECONDS, "503 of /ping")
        error(other.invoke("bystander", ROW), 503, "stopping")
    assert [one.result().status for one in asked] == [200, 200]
    site.server.process.communicate(timeout=STOP_SECONDS)
    assert site.server.process.returncode == 0
    ended(pids)
    assert list(tmp_path.iterdir()) == []


def test_f75_second_signal(sites: Callable[..., Site]) -> None:
    """A second SIGTERM: the drain is cut short, what is in flight gets 503; exit within 1 s."""
    site = sites()
    asked = [site.in_flight("bystander", row(injected.SLEEP) + b"\n" + SLOW) for _ in range(2)]
    in_flight(site, 2)
    pids = descendants(site.server.process.pid)
    site.server.process.terminate()
    wait_until(lambda: not site.client.healthy(), SOON_SECONDS, "503 of /ping")
    begun = time.monotonic()
    site.server.process.terminate()
    site.server.process.communicate(timeout=STOP_SECONDS)
    assert time.monotonic() - begun < BUSY_SECONDS  # the drain would take much longer
    assert site.server.process.returncode == 0
    for one in asked:
        error(one.result(), 503, "stopped")
    ended(pids)


def test_f76_worker_killed(site: Site) -> None:
    """The process that holds the models is killed: they answer on, from the next one."""
    before = site.server.pid("mme-shard")
    with site.watched():
        os.kill(before, signal.SIGKILL)
        replaced(site, "mme-shard", before)
        site.ask_again("bystander")


def test_f77_parent_killed(sites: Callable[..., Site]) -> None:
    """Its parent is killed, and it with it: both are started again, by MMS, for us."""
    site = sites()
    before = site.server.pid("mme-worker")
    with site.watched(bystander=False):
        os.kill(before, signal.SIGKILL)
        reply = site.client.invoke("bystander", ROW)
        assert (reply.status, reply.body) == (200, site.expected)
        replaced(site, "mme-worker", before)
        site.ask_again("bystander", seconds=5 + BUSY_SECONDS)


def test_f78_all_workers_killed(sites: Callable[..., Site]) -> None:
    """All workers are killed at once, parents too: every model is back within 5 s."""
    site = sites(MME_SHARDS="2")
    names = [f"all{number}" for number in range(4)]
    for name in names:
        site.good(name)
    asked = [site.in_flight("bystander", SLOW) for _ in range(2)]
    in_flight(site, 2)
    processes = site.server.processes()
    for pid in (*processes["mme-shard"], *processes["mme-worker"]):
        os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    for name in (*names, "bystander"):
        site.ask_again(name, seconds=5 + BUSY_SECONDS)
    assert time.monotonic() - begun < 5 + BUSY_SECONDS
    assert {one.result().status for one in asked} <= {200, 500}


def test_f79_java_killed(sites: Callable[..., Site]) -> None:
    """Java is killed: its requests wait or get 503; it is started again, with the same models."""
    site = sites()
    names = [f"java{number}" for number in range(4)]
    for name in names:
        site.good(name)
    asked = [site.in_flight("bystander", SLOW) for _ in range(2)]
    in_flight(site, 2)
    listed = list(site.client.models())
    with site.watched(bystander=False):
        os.kill(site.server.pid("java"), signal.SIGKILL)
        for name in names:
            site.ask_again(name, seconds=10)
    assert list(site.client.models()) == listed
    assert {one.result().status for one in asked} <= {200, 503}
    assert len(site.server.processes()["java"]) == 1


def test_f80_large_bodies_at_once(sites: Callable[..., Site]) -> None:
    """More large bodies at once than Java's heap holds: they take turns; no connection breaks."""
    site = sites()
    body = b"\n".join([ROW] * 850_000)  # 10 MB
    assert len(body) > 10_000_000

    def ask(_: int) -> int:
        with Client("127.0.0.1", site.server.port, 120) as client:
            return client.invoke("bystander", body).status

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(ask, range(12)))
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 4
    site.ask_again("bystander")


def test_f82_no_temporary_directory(serve: Serve) -> None:
    """The temporary directory cannot be written: no start; one line says so; exit 1."""
    server = serve(healthy=False, TMPDIR="/proc")
    output, _ = server.process.communicate(timeout=START_SECONDS)
    assert server.process.returncode == 1
    assert output.count("\n") == 1
    assert "the temporary directory /proc is not writable" in output


def test_f84_port_in_use(serve: Serve, site: Site) -> None:
    """The port is in use: no start; one line names it; exit 1."""
    port = site.server.port
    server = serve(healthy=False, SAGEMAKER_BIND_TO_PORT=str(port))
    output, _ = server.process.communicate(timeout=START_SECONDS)
    assert server.process.returncode == 1
    assert output == f"mme serve: port {port} cannot be used: Address already in use\n"


def test_f85_high_port(sites: Callable[..., Site]) -> None:
    """A port above 32767, which MMS refuses: served."""
    port = next(port for port in range(55555, 65536) if _free(port))
    site = sites(SAGEMAKER_BIND_TO_PORT=str(port))
    site.ask_again("bystander")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("content", ["", str(os.getpid())])
def test_f86_pid_file(sites: Callable[..., Site], tmp_path: Path, content: str) -> None:
    """A pid file that is empty or names another process: not looked at; served."""
    (tmp_path / ".model_server.pid").write_text(content)
    sites(TMPDIR=str(tmp_path)).ask_again("bystander")


def test_f87_two_servers(sites: Callable[..., Site], tmp_path: Path) -> None:
    """Sockets of a dead run, and two servers on one temporary directory: each has its own."""
    (tmp_path / ".mms.sock.9000").write_text("stale")
    first, second = sites(TMPDIR=str(tmp_path)), sites(TMPDIR=str(tmp_path))
    first.client.unload("bystander")
    second.ask_again("bystander")
    for site in (first, second):
        status, output = site.server.stop()
        assert status == 0, output
    assert [path.name for path in tmp_path.iterdir()] == [".mms.sock.9000"]


def test_f88_clock() -> None:
    """The clock jumps: no deadline or duration is counted by it; only time stamps are."""
    used = set()
    for folder in ("container", "handler"):
        for path in (ROOT / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                    "time.time",
                    "datetime.now",
                    "time.localtime",
                ):
                    used.add(path.name)
    assert used == {"log.py", "access.py", "metrics.py"}


def test_f89_polls(sites: Callable[..., Site]) -> None:
    """No model is loaded and GET /models is polled: 200, no token, and not a line in the log."""
    site = sites()
    assert site.client.unload("bystander").status == 200
    for path in ("/models", "/models?limit=0", "/models?limit=1&next_page_token=x", "/ping"):
        for _ in range(5):
            reply = site.client.call("GET", path)
            assert reply.status == 200
            assert b"oken" not in reply.body
    _, output = site.server.stop()
    assert (
        '"GET"' not in output.replace('"path": "/ping", "status": 503', "").partition("serving")[2]
    )


@pytest.mark.parametrize("port", ["", "x", "0", "65536"])
def test_f90_port_setting(port: str) -> None:
    """SAGEMAKER_BIND_TO_PORT is unset or empty: 8080; what is no port: exit 1 with one line."""
    if not port:
        code = "from container.settings import Settings; print(Settings.from_environ({}).port)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )
        assert done.stdout == "8080\n"
        return
    command = [sys.executable, "-m", "mme", "serve"]
    environ = os.environ | {"SAGEMAKER_BIND_TO_PORT": port}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "SAGEMAKER_BIND_TO_PORT" in done.stderr


def test_f93_gate_killed(sites: Callable[..., Site]) -> None:
    """The gate is killed: who is in it gets 503; the next gate has its models and its clients."""
    site = sites()
    names = [f"gate{number}" for number in range(5)]
    for name in names:
        site.good(name)
    site.client.unload("gate4")
    listed = list(site.client.models())
    asked = [site.in_flight("bystander", SLOW) for _ in range(2)]
    in_flight(site, 2)
    quiet = Client("127.0.0.1", site.server.port)
    assert quiet.healthy()
    # A connection that is half way through a request's head, too, gets an answer.
    with socket.create_connection(("127.0.0.1", site.server.port), 30) as half:
        half.sendall(b"POST /models/bystander/invoke HT")
        for _ in range(3):  # who comes later is answered: so it is being read
            with Client("127.0.0.1", site.server.port) as later:
                assert later.healthy()
        os.kill(site.server.pid("gate"), signal.SIGKILL)
        answer = half.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    for one in asked:
        error(one.result(), 503, "restarts")
        assert one.seconds < BUSY_SECONDS
    # The same connection, on which nothing was asked when the gate died.
    own = quiet._http.sock
    reply = quiet.invoke("bystander", ROW)
    assert (reply.status, reply.body) == (200, site.expected)
    assert quiet._http.sock is own
    quiet.close()
    assert list(site.client.models()) == listed
    for name in names[:4]:
        site.ask_again(name)
    assert site.client.invoke("gate4", ROW).status == 404


def test_f93_gate_killed_among_arrivals(sites: Callable[..., Site]) -> None:
    """The gate is killed while clients come and go: each of them gets an answer all the same."""
    site = sites(MME_ACCESS_LOG="false")
    over = threading.Event()
    statuses: collections.Counter[object] = collections.Counter()

    def come_and_go() -> None:
        while not over.is_set():
            try:
                with Client("127.0.0.1", site.server.port) as client:
                    statuses[client.invoke("bystander", ROW).status] += 1
            except (OSError, http.client.HTTPException) as error:
                statuses[repr(error)] += 1

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        good = statuses[200]
        wait_until(lambda: statuses[200] > good + 50, SOON_SECONDS, "answers")  # noqa: B023  # called here
        os.kill(site.server.pid("gate"), signal.SIGKILL)
    over.set()
    for thread in threads:
        thread.join(30)
    assert set(statuses) <= {200, 503}


def test_f93_gate_killed_while_loading(sites: Callable[..., Site]) -> None:
    """The gate is killed while a model loads: 503; the model is absent, and can be loaded again."""
    site = sites()
    url = site.put({"m.ubj": injected_slow()})
    replies = []

    def load() -> None:
        with Client("127.0.0.1", site.server.port) as client:
            replies.append(client.load("half", url))

    loading = threading.Thread(target=load)
    loading.start()
    wait_until(lambda: site.client.describe("half").status == 200, SOON_SECONDS, "the load")
    os.kill(site.server.pid("gate"), signal.SIGKILL)
    loading.join(30)
    error(replies[0], 503, "restarts")
    wait_until(
        lambda: site.client.describe("half").status == 404, SOON_SECONDS, "the model's absence"
    )
    assert site.client.load("half", url).status == 200
    site.ask_again("half", seconds=5)


def injected_slow() -> bytes:
    """A model that takes two seconds to load."""
    marked = train().copy()
    marked.set_attr(inject="inject-slow!")
    return saved(marked)


@pytest.mark.parametrize("part", ["mme-worker", "java"])
def test_f93_killed_again_at_birth(sites: Callable[..., Site], part: str) -> None:
    """A worker is killed and the next one at its start, where MMS stops: it is started again."""
    site = sites()
    old = site.server.pid("mme-worker")
    os.kill(site.server.pid(part), signal.SIGKILL)

    def newborn() -> list[int]:
        return [pid for pid in site.server.processes().get("mme-worker", []) if pid != old]

    wait_until(lambda: newborn(), SOON_SECONDS, "the next worker")
    os.kill(newborn()[0], signal.SIGKILL)
    site.ask_again("bystander", seconds=30)


def test_f93_supervisor_killed(sites: Callable[..., Site]) -> None:
    """The supervisor is killed: nothing outlives it."""
    site = sites()
    pids = descendants(site.server.process.pid)
    site.server.process.kill()
    site.server.process.communicate(timeout=STOP_SECONDS)
    ended(pids)


def test_f93_part_that_dies_at_once(tmp_path: Path) -> None:
    """A part that dies whenever it starts: the container gives up, exit 3, with its last words."""
    java = tmp_path / "broken"
    java.mkdir()
    code = (
        "import sys; from container import mms, supervisor; "
        "mms.command = lambda *_: ['sh', '-c', 'echo no Java here; exit 1']; "
        "import os; sys.exit(supervisor.serve(os.environ))"
    )
    environ = os.environ | {"SAGEMAKER_BIND_TO_PORT": "0", "TMPDIR": str(java)}
    environ["SAGEMAKER_BIND_TO_PORT"] = str(next(p for p in range(20000, 32000) if _free(p)))
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 3
    assert "no Java here" in done.stdout
    assert re.search(r'"event": "giving up", "part": "MMS"', done.stdout)
    assert list(java.iterdir()) == []


def test_orphans_are_reaped(sites: Callable[..., Site]) -> None:
    """A process whose parent was killed dies with it and is not left as a zombie."""
    site = sites()
    child = site.server.pid("mme-shard")
    os.kill(site.server.pid("mme-worker"), signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), 10, "the end of the child")
    assert site.client.healthy()
