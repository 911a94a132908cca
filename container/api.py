"""The multi-model container API, call by call: what the platform asks of the gate."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, unquote

from container import access, transform
from container.deadlines import Deadlines
from container.faults import Fault, FaultError, not_found, pretty
from container.invocations import Invocations, type_of
from container.invocations import to_response as answered
from container.journal import Journal
from container.log import log
from container.messages import TARGET, Request, Response, to_response
from container.metrics import CONTENT_TYPE, Metrics
from container.models import SINGLE, Model, Register, State
from container.paths import check_name, read_load_request
from container.quick import Asked, Quick
from container.settings import Settings
from container.shards import LostError, Shard

_LOADED = pretty({"status": "Workers scaled"})  # as Multi Model Server says it

Calls = dict[bytes, Callable[[], Awaitable[Response]]]


class Api:
    """Answers every call, from the register and through the shards.

    Args:
        settings: of the container.
        shards: of the models.
        journal: where the register is kept; None where nobody needs to know later.
    """

    def __init__(
        self, settings: Settings, shards: list[Shard], journal: Journal | None = None
    ) -> None:
        self.healthy = False
        self.draining = False
        self.in_flight = 0
        self._idle = asyncio.Event()
        self.deadlines = Deadlines()
        self._settings = settings
        self._shards = shards
        self._register = Register(journal)
        self._tasks: set[asyncio.Task[object]] = set()
        self.metrics = Metrics(
            settings.metric_models,
            {
                "mme_models": ("Models in the register", lambda: len(self._register)),
                "mme_in_flight": ("Requests being answered", lambda: self.in_flight),
            },
        )
        self._invocations = Invocations(
            settings, shards, self._register, self.metrics, self.deadlines
        )
        self.spread = self._invocations.spread
        self.quick = Quick(settings, self, self._invocations)

    def has(self, name: str) -> bool:
        """Whether a model is in the register."""
        return self._register.get(name) is not None

    async def restore(self) -> None:
        """Take over the models of an earlier gate; what it had only begun with is undone."""
        for model in self._register.restore(self._shards):
            self._in_background(model.shard.unload(model.name))

    def _in_background(self, work: Awaitable[object]) -> None:
        async def run() -> None:
            with contextlib.suppress(LostError, FaultError):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every fault is an answer, nothing is raised."""
        self.in_flight += 1
        return await self._to_its_end(request, self._route)

    async def go_on(self, asked: Asked, request: Request) -> Response:
        """Answer one that the quick way has begun with, and counted."""
        return await self._to_its_end(request, functools.partial(self._invocations.go_on, asked))

    async def _to_its_end(
        self, request: Request, work: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        try:
            response = await work(request)
        except FaultError as fault:
            response = to_response(fault)
        except Exception as error:  # the boundary: a client must get an answer
            log("internal error", error=repr(error))
            response = to_response(FaultError(Fault.INTERNAL, "the gate failed; its log says why"))
        finally:
            self.leave()
        identity = access.new_id()
        response.headers += ((b"X-Request-Id", identity),)
        if self._settings.access_log:
            access.note(identity, request, response)
        return response

    def leave(self) -> None:
        """One request less is in flight."""
        self.in_flight -= 1
        if self.draining and not self.in_flight:
            self._idle.set()

    async def drain(self, seconds: float) -> int:
        """Refuse what is new, wait for what is in flight, and return how much of it is left.

        What is left when the time is over, or the deadlines are cut short, is answered with 503.
        """
        self.draining = True
        if self.in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)
        left = self.in_flight
        if left:
            self.deadlines.cut_short()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), 0.5)
        return left

    async def _route(self, request: Request) -> Response:
        if request.fault is not None:
            raise request.fault
        path, _, query = request.target.partition(b"?")
        parts = path.split(b"/")[1:]
        if self.draining and parts != [b"ping"]:
            request.keep_alive = False
            raise FaultError(Fault.UNAVAILABLE, "the container is stopping")
        calls = self._calls(parts, query, request)
        if not calls:
            raise FaultError(
                Fault.RESOURCE_NOT_FOUND,
                "Requested resource is not found, please refer to API document.",
            )
        call = calls.get(request.method)
        if call is None:
            return _method_not_allowed(calls)
        return await call()

    def _calls(self, parts: list[bytes], query: bytes, request: Request) -> Calls:
        match parts:
            case [b"models", name, b"invoke"] if self._settings.multi_model:
                return {b"POST": lambda: self._invocations.invoke(_decoded(name), request)}
            case [b"invocations"] if not self._settings.multi_model:
                return {b"POST": lambda: self._invoke_the_one(request)}
            case [b"execution-parameters"] if not self._settings.multi_model:
                return {b"GET": self._parameters}
            case [b"ping"]:
                return {b"GET": self._ping}
            case [b"metrics"]:
                return {b"GET": self._metrics}
            case [b"models"] if self._settings.multi_model:
                return {
                    b"GET": lambda: self._list(query),
                    b"POST": lambda: self._load(request),
                }
            case [b"models", name] if self._settings.multi_model:
                return {
                    b"GET": lambda: self._describe(_decoded(name)),
                    b"DELETE": lambda: self._unload(_decoded(name)),
                }
        return {}

    async def _ping(self) -> Response:
        if self.draining or not self.healthy:
            state = "stopping" if self.draining else "starting"
            raise FaultError(Fault.UNAVAILABLE, f"the container is {state}")
        if not self._settings.multi_model and not self.has(SINGLE):
            raise _no_model()  # nobody loads it again, so that the platform has to replace us
        return Response(200, pretty({"status": "Healthy"}))

    async def _invoke_the_one(self, request: Request) -> Response:
        if not self.has(SINGLE):
            raise (
                _no_model()
                if self.healthy
                else FaultError(Fault.UNAVAILABLE, "the container is starting")
            )
        return await self._invocations.invoke(SINGLE, request)

    async def _parameters(self) -> Response:
        return Response(200, pretty(transform.parameters(self._settings)))

    async def _metrics(self) -> Response:
        return Response(200, self.metrics.text(), CONTENT_TYPE)

    async def _list(self, query: bytes) -> Response:
        asked = parse_qs(query.decode("latin-1"))
        limit, token = asked.get("limit", [""])[0], asked.get("next_page_token", [""])[0]
        return Response(200, pretty(self._register.page(limit, token)))

    async def _describe(self, name: str) -> Response:
        model = self._known(name)
        return Response(200, pretty({"modelName": model.name, "modelUrl": model.url}))

    async def _load(self, request: Request) -> Response:
        asked = read_load_request(request.body, self._settings.model_root)
        target = request.headers.get(TARGET, b"").decode("latin-1")
        return await self.load(asked.name, asked.url, asked.directory, target)

    async def load(self, name: str, url: str, directory: str, target: str = "") -> Response:
        """Load a model on the shard that has the fewest; one that fails leaves nothing behind."""
        seconds = self._settings.load_deadline_seconds
        until = time.monotonic() + seconds
        try:
            with self.deadlines.within(seconds):
                while (old := self._register.get(name)) and old.state is State.UNLOADING:
                    await old.changed()  # the platform may load again before an unload is over
                if old is not None:
                    raise FaultError(Fault.CONFLICT, f"Model {name} is already registered.")
                return await self._load_new(name, url, directory, target, until)
        except TimeoutError:
            if self.deadlines.cut:
                raise _stopped() from None
            if not any(shard.serving.is_set() for shard in self._shards):
                raise FaultError(Fault.UNAVAILABLE, "the container is starting") from None
            raise FaultError(Fault.INTERNAL, f"{name} did not load in {seconds} s") from None

    async def _load_new(
        self, name: str, url: str, directory: str, target: str, until: float
    ) -> Response:
        model = Model(name, url, directory, min(self._shards, key=lambda shard: shard.models))
        model.target = target
        self._register.add(model)
        try:
            answer = await self._invocations.load_on(model, until)
        except BaseException:
            self._register.remove(model)
            self._in_background(model.shard.unload(model.name))  # it may have come to its end
            raise
        finally:
            model.load_is_over = True
            model.notify()
        if model.state is State.UNLOADING:
            raise FaultError(Fault.CONFLICT, f"Model {name} was unloaded while loading.")
        if answer.status != 200:
            self._register.remove(model)
            self.metrics.of(model.target or name).faults[type_of(answer.body)] += 1
            return answered(answer)
        self._register.set_state(model, State.READY)
        self.metrics.of(model.target or name).loads += 1
        return Response(200, _LOADED)

    async def _unload(self, name: str) -> Response:
        model = self._known(name)
        self._register.set_state(model, State.UNLOADING)
        seconds = self._settings.load_deadline_seconds
        try:
            with self.deadlines.within(seconds):
                while model.in_flight or not model.load_is_over:
                    await model.changed()
                await self._invocations.spread.forget(model)
                answer = await model.shard.unload(model.name)
        except TimeoutError:
            if self.deadlines.cut:
                raise _stopped() from None
            raise FaultError(Fault.INTERNAL, f"{name} did not unload in {seconds} s") from None
        except LostError as lost:
            # The worker is gone, and the model with it.
            log("unloaded with its worker", model=name, reason=str(lost))
        else:
            if answer.status != 200:
                return answered(answer)
        finally:
            self._register.remove(model)
            self.metrics.forget(model.target or name)
        return Response(200, pretty({"status": f'Model "{name}" unregistered'}))

    def _known(self, name: str) -> Model:
        model = self._register.get(name)
        if model is None or model.state is State.UNLOADING:
            raise not_found(name)
        return model


def _no_model() -> FaultError:
    return FaultError(Fault.UNAVAILABLE, "the model is gone: its directory is not there any more")


def _stopped() -> FaultError:
    return FaultError(Fault.UNAVAILABLE, "the container has stopped before the end of it")


def _decoded(name: bytes) -> str:
    return check_name(unquote(name.decode("latin-1"), encoding="utf-8"))


def _method_not_allowed(calls: Calls) -> Response:
    allowed = b", ".join(sorted(calls))
    sentence = f"Requested method is not allowed here; allowed: {allowed.decode()}."
    response = to_response(FaultError(Fault.METHOD_NOT_ALLOWED, sentence))
    response.headers = ((b"Allow", allowed),)
    return response
