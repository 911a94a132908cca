"""The server that faults are injected into, and who watches it meanwhile."""

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xgboost

from mme.client import Client, Reply
from tests.support import SOON_SECONDS, Serve, Server, error_of, saved, train, wait_until

ROOT = Path(__file__).parent.parent.parent
ROW = b"1,2,3,4,5,6"
INVOKE_SECONDS, LOAD_SECONDS, RECEIVE_SECONDS = 6, 6, 2
BYSTANDER_SECONDS = 5  # on a machine that others load too; what blocks it does so for longer
BUSY_SECONDS = 6  # that a machine others load too may take beyond a deadline
_PAUSE_SECONDS = 0.05


@pytest.fixture(scope="session")
def faulty_worker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a worker program with faults in it."""
    program = tmp_path_factory.mktemp("bin") / "mme-worker"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.faults import injected\nsys.exit(injected.main())\n"
    )
    program.chmod(0o755)
    return str(program)


@pytest.fixture(scope="session")
def site(keep_serving: Serve, faulty_worker: str) -> "Site":
    """One server with short deadlines, which every fault must leave as it was."""
    return Site(
        keep_serving(
            MME_SHARDS="1",
            MME_WORKER=faulty_worker,
            MME_INVOKE_DEADLINE_SECONDS=str(INVOKE_SECONDS),
            MME_LOAD_DEADLINE_SECONDS=str(LOAD_SECONDS),
            MME_RECEIVE_DEADLINE_SECONDS=str(RECEIVE_SECONDS),
            MME_MODEL_QUEUE="100",
        )
    )


@pytest.fixture
def model(site: "Site") -> Iterator[str]:
    """A sound model of the test's own."""
    name = site.new_name()
    site.good(name)
    yield name
    site.client.unload(name)


@pytest.fixture
def sites(serve: Serve, faulty_worker: str) -> Callable[..., "Site"]:
    """Starts servers of a test's own."""

    def start(**environ: str) -> Site:
        settings = {"MME_SHARDS": "1", "MME_WORKER": faulty_worker} | environ
        return Site(serve(**settings))

    return start


