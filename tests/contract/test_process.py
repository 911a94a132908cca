"""The container's processes: they start, stop and die as documented, and none outlives the rest."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
import xgboost

from benchmarks.processes import descendants
from mme.client import Client
from tests.support import (
    SOON_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
    Serve,
    Server,
    alive,
    error_of,
    saved,
    sockets,
    train,
    wait_until,
)

ROW = b"1,2,3,4,5,6"
CORPUS = Path(__file__).parent.parent / "corpus"


def none_left(pids: list[int]) -> None:
    wait_until(lambda: not alive(pids), STOP_SECONDS, f"the end of {alive(pids)}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(serve: Serve, tmp_path: Path, number: int) -> None:
    """A signal to stop ends every process, with status 0, and leaves no file behind."""
    server = serve(TMPDIR=str(tmp_path))
    pids = descendants(server.process.pid)
    assert len(pids) >= 2 + 1 + 2  # supervisor, gate; Java; a parent and a child
    status, output = server.stop(number)
    assert status == 0, output
    assert alive(pids) == {}
    assert list(tmp_path.iterdir()) == []


def test_stop_while_starting(serve: Serve, tmp_path: Path) -> None:
    """A signal that comes before the shards serve ends every process too."""
    server = serve(healthy=False, TMPDIR=str(tmp_path))
    wait_until(lambda: len(descendants(server.process.pid)) > 2, START_SECONDS, "some processes")
    pids = descendants(server.process.pid)
    assert server.stop()[0] == 0
    none_left(pids)


def test_answers_in_flight(serve: Serve, booster: xgboost.Booster) -> None:
    """What is in flight when the signal comes is answered before the end."""
    server = serve()
    assert server.client.load("m", server.put("m", {"m.ubj": saved(booster)})).status == 200
    replies = []
    slow = b"0:1" + b" qid:1" * 1_000_000  # long to read, short to answer
    idle = cpu_ticks(server)

    def ask() -> None:
        with Client("127.0.0.1", server.port) as client:
            replies.append(client.invoke("m", slow, "text/libsvm"))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: cpu_ticks(server) > idle + 5, START_SECONDS, "a busy worker")
    status, output = server.stop()
    asking.join(STOP_SECONDS)
    assert status == 0, output
    assert [reply.status for reply in replies] == [200]


def test_port_in_use(serve: Serve, server: Server) -> None:
    """A second container on the port says so in one line and ends with 1."""
    second = serve(healthy=False, SAGEMAKER_BIND_TO_PORT=str(server.port))
    output, _ = second.process.communicate(timeout=START_SECONDS)
    assert second.process.returncode == 1
    assert output == f"mme serve: port {server.port} cannot be used: Address already in use\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SAGEMAKER_BIND_TO_PORT", "70000"),
        ("SAGEMAKER_SAFE_PORT_RANGE", "25000"),
        ("SAGEMAKER_MULTI_MODEL", "perhaps"),
        ("MME_LANES", "x"),
        ("MME_LIBSVM_BASE", "2"),
        ("MME_THREADS", "0"),
        ("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/plain"),
        ("TMPDIR", "/proc"),
    ],
)
def test_settings_that_make_no_sense(serve: Serve, variable: str, value: str) -> None:
    """A setting that cannot be meant ends the start with one line that names it."""
    second = serve(healthy=False, **{variable: value})
    output, _ = second.process.communicate(timeout=START_SECONDS)
    assert second.process.returncode == 1
    assert output.count("\n") == 1
    assert (variable in output) or ("temporary directory /proc" in output)


def test_no_port_but_the_public_one(serve: Serve) -> None:
    """Whatever ports are safe, no inner server takes any: only the public port listens."""
    server = serve(SAGEMAKER_SAFE_PORT_RANGE="25000-25999")
    inodes = sockets(descendants(server.process.pid))
    table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    listening = [line.split() for line in table.splitlines() if line.split()[3] == "0A"]
    ports = {int(line[1].rpartition(":")[2], 16) for line in listening if line[9] in inodes}
    assert ports == {server.port}


def test_bind_address(serve: Serve) -> None:
    """With an address to listen on, no other address is open."""
    server = serve(MME_BIND_ADDRESS="127.0.0.1")
    for address in ("127.0.0.2", "::1"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, server.port), timeout=STOP_SECONDS)
    none = serve(healthy=False, MME_BIND_ADDRESS="203.0.113.1")  # of nobody, for documents
    output, _ = none.process.communicate(timeout=START_SECONDS)
    assert none.process.returncode == 1
    assert "of 203.0.113.1 cannot be used" in output


@pytest.mark.parametrize("shards", ["1", "2"])
def test_memory_for_models(serve: Serve, shards: str) -> None:
    """Models take no more than the memory that is given to them, all shards together: 507."""
    server = serve(MME_MODEL_MEMORY_MB="4", MME_SHARDS=shards)
    url = server.put("m", {"m.ubj": saved(train(max_depth=8, num_parallel_tree=8))})
    loaded = 0
    while (reply := server.client.load(f"m{loaded}", url)).status == 200:
        loaded += 1
        assert loaded < 100
    assert "models hold" in error_of(507, reply.body)
    assert loaded > 2
    assert server.client.unload("m0").status == 200
    assert server.client.load("m0", url).status == 200


def test_a_port_that_mms_refuses(serve: Serve) -> None:
    """The public port may be above 32767, which MMS itself cannot listen on."""
    port = next(port for port in range(55555, 65536) if _free(port))
    assert serve(SAGEMAKER_BIND_TO_PORT=str(port)).client.healthy()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_lost_files(serve: Serve, booster: xgboost.Booster) -> None:
    """A model whose files are gone when it must be loaded again is absent, not broken."""
    server = serve(MME_SHARDS="1")
    url = server.put("m", {"m.ubj": saved(booster)})
    assert server.client.load("m", url).status == 200
    (Path(url) / "m.ubj").unlink()
    Path(url).rmdir()
    os.kill(server.pid("mme-shard"), signal.SIGKILL)
    wait_until(lambda: server.client.invoke("m", ROW).status == 404, 10, "404")
    assert list(server.client.models()) == []


def in_flight(server: Server) -> int:
    """Requests that the gate has whole, this question among them."""
    text = server.client.call("GET", "/metrics").body.decode()
    (line,) = (line for line in text.splitlines() if line.startswith("mme_in_flight "))
    return int(float(line.split()[1]))


def test_unload_waits(serve: Serve, booster: xgboost.Booster) -> None:
    """DELETE is answered after the requests in flight, which get their answers."""
    server = serve(MME_SHARDS="1")
    assert server.client.load("m", server.put("m", {"m.ubj": saved(booster)})).status == 200
    slow = b"0:1" + b" qid:1" * 1_000_000  # long to read, short to answer
    order: list[str] = []

    def ask() -> None:
        with Client("127.0.0.1", server.port) as client:
            order.append(f"invoke {client.invoke('m', slow, 'text/libsvm').status}")

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_until(lambda: in_flight(server) > 2, START_SECONDS, "both requests in flight")
    order.append(f"unload {server.client.unload('m').status}")
    for thread in asking:
        thread.join(STOP_SECONDS)
    assert "invoke 200" in order[: order.index("unload 200")]
    assert set(order) <= {"invoke 200", "invoke 404", "unload 200"}
    assert server.client.invoke("m", ROW).status == 404


def test_long_reading_is_no_hang(serve: Serve, booster: xgboost.Booster) -> None:
    """A body that keeps Python's lock for long, while it is split, does not cost the shard."""
    server = serve(MME_SHARDS="1", MME_MAX_REQUEST_BYTES="100000000")
    assert server.client.load("m", server.put("m", {"m.ubj": saved(booster)})).status == 200
    shard = server.pid("mme-shard")
    body = b"0:1" + b" qid:1" * 6_000_000
    statuses: list[int] = []

    def ask() -> None:
        with Client("127.0.0.1", server.port) as client:
            statuses.append(client.invoke("m", body, "text/libsvm").status)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(STOP_SECONDS)
    assert statuses == [200, 200]
    assert server.pid("mme-shard") == shard
    assert server.stop()[0] == 0


