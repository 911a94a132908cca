"""The multi-model container API, call by call: what the platform asks of the gate."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote

from container.connection import Request, Response, to_response
from container.faults import Fault, FaultError, pretty
from container.log import log
from container.models import Model, Register, State
from container.paths import check_name, read_load_request
from container.settings import Settings
from container.shards import Answer, Shard
from container.spread import Spread

MAX_PASSED_ON_BYTES = 1024  # of one header; as much as the platform takes
SINGLE = "model"  # the name of the one model of an endpoint that is not multi-model


class Api:
    """Answers every call, from the register and through the shards."""

    def __init__(self, settings: Settings, shards: list[Shard]) -> None:
        self.serving = asyncio.Event()  # set once the shards take models
        self.healthy = False
        self.draining = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._settings = settings
        self._shards = shards
        self._register = Register()
        self.spread = Spread(shards)
        self._loading_again: dict[str, asyncio.Task[Answer]] = {}

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every fault is an answer, nothing is raised."""
        self._in_flight += 1
        try:
            return await self._route(request)
        except FaultError as fault:
            return to_response(fault)
        except Exception as error:  # the boundary: a client must get an answer
            log("internal error", error=repr(error))
            return to_response(FaultError(Fault.INTERNAL, "the gate failed; its log says why"))
        finally:
            self._in_flight -= 1
            if self.draining and not self._in_flight:
                self._idle.set()

    async def drain(self, seconds: float) -> int:
        """Refuse what is new, wait for what is in flight, and return how much of it is left."""
        self.draining = True
        if self._in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)
        return self._in_flight

    async def _route(self, request: Request) -> Response:
        path, _, query = request.target.partition(b"?")
        parts = path.split(b"/")[1:]
        if self.draining and parts != [b"ping"]:
            request.keep_alive = False
            raise FaultError(Fault.UNAVAILABLE, "the container is stopping")
        calls: dict[bytes, Callable[[], Awaitable[Response]]] = {}
        match parts:
            case [b"ping"]:
                calls = {b"GET": self._ping}
            case [b"models"] if self._settings.multi_model:
                calls = {
                    b"GET": lambda: self._list(query),
                    b"POST": lambda: self._load(request),
                }
            case [b"models", name] if self._settings.multi_model:
                calls = {
                    b"GET": lambda: self._describe(_decoded(name)),
                    b"DELETE": lambda: self._unload(_decoded(name)),
                }
            case [b"models", name, b"invoke"] if self._settings.multi_model:
                calls = {b"POST": lambda: self._invoke(_decoded(name), request)}
            case [b"invocations"] if not self._settings.multi_model:
                calls = {b"POST": lambda: self._invoke(SINGLE, request)}
        if not calls:
            raise FaultError(
                Fault.RESOURCE_NOT_FOUND,
                "Requested resource is not found, please refer to API document.",
            )
        call = calls.get(request.method)
        if call is None:
            return _method_not_allowed(calls)
        return await call()

    async def _ping(self) -> Response:
        if self.draining or not self.healthy:
            state = "stopping" if self.draining else "starting"
            raise FaultError(Fault.UNAVAILABLE, f"the container is {state}")
        return Response(200, pretty({"status": "Healthy"}))

    async def _list(self, query: bytes) -> Response:
        asked = parse_qs(query.decode("latin-1"))
        limit, token = asked.get("limit", [""])[0], asked.get("next_page_token", [""])[0]
        return Response(200, pretty(self._register.page(limit, token)))

    async def _describe(self, name: str) -> Response:
        model = self._known(name)
        return Response(200, pretty({"modelName": model.name, "modelUrl": model.url}))

    async def _load(self, request: Request) -> Response:
        asked = read_load_request(request.body, self._settings.model_root)
        return await self.load(asked.name, asked.url, asked.directory)

    async def load(self, name: str, url: str, directory: Path) -> Response:
        """Load a model on the shard that has the fewest; one that fails leaves nothing behind."""
        seconds = self._settings.load_deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                while (old := self._register.get(name)) and old.state is State.UNLOADING:
                    await old.changed()  # the platform may load again before an unload is over
                if old is not None:
                    raise FaultError(Fault.CONFLICT, f"Model {name} is already registered.")
                return await self._load_new(name, url, directory)
        except TimeoutError:
            if not self.serving.is_set():
                raise FaultError(Fault.UNAVAILABLE, "the container is starting") from None
            raise FaultError(Fault.INTERNAL, f"{name} did not load in {seconds} s") from None

    async def _load_new(self, name: str, url: str, directory: Path) -> Response:
        model = Model(name, url, directory, min(self._shards, key=lambda shard: shard.models))
        self._register.add(model)
        try:
            await self.serving.wait()
            answer = await model.shard.load(model.key, directory)
        except BaseException:
            self._register.remove(model)
            raise
        finally:
            model.load_is_over = True
            model.notify()
        if model.state is State.UNLOADING:
            raise FaultError(Fault.CONFLICT, f"Model {name} was unloaded while loading.")
        if answer.status != 200:
            self._register.remove(model)
            log("load failed", model=name, status=answer.status, answer=_text(answer))
            return _response(answer)
        model.state = State.READY
        return Response(200, pretty({"status": "Workers scaled"}))

    async def _unload(self, name: str) -> Response:
        model = self._known(name)
        model.state = State.UNLOADING
        seconds = self._settings.load_deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                while model.in_flight or not model.load_is_over:
                    await model.changed()
                await self.spread.forget(model)
                answer = await model.shard.unload(model.key)
        except TimeoutError:
            raise FaultError(Fault.INTERNAL, f"{name} did not unload in {seconds} s") from None
        except FaultError as fault:
            # The worker is gone, and the model with it.
            log("unloaded with its worker", model=name, reason=fault.message)
        else:
            if answer.status != 200:
                return _response(answer)
        finally:
            self._register.remove(model)
        return Response(200, pretty({"status": f'Model "{name}" unregistered'}))

    async def _invoke(self, name: str, request: Request) -> Response:
        model = self._register.get(name)
        if model is None:
            raise _not_found(name)
        if not request.body:
            raise FaultError(Fault.BAD_REQUEST, "empty body: send at least one row")
        seconds = self._settings.invoke_deadline_seconds
        model.in_flight += 1
        try:
            async with asyncio.timeout(seconds):
                while model.state is State.LOADING and not model.load_is_over:
                    await model.changed()
                if model.state is not State.READY:
                    raise _not_found(name)
                return _response(await self._ask(model, request))
        except TimeoutError:
            if model.state is State.LOADING:
                raise FaultError(Fault.UNAVAILABLE, f"model {name} is loading") from None
            raise FaultError(Fault.INTERNAL, f"no answer in {seconds} s") from None
        finally:
            model.in_flight -= 1
            if model.state is State.UNLOADING:
                model.notify()

    async def _ask(self, model: Model, request: Request) -> Answer:
        """Ask a shard; a worker that lost the model in a crash loads it again first."""
        content_type = _short(request, b"content-type")
        accept = _short(request, b"accept")
        shard = self.spread.choose(model)
        begun = time.monotonic()
        answer = await shard.invoke(model.key, request.body, content_type, accept)
        self.spread.answered(model, time.monotonic() - begun)
        if answer.status == 404 and shard is not model.shard:
            self.spread.lost(model, shard)
            answer = await model.shard.invoke(model.key, request.body, content_type, accept)
        if answer.status == 404:
            loaded = await self._load_again(model)
            if loaded.status == 404:
                self._register.remove(model)
                await self.spread.forget(model)
            if loaded.status != 200:
                log("lost", model=model.name, status=loaded.status, answer=_text(loaded))
                return loaded
            answer = await model.shard.invoke(model.key, request.body, content_type, accept)
        return answer

    async def _load_again(self, model: Model) -> Answer:
        """Load a model that its worker has lost, once for all the requests that find it lost."""
        loading = self._loading_again.get(model.name)
        if loading is None:
            loading = asyncio.create_task(model.shard.load(model.key, model.directory))
            loading.add_done_callback(lambda _: self._loading_again.pop(model.name))
            self._loading_again[model.name] = loading
        return await asyncio.shield(loading)

    def _known(self, name: str) -> Model:
        model = self._register.get(name)
        if model is None or model.state is State.UNLOADING:
            raise _not_found(name)
        return model


def _short(request: Request, name: bytes) -> bytes | None:
    """A header that is passed on; MMS takes 8 KiB of headers in all."""
    value = request.headers.get(name)
    if value is not None and len(value) > MAX_PASSED_ON_BYTES:
        sentence = f"{name.decode()} is over {MAX_PASSED_ON_BYTES} bytes"
        raise FaultError(Fault.BAD_REQUEST, sentence)
    return value


def _decoded(name: bytes) -> str:
    return check_name(unquote(name.decode("latin-1"), encoding="utf-8"))


def _not_found(name: str) -> FaultError:
    return FaultError(Fault.MODEL_NOT_FOUND, f"Model not found: {name}")


def _method_not_allowed(calls: dict[bytes, Callable[[], Awaitable[Response]]]) -> Response:
    allowed = b", ".join(sorted(calls))
    sentence = f"Requested method is not allowed here; allowed: {allowed.decode()}."
    response = to_response(FaultError(Fault.METHOD_NOT_ALLOWED, sentence))
    response.headers = ((b"Allow", allowed),)
    return response


def _response(answer: Answer) -> Response:
    return Response(answer.status, answer.body, answer.content_type)


def _text(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")
