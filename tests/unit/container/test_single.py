"""The API of a container that serves one model, and what of it a multi-model one has not."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from container import transform
from container.api import SINGLE, Api
from container.messages import Request, Response
from container.settings import Settings
from container.shards import Answer, Shard

SECONDS = 10
JSON = b"application/json"


class FakeShard:
    """A shard that loads and answers as it is told to."""

    def __init__(self) -> None:
        self.number = self.in_flight = self.models = 0
        self.serving = asyncio.Event()
        self.serving.set()
        self.load_status = self.invoke_status = 200

    async def load(self, *_: object) -> Answer:
        """Take the model, or not."""
        return Answer(self.load_status, JSON, b'{"message": "as I was told"}')

    async def unload(self, *_: object) -> Answer:
        """Let it go."""
        return Answer(200, JSON, b"{}")

    async def invoke(self, *_: object) -> Answer:
        """Answer."""
        body = b"[1.0]" if self.invoke_status == 200 else b'{"type": "ModelNotFoundException"}'
        return Answer(self.invoke_status, JSON, body)


Call = Callable[..., Coroutine[Any, Any, Response]]
Case = Callable[[Api, Call, FakeShard], Coroutine[Any, Any, None]]


def run(case: Case, multi_model: bool = False) -> Settings:
    """Run a case with an API and a way to call it."""
    settings = Settings.from_environ(
        {
            "SAGEMAKER_MULTI_MODEL": str(multi_model).lower(),
            "MME_MODEL_ROOT": "/models",
            "MME_ACCESS_LOG": "false",
        }
    )

    async def main() -> None:
        shard = FakeShard()
        api = Api(settings, [cast("Shard", shard)])

        async def call(method: str, path: str, body: bytes = b"") -> Response:
            return await api(Request(method.encode(), path.encode(), {}, body))

        async with asyncio.timeout(SECONDS):
            await case(api, call, shard)

    asyncio.run(main())
    return settings


def message(response: Response, status: int) -> str:
    """What an error says."""
    error = json.loads(response.body)
    assert response.status == error["code"] == status
    return str(error["message"])


def test_execution_parameters() -> None:
    """Batch transform is told as soon as the container answers; only GET is meant."""

    async def case(_: Api, call: Call, __: FakeShard) -> None:
        response = await call("GET", "/execution-parameters")
        assert (response.status, response.content_type) == (200, JSON)
        said.update(json.loads(response.body))
        refused = await call("POST", "/execution-parameters", b"{}")
        assert (refused.status, refused.headers[0]) == (405, (b"Allow", b"GET"))

    said: dict[str, Any] = {}
    settings = run(case)
    assert said == transform.parameters(settings)


@pytest.mark.parametrize(
    ("path", "multi_model"),
    [
        ("/models", False),
        ("/models/model", False),
        ("/models/model/invoke", False),
        ("/execution-parameters/", False),
        ("/execution-parameters", True),
        ("/invocations", True),
    ],
)
def test_what_the_other_mode_has(path: str, multi_model: bool) -> None:
    """Neither mode knows the calls of the other, whatever the method."""

    async def case(_: Api, call: Call, __: FakeShard) -> None:
        for method in ("GET", "POST", "DELETE"):
            response = await call(method, path, b"1")
            assert "not found" in message(response, 404)
            assert json.loads(response.body)["type"] == "ResourceNotFoundException"

    run(case, multi_model)


def test_before_and_after_the_load() -> None:
    """Until its model is loaded it is not healthy, and says that it starts."""

    async def case(api: Api, call: Call, _: FakeShard) -> None:
        for call_of in (call("GET", "/ping"), call("POST", "/invocations", b"1")):
            response = await call_of
            assert message(response, 503) == "the container is starting"
            assert (b"Retry-After", b"1") in response.headers
        assert (await api.load(SINGLE, "/models", Path("/models"))).status == 200
        api.healthy = True
        assert (await call("GET", "/ping")).status == 200
        answer = await call("POST", "/invocations", b"1")
        assert (answer.status, answer.body) == (200, b"[1.0]")
        assert (await call("GET", "/invocations")).status == 405

    run(case)


def test_a_model_whose_files_are_gone() -> None:
    """When it is lost and cannot be loaded again, /ping says so: nobody else would load it."""

    async def case(api: Api, call: Call, shard: FakeShard) -> None:
        await api.load(SINGLE, "/models", Path("/models"))
        api.healthy = True
        shard.invoke_status = shard.load_status = 404
        assert (await call("POST", "/invocations", b"1")).status == 404
        for call_of in (call("GET", "/ping"), call("POST", "/invocations", b"1")):
            assert "the model is gone" in message(await call_of, 503)

    run(case)


def test_multi_model_is_healthy_without_a_model() -> None:
    """The platform asks so before it loads any."""

    async def case(api: Api, call: Call, _: FakeShard) -> None:
        api.healthy = True
        assert (await call("GET", "/ping")).status == 200
        assert json.loads((await call("GET", "/models")).body) == {"models": []}

    run(case, multi_model=True)