def test_load_during_unload(serve: Serve, booster: xgboost.Booster) -> None:
    """A load that comes while the model is being unloaded waits for that, and then loads."""
    server = serve(MME_SHARDS="1")
    url = server.put("m", {"m.ubj": saved(booster)})
    assert server.client.load("m", url).status == 200
    slow = b"0:1" + b" qid:1" * 1_000_000
    statuses: dict[str, int] = {}
    idle = cpu_ticks(server)

    def call(what: str, *words: str | bytes) -> threading.Thread:
        def run() -> None:
            with Client("127.0.0.1", server.port) as client:
                statuses[what] = getattr(client, what)(*words).status

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    calls = [call("invoke", "m", slow, "text/libsvm")]
    wait_until(lambda: cpu_ticks(server) > idle + 5, START_SECONDS, "a busy worker")
    calls.append(call("unload", "m"))
    wait_until(lambda: server.client.describe("m").status == 404, START_SECONDS, "the unload")
    calls.append(call("load", "m", url))
    for thread in calls:
        thread.join(STOP_SECONDS)
    assert statuses == {"invoke": 200, "unload": 200, "load": 200}
    assert server.client.invoke("m", ROW).status == 200


def test_deadline(serve: Serve) -> None:
    """A request that takes too long is answered when its time is over, and others go on."""
    server = serve(MME_SHARDS="1", MME_INVOKE_DEADLINE_SECONDS="1")
    many = saved(train(num_parallel_tree=50))  # 500 trees for each of the rows
    assert server.client.load("m", server.put("m", {"m.ubj": many})).status == 200
    late = server.client.invoke("m", b"1\n" * 3_000_000, "text/libsvm")
    assert "no answer in 1 s" in error_of(500, late.body)
    wait_until(
        lambda: server.client.invoke("m", ROW).status == 200, SOON_SECONDS, "an answer to others"
    )


