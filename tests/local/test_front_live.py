"""What clients break off, other sites send, and signals interrupt, at a real ``mme local``."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import descendants
from mme.client import Client
from tests.local.conftest import QUICK, Start
from tests.local.support import ROW, SECONDS, Local
from tests.support import alive, wait_until

MANY = 10
STRANGER = {"Origin": "https://example.com"}
STOP_SECONDS = 15
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/sagemaker/aws4_request, "
    "SignedHeaders=host, Signature=any"
)


def half_sent(local: Local, head: str, body: bytes) -> socket.socket:
    """A connection on which a request has begun whose body is longer than what came of it."""
    connection = socket.create_connection(("127.0.0.1", local.port), SECONDS)
    lines = f"{head}\r\nHost: 127.0.0.1\r\nContent-Length: {10 * len(body)}\r\n\r\n"
    connection.sendall(lines.encode() + body)
    return connection


@contextlib.contextmanager
def half_sent_many(local: Local, head: str, body: bytes) -> Iterator[None]:
    """Within the block, many such connections; at its end they are closed."""
    with contextlib.ExitStack() as stack:
        for number in range(MANY):
            stack.enter_context(half_sent(local, head.format(number), body))
        yield


def one_below(local: Local, words: str) -> int | None:
    """A process below it, by part of its command line."""
    below = alive(descendants(local.process.pid)[1:])
    return next((pid for pid, command in below.items() if words in command), None)


def descriptors(local: Local) -> int:
    """How many the front has open."""
    return len(list(Path(f"/proc/{local.process.pid}/fd").iterdir()))


def threads(local: Local) -> int:
    """How many moto has: one for each connection."""
    return len(list(Path(f"/proc/{one_below(local, 'moto_child')}/task").iterdir()))


def test_aborted_upload(local: Local) -> None:
    """An upload to S3 that breaks off leaves no descriptor, no thread of moto, and no object."""
    local.client("s3").create_bucket(Bucket="aborted")
    open_before, threads_before = descriptors(local), threads(local)
    with half_sent_many(local, "PUT /aborted/{} HTTP/1.1", bytes(300_000)):
        wait_until(
            lambda: threads(local) >= threads_before + MANY - 2,
            SECONDS,
            "uploads that moto waits for",
        )
    # Others come and go, of what reads metrics; these would all stay.
    wait_until(lambda: threads(local) < threads_before + MANY / 2, SECONDS, "the threads' end")
    wait_until(lambda: descriptors(local) < open_before + MANY / 2, SECONDS, "closed descriptors")
    assert local.client("s3").list_objects_v2(Bucket="aborted")["KeyCount"] == 0


def test_half_sent_invocation(local: Local, model: bytes) -> None:
    """An invocation whose body breaks off is not invoked, and its model is not loaded."""
    name = "half-sent"
    local.bucket(name, {"a.tar.gz": model, "b.tar.gz": model})
    local.create(name, name)
    before = descriptors(local)
    head = (
        f"POST /endpoints/{name}/invocations HTTP/1.1\r\nContent-Type: text/csv\r\n"
        "X-Amzn-SageMaker-Target-Model: a.tar.gz"
    )
    with half_sent_many(local, head, ROW + b"\n"):
        wait_until(lambda: descriptors(local) >= before + MANY, SECONDS, "their connections")
    wait_until(lambda: descriptors(local) < before + MANY / 2, SECONDS, "closed connections")
    local.invoke(name, "b.tar.gz")
    (instance,) = local.instances(name)
    assert (instance["invocations"], instance["loads"], instance["in_flight"]) == (1, 1, 0)
    (loaded,) = local.page(f"models?endpoint={name}")["models"]
    assert loaded["target"] == "b.tar.gz"
    local.delete(name)


def test_form_of_another_site(local: Local) -> None:
    """A form of another site cannot put an object into a bucket; one from here can."""
    local.client("s3").create_bucket(Bucket="forms")
    form = (
        b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\nput\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nany\r\n--x--\r\n'
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    with Client("127.0.0.1", local.port) as client:
        assert client.call("POST", "/forms", form, kind | STRANGER).status == 403
        assert list((local.state / "s3" / "forms").iterdir()) == []
        ours = {"Origin": f"http://localhost:{local.port}"}
        assert client.call("POST", "/forms", form, kind | ours).status < 300
    assert (local.state / "s3" / "forms" / "put").read_bytes() == b"any"


def test_call_of_another_site(local: Local) -> None:
    """Another site cannot have a model created."""
    body = (
        b'{"ModelName": "strange", "ExecutionRoleArn": "arn:aws:iam::123456789012:role/any", '
        b'"PrimaryContainer": {"Image": "i"}}'
    )
    target = {"X-Amz-Target": "SageMaker.CreateModel"}
    with Client("127.0.0.1", local.port) as client:
        assert client.call("POST", "/", body, target | STRANGER).status == 403
    assert local.client("sagemaker").list_models(NameContains="strange")["Models"] == []


@pytest.mark.parametrize("operation", ["ListModels", "ListNotebookInstances"])
def test_chunked_call(local: Local, operation: str) -> None:
    """A call of SageMaker whose body comes in chunks is answered, whether by us or by moto."""
    with socket.create_connection(("127.0.0.1", local.port), SECONDS) as connection:
        lines = (
            "POST / HTTP/1.1",
            "Host: 127.0.0.1",
            f"X-Amz-Target: SageMaker.{operation}",
            "Content-Type: application/x-amz-json-1.1",
            f"Authorization: {SIGNED}",
            "Transfer-Encoding: chunked",
        )
        connection.sendall("\r\n".join((*lines, "", "2\r\n{}\r\n0\r\n\r\n")).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def stopped_well(local: Local) -> None:
    """SIGTERM ends it soon, with all its processes."""
    everything = descendants(local.process.pid)[1:]
    begun = time.monotonic()
    assert local.stop() == 0
    assert time.monotonic() - begun < STOP_SECONDS
    wait_until(lambda: not alive(everything), SECONDS, "the end of all processes")
    assert list((local.state / "instances").iterdir()) == []


def test_stop_while_an_endpoint_starts(start_local: Start, model: bytes) -> None:
    """SIGTERM does not wait for an endpoint whose container is not healthy yet."""
    local = start_local(**QUICK)
    local.bucket("starting", {"a.tar.gz": model})
    local.create("starting", "starting", wait=False)
    java = wait_until(lambda: one_below(local, "ModelServer"), SECONDS, "a server")
    os.kill(java, signal.SIGSTOP)
    described = local.client("sagemaker").describe_endpoint(EndpointName="starting")
    assert described["EndpointStatus"] == "Creating"
    stopped_well(local)


def test_stop_while_an_endpoint_is_restored(
    start_local: Start, tmp_path: Path, model: bytes
) -> None:
    """SIGTERM does not wait, either, for an endpoint of an earlier run that starts again."""
    first = start_local(state=tmp_path / "state", **QUICK)
    first.bucket("restored", {"a.tar.gz": model})
    first.create("restored", "restored")
    assert first.stop() == 0
    local = Local(first.state, environ=QUICK)
    try:
        java = wait_until(lambda: one_below(local, "ModelServer"), SECONDS, "a server")
        os.kill(java, signal.SIGSTOP)
        assert local.process.stdout is not None
        assert local.process.stdout.readline().startswith("mme local listens on")
        stopped_well(local)
    finally:
        local.process.kill()
        local.process.wait(SECONDS)
        local.close()
