"""Endpoints over their lives: created, updated, scaled, broken, restarted, deleted."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mme.process_tree import descendants
from tests.local.conftest import QUICK, Start
from tests.local.support import ROW, SECONDS, Local
from tests.support import alive, wait_until

DOCUMENTED = {"ModelError", "ModelNotReadyException", "ServiceUnavailable", "InternalFailure"}


class Traffic:
    """Threads that invoke without a pause, and what came of it."""

    def __init__(self, ask: Callable[[], Any], threads: int = 4) -> None:
        self.answers = 0
        self.errors: list[str] = []
        self._ask, self._stop = ask, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._ask()
                self.answers += 1
            except ClientError as error:
                self.errors.append(error.response["Error"]["Code"])

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive(), "an invocation hangs"


def pids(local: Local, endpoint: str) -> dict[str, int]:
    """The first process of each instance, by the instance's id."""
    found = {}
    for instance in local.instances(endpoint):
        port = instance["url"].rpartition(":")[2].encode()
        for folder in Path("/proc").iterdir():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                environ = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"SAGEMAKER_BIND_TO_PORT=" + port in environ and b"serve" in command:
                found[instance["id"]] = int(folder.name)
    return found


def test_waiter_returns_at_once(local: Local, model: bytes, name: str) -> None:
    """boto3's waiter, which asks every 30 s, returns as soon as the endpoint is in service."""
    local.bucket("waiter", {"a.tar.gz": model})
    begun = time.monotonic()
    local.create(name, "waiter")
    assert time.monotonic() - begun < 29
    described = local.client("sagemaker").describe_endpoint(EndpointName=name)
    assert described["EndpointStatus"] == "InService"
    (variant,) = described["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)


def test_creating_is_not_in_service(local: Local, model: bytes, name: str) -> None:
    """While it is created an endpoint is said to be Creating, and cannot be invoked."""
    local.bucket("creating", {"a.tar.gz": model})
    local.create(name, "creating", wait=False)
    listed = local.client("sagemaker").list_endpoints(NameContains=name)["Endpoints"]
    assert listed[0]["EndpointStatus"] == "Creating"
    with pytest.raises(ClientError, match=f"Endpoint {name} of account 123456789012 not found"):
        local.invoke(name, "a.tar.gz")
    local.in_service(name)
    assert len(local.invoke(name, "a.tar.gz")) == 1


def test_failed_with_a_reason(local: Local, model: bytes, name: str) -> None:
    """A container that does not start makes the endpoint Failed, with its own last words."""
    local.bucket("failed", {"a.tar.gz": model})
    local.create(name, "failed", environment={"MME_LANES": "none"}, wait=False)
    sagemaker = local.client("sagemaker")

    def failed() -> Any:
        described = sagemaker.describe_endpoint(EndpointName=name)
        return described if described["EndpointStatus"] == "Failed" else None

    described = wait_until(failed, SECONDS, "the failure")
    assert "did not pass the ping health check" in described["FailureReason"]
    assert "MME_LANES is 'none'" in described["FailureReason"]
    local.delete(name)


def test_update_drops_nothing(local: Local, model: bytes, name: str) -> None:
    """An update replaces every instance while all requests are answered."""
    local.bucket("update", {"a.tar.gz": model})
    local.create(name, "update")
    before = {one["id"] for one in local.instances(name)}
    local.configure(f"{name}-2", name, InstanceType="ml.c5.xlarge")
    with Traffic(lambda: local.invoke(name, "a.tar.gz")) as traffic:
        wait_until(lambda: traffic.answers > 20, SECONDS, "traffic")
        local.client("sagemaker").update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
        described = local.in_service(name)
        answered = traffic.answers
        wait_until(lambda: traffic.answers > answered + 20, SECONDS, "traffic after it")
    assert traffic.errors == []
    assert described["EndpointConfigName"] == f"{name}-2"
    (instance,) = local.instances(name)
    assert instance["id"] not in before
    assert instance["memory_limit_bytes"] == 8 * 1024**3


def test_update_that_fails_is_undone(local: Local, model: bytes, name: str) -> None:
    """When the new containers do not start, the old ones go on, and the reason is told."""
    local.bucket("undone", {"a.tar.gz": model})
    local.create(name, "undone")
    sagemaker = local.client("sagemaker")
    container = {
        "Image": "xgboost-mme",
        "Mode": "MultiModel",
        "ModelDataUrl": "s3://undone/",
        "Environment": {"MME_LANES": "none"},
    }
    sagemaker.create_model(
        ModelName=f"{name}-2",
        ExecutionRoleArn="arn:aws:iam::123456789012:role/any",
        PrimaryContainer=container,
    )
    local.configure(f"{name}-2", f"{name}-2")
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-2")
    described = local.in_service(name)
    assert described["EndpointConfigName"] == name
    assert "MME_LANES" in described["FailureReason"]
    assert len(local.invoke(name, "a.tar.gz")) == 1


def test_instances_are_scaled(local: Local, model: bytes, name: str) -> None:
    """Weights and counts change while it serves, and no request is lost."""
    local.bucket("scaled", {f"m{number}.tar.gz": model for number in range(8)})
    local.create(name, "scaled")
    sagemaker = local.client("sagemaker")
    numbers = iter(range(10**9))
    with Traffic(lambda: local.invoke(name, f"m{next(numbers) % 8}.tar.gz")) as traffic:
        for count in (3, 1):
            sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=name,
                DesiredWeightsAndCapacities=[
                    {"VariantName": "AllTraffic", "DesiredInstanceCount": count}
                ],
            )
            (variant,) = local.in_service(name)["ProductionVariants"]
            assert variant["DesiredInstanceCount"] == count
            wait_until(lambda: len(local.instances(name)) == count, SECONDS, f"{count} instances")  # noqa: B023  # it is called within the round
            answered = traffic.answers
            wait_until(lambda: traffic.answers > answered + 20, SECONDS, "traffic")  # noqa: B023  # as above
    assert traffic.errors == []