class Site:
    """A server, the faults' subjects on it, and the checks that the rows name."""

    _number = 0

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sound = saved(train())
        self._url = server.put(self.new_name(), {"m.ubj": self.sound})
        self.expected = self.good("bystander").body
        # One that is not for the forest: the process that it is checked in waits for the next.
        name = self.new_name()
        url = server.put(name, {"m.ubj": injected(train(), "nothing")})
        assert self.client.load(name, url).status == 200
        assert self.client.unload(name).status == 200
        self._at_first = self._holdings()

    @property
    def client(self) -> Client:
        """The test's own connection."""
        return self.server.client

    def new_name(self) -> str:
        """A name that no other model has."""
        Site._number += 1
        return f"m{Site._number}"

    def put(self, files: dict[str, bytes]) -> str:
        """Lay a model of these files."""
        return self.server.put(self.new_name(), files)

    def good(self, name: str) -> Reply:
        """Load a sound model and ask it."""
        assert self.client.load(name, self._url).status == 200
        reply = self.client.invoke(name, ROW)
        assert reply.status == 200
        return reply

    def sound_url(self) -> str:
        """The directory of a sound model."""
        return self._url

    def refused(self, status: int, files: dict[str, bytes], *words: str) -> str:
        """E and C of a model of these files: it is refused so, and nothing of it is left."""
        name = self.new_name()
        return self.refused_load(status, name, self.server.put(name, files), *words)

    def refused_load(self, status: int, name: str, url: str, *words: str) -> str:
        """E and C of a load."""
        message = error(self.client.load(name, url), status, *words)
        assert name not in {model["modelName"] for model in self.client.models()}
        assert self.client.unload(name).status == 404
        self.good(name)
        assert self.client.unload(name).status == 200
        return message

    def ask_again(self, name: str, seconds: float = BYSTANDER_SECONDS) -> None:
        """V: a good request to the model is answered well within a second."""
        begun = time.monotonic()
        reply = self.client.invoke(name, ROW)
        assert (reply.status, reply.body) == (200, self.expected), reply
        assert time.monotonic() - begun < seconds

    @contextlib.contextmanager
    def watched(self, ping: bool = True, bystander: bool = True) -> Iterator[None]:
        """B and P: while the block runs a bystander and ``/ping`` answer well, each in a second."""
        over = threading.Event()
        troubles: list[object] = []

        def watch(call: Callable[[Client], bool], what: str, watches: threading.Event) -> None:
            with Client("127.0.0.1", self.server.port, 30) as client:
                while not over.wait(_PAUSE_SECONDS):
                    begun = time.monotonic()
                    try:
                        well = call(client)
                    except OSError as fault:
                        troubles.append((what, fault))
                        continue
                    finally:
                        watches.set()
                    seconds = time.monotonic() - begun
                    if not well or seconds > BYSTANDER_SECONDS:
                        troubles.append((what, well, seconds))

        def ask(client: Client) -> bool:
            reply = client.invoke("bystander", ROW)
            return (reply.status, reply.body) == (200, self.expected)

        calls: list[tuple[Callable[[Client], bool], str, threading.Event]] = []
        calls += [(Client.healthy, "ping", threading.Event())] if ping else []
        calls += [(ask, "bystander", threading.Event())] if bystander else []
        threads = [threading.Thread(target=watch, args=call) for call in calls]
        for thread in threads:
            thread.start()
        try:
            for _, _, watches in calls:
                watches.wait(LOAD_SECONDS)
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join(60)
        assert troubles == []

    @contextlib.contextmanager
    def nothing_left(self) -> Iterator[None]:
        """O: soon after the block there is no more of anything than before it."""
        self.good("settled")
        assert self.client.unload("settled").status == 200
        # A lane that an earlier test closed is opened again later: no fewer than at first.
        before = {what: max(n, self._at_first.get(what, 0)) for what, n in self._holdings().items()}
        yield
        more: dict[str, int] = {}

        def none_left() -> bool:
            nonlocal more
            more = {what: n for what, n in self._holdings().items() if n > before.get(what, 0)}
            return not more

        with contextlib.suppress(pytest.fail.Exception):
            wait_until(none_left, SOON_SECONDS, "as much as before")
        assert more == {}

    def _holdings(self) -> dict[str, int]:
        """Processes, and what is open in those whose number does not depend on clients."""
        found: dict[str, int] = {}
        for name, pids in self.server.processes().items():
            if name == "mme-try":  # up to five, which come and go
                found[name] = max(5, len(pids))
                continue
            found[name] = len(pids)
            for pid in pids if name in ("mme-worker", "mme-shard") else ():
                for what in _open_in(pid):
                    found[f"{name} {what}"] = found.get(f"{name} {what}", 0) + 1
        return found

    def in_flight(self, name: str, row: bytes) -> "Asking":
        """A request on a connection of its own, which is on its way when this returns."""
        return Asking(self.server.port, name, row)

    def raw(self, data: bytes, seconds: float = 30) -> bytes:
        """What comes back for raw bytes until the server closes, or waits for more."""
        with socket.create_connection(("127.0.0.1", self.server.port), seconds) as connection:
            connection.sendall(data)
            received = b""
            while piece := connection.recv(65536):
                received = (received + piece).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
                head, blank, body = received.partition(b"\r\n\r\n")
                if blank and b"Connection: close" not in head and len(body) >= _length(head):
                    break
        return received


def _open_in(pid: int) -> Iterator[str]:
    """What each descriptor of a process is, without what tells one from another of its kind."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield descriptor.readlink().as_posix().partition("[")[0]


def _length(head: bytes) -> int:
    lines = (line.partition(b": ") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


class Asking(threading.Thread):
    """One invocation in a thread."""

    def __init__(self, port: int, name: str, row: bytes) -> None:
        super().__init__()
        self._port, self._name, self._row = port, name, row
        self.reply: Reply | None = None
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        """Ask."""
        begun = time.monotonic()
        with Client("127.0.0.1", self._port) as client:
            self.reply = client.invoke(self._name, self._row)
        self.ended = time.monotonic()
        self.seconds = self.ended - begun

    def result(self) -> Reply:
        """The answer; there is one."""
        self.join(60)
        assert self.reply is not None, "no answer"
        return self.reply


def error(reply: Reply, status: int, *words: str) -> str:
    """E: the status, the body of an error, and in its message these words."""
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/json"
    message = error_of(status, reply.body)
    for word in words:
        assert word in message, message
    if status == 503:
        assert int(reply.headers["retry-after"]) >= 1
    return message


def row(mark: int) -> bytes:
    """A row whose first number stands for a fault."""
    return b"%d,2,3,4,5,6" % mark


def injected(booster: xgboost.Booster, fault: str) -> bytes:
    """The booster's file, with an attribute that makes its load fail."""
    marked = booster.copy()
    marked.set_attr(inject=f"inject-{fault}!")
    return saved(marked)


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A sound model's JSON with one thing changed in it."""
    model = json.loads(saved(train(), "json"))
    change(model)
    return json.dumps(model, separators=(",", ":")).encode()


def tree(model: dict[str, Any]) -> dict[str, Any]:
    """The first tree of a model."""
    first: dict[str, Any] = model["learner"]["gradient_booster"]["model"]["trees"][0]
    return first