def cpu_ticks(server: Server) -> int:
    """What the workers have computed so far, in hundredths of a second."""
    stats = [Path(f"/proc/{pid}/stat").read_text() for pid in server.processes()["mme-shard"]]
    return sum(int(stat.rpartition(")")[2].split()[11]) for stat in stats)


def test_unload_while_loading(serve: Serve) -> None:
    """A model that is unloaded before it is loaded is gone afterwards; the load says so."""
    server = serve(MME_SHARDS="1")
    big = train(max_depth=10, num_parallel_tree=200)
    url = server.put("big", {"m.json": saved(big, "json")})
    replies = []

    def load() -> None:
        with Client("127.0.0.1", server.port) as client:
            replies.append(client.load("big", url))

    loading = threading.Thread(target=load)
    loading.start()
    wait_until(lambda: server.client.describe("big").status == 200, START_SECONDS, "the load")
    unloaded = server.client.unload("big")
    loading.join(STOP_SECONDS)
    assert unloaded.status == 200
    if replies[0].status != 200:  # it was still loading
        assert "unloaded while loading" in error_of(409, replies[0].body)
    assert server.client.describe("big").status == 404
    assert server.client.load("big", url).status == 200


def test_slow_upload(serve: Serve) -> None:
    """A request that does not come to its end is refused after the deadline, and others go on."""
    server = serve(MME_RECEIVE_DEADLINE_SECONDS="1")
    with socket.create_connection(("127.0.0.1", server.port), START_SECONDS) as connection:
        connection.sendall(b"POST /models HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"not received in 1 s" in received
    assert server.client.healthy()