def test_scaled_down_and_up(local: Local, model: bytes, name: str) -> None:
    """Instances that are on their way out do not count when more are wanted at once."""
    local.bucket("down-and-up", {"a.tar.gz": model})
    local.create(name, "down-and-up")
    for count in (3, 1, 2):
        local.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=name,
            DesiredWeightsAndCapacities=[
                {"VariantName": "AllTraffic", "DesiredInstanceCount": count}
            ],
        )
        (variant,) = local.in_service(name)["ProductionVariants"]
        assert variant["DesiredInstanceCount"] == count

    def serving() -> bool:
        return [one["status"] for one in local.instances(name)] == ["InService"] * 2

    wait_until(serving, SECONDS, "two instances")


def test_models_are_shared_out(local: Local, model: bytes, name: str) -> None:
    """Models that few ask for live on one instance each, and the instances share them out."""
    local.bucket("shared-out", {f"m{number}.tar.gz": model for number in range(10)})
    local.create(name, "shared-out", InitialInstanceCount=2)
    for _ in range(2):
        for number in range(10):
            local.invoke(name, f"m{number}.tar.gz")
    loaded = [one["loaded"] for one in local.instances(name)]
    assert sum(loaded) == 10
    assert min(loaded) == 5


def test_hot_model_spreads(local: Local, model: bytes, name: str) -> None:
    """A model whose requests pile up on the instance that has it is loaded on another one, too."""
    local.bucket("hot", {"a.tar.gz": model})
    local.create(name, "hot", InitialInstanceCount=2)
    rows = b"\n".join([ROW] * 20_000)
    with Traffic(lambda: local.invoke(name, "a.tar.gz", rows), threads=24) as traffic:
        wait_until(
            lambda: [one["loaded"] for one in local.instances(name)] == [1, 1],
            SECONDS,
            "the model on both instances",
        )
    assert set(traffic.errors) <= DOCUMENTED


def test_memory_pressure(start_local: Start, model: bytes) -> None:
    """When an instance's memory is nearly full models are unloaded, whatever the container says."""
    local = start_local(**QUICK, MME_LOCAL_INSTANCE_MEMORY_MB="100")  # less than a server takes
    local.bucket("pressed", {f"m{number}.tar.gz": model for number in range(3)})
    local.create("pressed", "pressed")
    for number in range(3):
        local.invoke("pressed", f"m{number}.tar.gz")

    def unloaded() -> bool:
        return any("of memory was used" in one["reason"] for one in local.page()["evictions"])

    wait_until(unloaded, SECONDS, "an eviction")
    assert len(local.invoke("pressed", "m0.tar.gz")) == 1
    assert local.stop() == 0


def test_variants(local: Local, model: bytes, name: str) -> None:
    """Traffic goes to variants by weight, and to a named one whatever its weight."""
    local.bucket("variants", {"a.tar.gz": model})
    sagemaker, runtime = local.client("sagemaker"), local.client("sagemaker-runtime")
    local.create(f"{name}-model", "variants", wait=False)
    common = {
        "ModelName": f"{name}-model",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {**common, "VariantName": "blue", "InitialVariantWeight": 1},
            {**common, "VariantName": "green", "InitialVariantWeight": 0},
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.in_service(name)

    def variant(**more: str) -> str:
        answer = runtime.invoke_endpoint(
            EndpointName=name, TargetModel="a.tar.gz", ContentType="text/csv", Body=ROW, **more
        )
        return str(answer["InvokedProductionVariant"])

    assert {variant() for _ in range(10)} == {"blue"}
    assert variant(TargetVariant="green") == "green"
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "blue", "DesiredWeight": 0},
            {"VariantName": "green", "DesiredWeight": 5},
        ],
    )
    local.in_service(name)
    assert {variant() for _ in range(10)} == {"green"}


