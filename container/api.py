"""The multi-model container API, call by call: what the platform asks of the gate."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs, unquote

from container import access
from container.faults import Fault, FaultError, pretty
from container.journal import Journal
from container.log import log
from container.messages import Request, Response, to_response
from container.metrics import CONTENT_TYPE, Metrics
from container.models import Model, Register, State
from container.paths import check_name, read_load_request
from container.settings import Settings
from container.shards import Answer, LostError, Shard
from container.spread import Spread

SINGLE = "model"  # the name of the one model of an endpoint that is not multi-model
_TARGET = b"x-amzn-sagemaker-target-model"
_TRIES = 5  # of a request that gets lost with what it is in, again and again
_LONGEST_REST_SECONDS = 30.0
_KILLED = b"the model crashed (SIGKILL)"
_CRASHED = f'"{Fault.MODEL_CRASHED.type}"'.encode()

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
        self._in_flight = 0
        self._invocations = 0  # of those
        self._idle = asyncio.Event()
        self._cut = asyncio.Event()  # the drain is over for who is still in flight
        self._deadlines: set[asyncio.Timeout] = set()  # of invocations in flight
        self._settings = settings
        self._shards = shards
        self._register = Register(journal)
        self.spread = Spread(shards)
        self._loading_again: dict[str, asyncio.Task[Answer]] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self.metrics = Metrics(
            settings.metric_models,
            {
                "mme_models": ("Models in the register", lambda: len(self._register)),
                "mme_in_flight": ("Requests being answered", lambda: self._in_flight),
            },
        )

    def has(self, name: str) -> bool:
        """Whether a model is in the register."""
        return self._register.get(name) is not None

    async def restore(self, journal: Journal) -> None:
        """Take over the models of an earlier gate; what it had only begun with is undone."""
        for entry in journal.entries():
            shard = self._shards[entry.shard % len(self._shards)]
            model = Model(entry.name, entry.url, Path(entry.directory), shard)
            if entry.ready:
                model.load_is_over = True
                model.state = State.READY
                self._register.add(model)
            else:
                journal.forget(entry.name)
                self._in_background(shard.unload(model.key))

    def _in_background(self, work: Awaitable[object]) -> None:
        async def run() -> None:
            with contextlib.suppress(LostError, FaultError):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def __call__(self, request: Request) -> Response:
        """Answer one request; every fault is an answer, nothing is raised."""
        self._in_flight += 1
        try:
            response = await self._answer(request)
        except FaultError as fault:
            response = to_response(fault)
        except Exception as error:  # the boundary: a client must get an answer
            log("internal error", error=repr(error))
            response = to_response(FaultError(Fault.INTERNAL, "the gate failed; its log says why"))
        finally:
            self._in_flight -= 1
            if self.draining and not self._in_flight:
                self._idle.set()
        identity = access.new_id()
        response.headers += ((b"X-Request-Id", identity),)
        if self._settings.access_log:
            access.note(identity, request, response)
        return response

    async def _answer(self, request: Request) -> Response:
        if request.fault is not None:
            raise request.fault
        return await self._route(request)

    async def drain(self, seconds: float) -> int:
        """Refuse what is new, wait for what is in flight, and return how much of it is left.

        What is left when the time is over, or ``cut_short`` is called, is answered with 503.
        """
        self.draining = True
        if self._in_flight:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)
        left = self._in_flight
        if left:
            self.cut_short()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), 0.5)
        return left

    def cut_short(self) -> None:
        """Answer what is in flight with 503, now."""
        self._cut.set()
        for deadline in self._deadlines:
            deadline.reschedule(0)

    async def _route(self, request: Request) -> Response:
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
                return {b"POST": lambda: self._invoke(_decoded(name), request)}
            case [b"invocations"] if not self._settings.multi_model:
                return {b"POST": lambda: self._invoke(SINGLE, request)}
            case [b"ping"]:
                return {b"GET": self._ping}
            case [b"metrics"]:
                return {b"GET": self._metrics}
            case [b"models"] if self._settings.multi_model:
                return {
                    b"GET": lambda: self._list(query),
                    b"POST": lambda: self._finished(self._load(request)),
                }
            case [b"models", name] if self._settings.multi_model:
                return {
                    b"GET": lambda: self._describe(_decoded(name)),
                    b"DELETE": lambda: self._finished(self._unload(_decoded(name))),
                }
        return {}

    async def _finished(self, work: Awaitable[Response]) -> Response:
        """Bring a load or unload to its end, though the client may have gone."""
        task = asyncio.ensure_future(work)
        cut = asyncio.ensure_future(self._cut.wait())
        await asyncio.wait((task, cut), return_when=asyncio.FIRST_COMPLETED)
        cut.cancel()
        if not task.done():
            task.cancel()
            raise FaultError(Fault.UNAVAILABLE, "the container has stopped before the end of it")
        return task.result()

    async def _ping(self) -> Response:
        if self.draining or not self.healthy:
            state = "stopping" if self.draining else "starting"
            raise FaultError(Fault.UNAVAILABLE, f"the container is {state}")
        return Response(200, pretty({"status": "Healthy"}))

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
        target = request.headers.get(_TARGET, b"").decode("latin-1")
        return await self.load(asked.name, asked.url, asked.directory, target)

    async def load(self, name: str, url: str, directory: Path, target: str = "") -> Response:
        """Load a model on the shard that has the fewest; one that fails leaves nothing behind."""
        seconds = self._settings.load_deadline_seconds
        until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                while (old := self._register.get(name)) and old.state is State.UNLOADING:
                    await old.changed()  # the platform may load again before an unload is over
                if old is not None:
                    raise FaultError(Fault.CONFLICT, f"Model {name} is already registered.")
                return await self._load_new(name, url, directory, target, until)
        except TimeoutError:
            if not any(shard.serving.is_set() for shard in self._shards):
                raise FaultError(Fault.UNAVAILABLE, "the container is starting") from None
            raise FaultError(Fault.INTERNAL, f"{name} did not load in {seconds} s") from None

    async def _load_new(
        self, name: str, url: str, directory: Path, target: str, until: float
    ) -> Response:
        model = Model(name, url, directory, min(self._shards, key=lambda shard: shard.models))
        model.target = target
        self._register.add(model)
        try:
            answer = await self._load_on(model, until)
        except BaseException:
            self._register.remove(model)
            self._in_background(model.shard.unload(model.key))  # it may have come to its end
            raise
        finally:
            model.load_is_over = True
            model.notify()
        if model.state is State.UNLOADING:
            raise FaultError(Fault.CONFLICT, f"Model {name} was unloaded while loading.")
        if answer.status != 200:
            self._register.remove(model)
            self.metrics.of(model.target or name).faults[_type_of(answer.body)] += 1
            return _response(answer)
        self._register.set_state(model, State.READY)
        self.metrics.of(model.target or name).loads += 1
        return Response(200, pretty({"status": "Workers scaled"}))

    async def _load_on(self, model: Model, until: float) -> Answer:
        """Load a model on its shard; what got lost on the way is done again."""
        for _ in range(_TRIES):
            with contextlib.suppress(LostError):
                return await model.shard.load(model.key, model.directory, until)
        raise FaultError(Fault.INTERNAL, f"{model.name}: its process died again and again")

    async def _unload(self, name: str) -> Response:
        model = self._known(name)
        self._register.set_state(model, State.UNLOADING)
        seconds = self._settings.load_deadline_seconds
        try:
            async with asyncio.timeout(seconds):
                while model.in_flight or not model.load_is_over:
                    await model.changed()
                await self.spread.forget(model)
                answer = await model.shard.unload(model.key)
        except TimeoutError:
            raise FaultError(Fault.INTERNAL, f"{name} did not unload in {seconds} s") from None
        except LostError as lost:
            # The worker is gone, and the model with it.
            log("unloaded with its worker", model=name, reason=str(lost))
        else:
            if answer.status != 200:
                return _response(answer)
        finally:
            self._register.remove(model)
            self.metrics.forget(model.target or name)
        return Response(200, pretty({"status": f'Model "{name}" unregistered'}))

    async def _invoke(self, name: str, request: Request) -> Response:
        model = self._register.get(name)
        if model is None:
            raise _not_found(name)
        if not request.body:
            raise FaultError(Fault.BAD_REQUEST, "empty body: send at least one row")
        if not model.target and _TARGET in request.headers:
            model.target = request.headers[_TARGET].decode("latin-1")
        counts = self.metrics.of(model.target or name)
        model.in_flight += 1
        self._invocations += 1
        try:
            self._admit(model)
            response = _response(await self._in_time(model, request))
        except FaultError as fault:
            counts.faults[fault.fault.type] += 1
            raise
        else:
            if response.status >= 400:
                counts.faults[_type_of(response.body)] += 1
            return response
        finally:
            counts.observe(time.monotonic() - request.received_at)
            self._invocations -= 1
            model.in_flight -= 1
            if model.state is State.UNLOADING:
                model.notify()

    def _admit(self, model: Model) -> None:
        """Refuse what would wait behind too many others."""
        settings = self._settings
        if model.in_flight > settings.model_queue:
            sentence = f"queue full: {settings.model_queue} requests wait for {model.name}"
            raise FaultError(Fault.UNAVAILABLE, sentence)
        if self._invocations > settings.queue:
            raise FaultError(Fault.UNAVAILABLE, f"queue full: {settings.queue} requests wait")

    async def _in_time(self, model: Model, request: Request) -> Answer:
        seconds = self._settings.invoke_deadline_seconds
        until = request.received_at + seconds
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                self._deadlines.add(deadline)
                while model.state is State.LOADING and not model.load_is_over:
                    await model.changed()
                if model.state is not State.READY:
                    raise _not_found(model.name)
                return await self._ask(model, request, until)
        except TimeoutError:
            if self._cut.is_set():
                raise FaultError(Fault.UNAVAILABLE, "the container has stopped") from None
            if model.state is State.LOADING:
                raise FaultError(Fault.UNAVAILABLE, f"model {model.name} is loading") from None
            if not model.shard.serving.is_set():
                raise FaultError(Fault.UNAVAILABLE, "the model server is restarting") from None
            raise FaultError(Fault.INTERNAL, f"no answer in {seconds} s") from None
        finally:
            self._deadlines.discard(deadline)

    async def _ask(self, model: Model, request: Request, until: float) -> Answer:
        """Ask a shard, again if MMS dies; a request that a worker died with is asked apart."""
        for _ in range(_TRIES):
            try:
                if model.crashes:
                    return await self._ask_apart(model, request, until)
                return await self._ask_shard(model, request, until)
            except LostError as lost:
                log("lost", model=model.name, how=str(lost))
                if lost.inside:
                    with contextlib.suppress(LostError):
                        return await self._ask_apart(model, request, until)
        raise FaultError(Fault.UNAVAILABLE, "the model server died again and again")

    async def _ask_shard(self, model: Model, request: Request, until: float) -> Answer:
        """Ask a shard; a worker that does not have the model loads it again first."""
        shard = self.spread.choose(model)
        begun = time.monotonic()
        answer = await shard.invoke(model.key, request, until)
        self.spread.answered(model, time.monotonic() - begun)
        if answer.status == 404 and shard is not model.shard:
            self.spread.lost(model, shard)
            answer = await model.shard.invoke(model.key, request, until)
        if answer.status == 404:
            loaded = await self._load_again(model, until)
            if loaded.status == 404:
                self._register.remove(model)
                await self.spread.forget(model)
            if loaded.status != 200:
                log("not loaded again", model=model.name, status=loaded.status)
                return loaded
            answer = await model.shard.invoke(model.key, request, until)
        return answer

    async def _ask_apart(self, model: Model, request: Request, until: float) -> Answer:
        """Ask in a process of its own. A model that crashes that one too is asked so from now on.

        After each crash it rests, longer each time, so that it cannot keep the machine busy.
        """
        rest = model.rest_until - time.monotonic()
        if rest > 0:
            sentence = f"{model.name} has crashed {model.crashes} times; it rests {rest:.0f} s"
            raise FaultError(Fault.UNAVAILABLE, sentence, retry_after=rest)
        answer = await model.shard.attempt(model.key, model.directory, request, until)
        if _KILLED in answer.body:  # from outside, perhaps: no model does this to itself
            answer = await model.shard.attempt(model.key, model.directory, request, until)
        if answer.status == 500 and _CRASHED in answer.body:
            model.crashes += 1
            rest = min(2.0 ** (model.crashes - 1), _LONGEST_REST_SECONDS)
            model.rest_until = time.monotonic() + rest
            log("crashed", model=model.name, crashes=model.crashes, rests=rest)
        return answer

    async def _load_again(self, model: Model, until: float) -> Answer:
        """Load a model that its worker has lost, once for all the requests that find it lost."""
        loading = self._loading_again.get(model.name)
        if loading is None:
            loading = asyncio.create_task(self._load_on(model, until))
            loading.add_done_callback(lambda _: self._loading_again.pop(model.name))
            self._loading_again[model.name] = loading
        return await asyncio.shield(loading)

    def _known(self, name: str) -> Model:
        model = self._register.get(name)
        if model is None or model.state is State.UNLOADING:
            raise _not_found(name)
        return model


def _decoded(name: bytes) -> str:
    return check_name(unquote(name.decode("latin-1"), encoding="utf-8"))


def _not_found(name: str) -> FaultError:
    return FaultError(Fault.MODEL_NOT_FOUND, f"Model not found: {name}")


def _method_not_allowed(calls: Calls) -> Response:
    allowed = b", ".join(sorted(calls))
    sentence = f"Requested method is not allowed here; allowed: {allowed.decode()}."
    response = to_response(FaultError(Fault.METHOD_NOT_ALLOWED, sentence))
    response.headers = ((b"Allow", allowed),)
    return response


def _response(answer: Answer) -> Response:
    return Response(answer.status, answer.body, answer.content_type)


def _type_of(body: bytes) -> str:
    """The type that an error's body names."""
    try:
        return str(json.loads(body)["type"])
    except (ValueError, KeyError, TypeError):
        return Fault.INTERNAL.type
