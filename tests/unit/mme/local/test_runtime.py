"""What of an invocation reaches the container, and what of its answer the client."""

import contextlib
import time
from pathlib import Path

from mme.local.control.store import Store
from mme.local.runtime.deployment import Deployment
from mme.local.runtime.endpoints import Endpoints
from mme.local.runtime.history import Events
from mme.local.runtime.runtime import Request, Response, Runtime
from mme.local.settings import Settings
from tests.unit.mme.local.fake_container import (
    ATTRIBUTES,
    SECONDS,
    FakeContainer,
    Fleet,
    in_loop,
    surroundings,
    variant,
)

ACCOUNT = "123456789012"


async def invoked(folder: Path, headers: dict[str, str]) -> tuple[Response, FakeContainer | None]:
    """The answer to an invocation with these headers, and who gave it."""
    around, fleet = surroundings(folder, "a.tar.gz"), Fleet()
    settings, events = Settings(), Events()
    with contextlib.closing(Store(folder / "control.sqlite")) as store:
        endpoints = Endpoints(
            store, around.objects, fleet.make, folder / "instances", events, settings, ACCOUNT
        )
        await endpoints.create(
            {
                "EndpointName": "e",
                "EndpointArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/e",
                "EndpointConfigName": "c",
                "CreationTime": 0.0,
                "Deployment": Deployment(variants=(variant(),)).to_json(),
            }
        )
        await endpoints.settled("e", SECONDS)
        container = fleet.running[0] if fleet.running else None
        lower = {name.lower().encode(): value.encode() for name, value in headers.items()}
        request = Request("e", lower, b"1,2", "id", time.monotonic())
        response = await Runtime(endpoints, events, settings, ACCOUNT).invoke(request)
        await endpoints.stop()
    return response, container


@in_loop
async def test_headers(tmp_path: Path) -> None:
    """The container gets what InvokeEndpoint defines and nothing else; its attributes come back."""
    passed = {
        "content-type": "text/csv",
        "accept": "application/json",
        ATTRIBUTES: "trace=1",
        "x-amzn-sagemaker-target-model": "a.tar.gz",
        "x-amzn-sagemaker-inference-id": "mine",
    }
    other = {"authorization": "AWS4 secret", "x-amz-date": "now", "amz-sdk-request": "attempt=1"}
    response, container = await invoked(tmp_path, passed | other)
    assert container is not None
    heard = container.server.heard
    assert heard.items() >= passed.items()
    assert not heard.keys() & other.keys()
    assert response.status == 200
    assert response.body == b"1"
    headers = {name.lower(): value for name, value in response.headers}
    assert headers[ATTRIBUTES.encode()] == b"trace=1"
    assert headers[b"x-amzn-invoked-production-variant"] == b"AllTraffic"


@in_loop
async def test_failed_endpoint(tmp_path: Path) -> None:
    """An endpoint that has failed is none, as AWS has it."""
    (tmp_path / "instances").write_text("no folder can be made here")
    response, container = await invoked(tmp_path, {"x-amzn-sagemaker-target-model": "a.tar.gz"})
    assert container is None
    assert response.status == 400
    assert (b"x-amzn-ErrorType", b"ValidationError") in response.headers