def test_killed_instances_are_replaced(local: Local, model: bytes, name: str) -> None:
    """While instances are killed, every request is answered, if with an error that AWS has."""
    local.bucket("killed", {f"m{number}.tar.gz": model for number in range(6)})
    local.create(name, "killed", InitialInstanceCount=2)
    numbers = iter(range(10**9))
    with Traffic(lambda: local.invoke(name, f"m{next(numbers) % 6}.tar.gz")) as traffic:
        for _ in range(3):
            answered = traffic.answers
            wait_until(lambda: traffic.answers > answered + 20, SECONDS, "traffic")  # noqa: B023  # it is called within the round
            (identity, pid), *_ = pids(local, name).items()
            os.kill(pid, signal.SIGKILL)

            def replaced(gone: str = identity) -> bool:
                now = local.instances(name)
                serving = [one for one in now if one["status"] == "InService"]
                return gone not in {one["id"] for one in now} and len(serving) == 2

            wait_until(replaced, SECONDS, "a replacement")
    assert set(traffic.errors) <= DOCUMENTED
    assert traffic.answers > 50
    kinds = {one["type"] for one in local.page()["errors"] if one["endpoint"] == name}
    assert "InstanceFailed" in kinds


def test_hung_instance_is_replaced(local: Local, model: bytes, name: str) -> None:
    """An instance that does not answer /ping any more is replaced."""
    local.bucket("hung", {"a.tar.gz": model})
    local.create(name, "hung")
    ((identity, supervisor),) = pids(local, name).items()
    stopped = [supervisor, *_gates(supervisor)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)

    def replaced() -> bool:
        return [one["status"] for one in local.instances(name) if one["id"] != identity] == [
            "InService"
        ]

    wait_until(replaced, SECONDS, "a replacement")
    assert len(local.invoke(name, "a.tar.gz")) == 1
    wait_until(lambda: not alive(stopped), SECONDS, "the end of the old one")


def _gates(supervisor: int) -> list[int]:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"container.gate" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_delete_leaves_nothing(local: Local, model: bytes, name: str) -> None:
    """A deleted endpoint has no process and no folder left, and its name can be used again."""
    local.bucket("deleted", {"a.tar.gz": model})
    local.create(name, "deleted")
    local.invoke(name, "a.tar.gz")
    (instance,) = local.instances(name)
    processes = list(pids(local, name).values())
    local.delete(name)
    assert not alive(processes)
    assert not (local.state / "instances" / instance["id"]).exists()
    local.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=name)
    local.in_service(name)
    assert len(local.invoke(name, "a.tar.gz")) == 1


@contextmanager
def restarted(start_local: Start, local: Local, number: int) -> Iterator[Local]:
    """The same state, after its process got a signal."""
    everything = descendants(local.process.pid)
    if number == signal.SIGKILL:
        local.process.kill()
        local.process.wait(SECONDS)
    else:
        assert local.stop(number) == 0
    wait_until(lambda: not alive(everything), SECONDS, "the end of all its processes")
    again = start_local(state=local.state, **QUICK)
    yield again
    assert again.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_state_survives(start_local: Start, model: bytes, name: str, number: int) -> None:
    """Buckets, models and endpoints are there again after a stop and after kill -9."""
    first = start_local(**QUICK)
    first.client("s3").create_bucket(Bucket="kept")
    first.client("s3").put_object(Bucket="kept", Key="note", Body=b"kept")
    first.bucket("kept", {"a.tar.gz": model})
    first.create(name, "kept")
    expected = first.invoke(name, "a.tar.gz")
    with restarted(start_local, first, number) as second:
        assert second.client("s3").get_object(Bucket="kept", Key="note")["Body"].read() == b"kept"
        described = second.client("sagemaker").describe_endpoint(EndpointName=name)
        assert described["EndpointStatus"] == "InService"
        assert second.client("sagemaker").describe_model(ModelName=name)["ModelName"] == name
        assert second.invoke(name, "a.tar.gz") == expected


def test_moto_comes_back(start_local: Start, model: bytes) -> None:
    """When moto dies it is started again, with the same buckets; endpoints do not notice."""
    local = start_local(**QUICK)
    local.bucket("moto", {"a.tar.gz": model})
    local.create("moto", "moto")
    (moto,) = [
        pid
        for pid in descendants(local.process.pid)[1:]
        if b"mme.local.aws.moto_child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(moto, signal.SIGKILL)
    assert len(local.invoke("moto", "a.tar.gz")) == 1

    def listed() -> bool:
        try:
            return bool(local.client("s3").list_objects_v2(Bucket="moto")["KeyCount"])
        except ClientError:
            return False

    wait_until(listed, SECONDS, "moto's return")
    assert local.stop() == 0
