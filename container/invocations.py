"""An invocation's way to its answer, whatever dies on the way."""

import asyncio
import contextlib
import json
import time

from container.deadlines import Deadlines
from container.faults import Fault, FaultError, not_found
from container.log import log
from container.messages import TARGET, Request, Response
from container.metrics import Metrics
from container.models import Model, Register, State
from container.settings import Settings
from container.shards import Answer, LostError, Shard
from container.spread import Spread

_TRIES = 5  # of a request that gets lost with what it is in, again and again
_LONGEST_REST_SECONDS = 30.0
_KILLED = b"the model crashed (SIGKILL)"
_CRASHED = f'"{Fault.MODEL_CRASHED.type}"'.encode()
_MISSING = f'"{Fault.MODEL_NOT_FOUND.type}"'.encode()


class Invocations:
    """Asks the shards for clients.

    Args:
        settings: of the container.
        shards: of the models.
        register: of the models.
        metrics: where all is counted.
        deadlines: of all requests.
    """

    def __init__(
        self,
        settings: Settings,
        shards: list[Shard],
        register: Register,
        metrics: Metrics,
        deadlines: Deadlines,
    ) -> None:
        self.spread = Spread(shards)
        self._settings = settings
        self._register = register
        self._metrics = metrics
        self._count = 0  # in flight
        self._deadlines = deadlines
        self._loading_again: dict[str, asyncio.Task[Answer]] = {}

    async def invoke(self, name: str, request: Request) -> Response:
        """Answer one invocation of the model of that name.

        Raises:
            FaultError: there is no answer; the message says why.
        """
        model = self._register.get(name)
        if model is None:
            raise not_found(name)
        if not request.body:
            raise FaultError(Fault.BAD_REQUEST, "empty body: send at least one row")
        if not model.target and TARGET in request.headers:
            model.target = request.headers[TARGET].decode("latin-1")
        counts = self._metrics.of(model.target or name)
        model.in_flight += 1
        self._count += 1
        try:
            self._admit(model)
            response = to_response(await self._in_time(model, request))
        except FaultError as fault:
            counts.faults[fault.fault.type] += 1
            raise
        else:
            if response.status >= 400:
                counts.faults[type_of(response.body)] += 1
            return response
        finally:
            counts.observe(time.monotonic() - request.received_at)
            self._count -= 1
            model.in_flight -= 1
            if model.state is State.UNLOADING:
                model.notify()

    def _admit(self, model: Model) -> None:
        """Refuse what would wait behind too many others."""
        settings = self._settings
        if model.in_flight > settings.model_queue:
            sentence = f"queue full: {settings.model_queue} requests wait for {model.name}"
            raise FaultError(Fault.UNAVAILABLE, sentence)
        if self._count > settings.queue:
            raise FaultError(Fault.UNAVAILABLE, f"queue full: {settings.queue} requests wait")

    async def _in_time(self, model: Model, request: Request) -> Answer:
        seconds = self._settings.invoke_deadline_seconds
        until = request.received_at + seconds
        try:
            with self._deadlines.within(until - time.monotonic()):
                while model.state is State.LOADING and not model.load_is_over:
                    await model.changed()
                if model.state is not State.READY:
                    raise not_found(model.name)
                return await self._ask(model, request, until)
        except TimeoutError:
            if self._deadlines.cut:
                raise FaultError(Fault.UNAVAILABLE, "the container has stopped") from None
            if model.state is State.LOADING:
                raise FaultError(Fault.UNAVAILABLE, f"model {model.name} is loading") from None
            if not model.shard.serving.is_set():
                raise FaultError(Fault.UNAVAILABLE, "the model server is restarting") from None
            raise FaultError(Fault.INTERNAL, f"no answer in {seconds} s") from None

    async def _ask(self, model: Model, request: Request, until: float) -> Answer:
        """Ask a shard, again if MMS dies; a request that a worker died with is asked apart."""
        for _ in range(_TRIES):
            try:
                if model.crashes or model.trials:
                    return await self._ask_apart(model, request, until)
                return await self._ask_shard(model, request, until)
            except LostError as lost:
                if lost.inside:
                    log("lost", model=model.name, how=str(lost))
                    model.trials += 1
                    try:
                        return await self._ask_apart(model, request, until)
                    except LostError:
                        continue
                    finally:
                        model.trials -= 1
        raise FaultError(Fault.UNAVAILABLE, "the model server died again and again")

    async def _ask_shard(self, model: Model, request: Request, until: float) -> Answer:
        """Ask a shard; a worker that does not have the model loads it again first.

        It has not when it was started again, or when the process of the model's script has ended.
        """
        shard, loads = self.spread.choose(model), model.loads
        begun = time.monotonic()
        answer = await shard.invoke(model.key, request, until)
        self.spread.answered(model, time.monotonic() - begun)
        if _is_missing(answer) and shard is not model.shard:
            self.spread.lost(model, shard)
            answer = await model.shard.invoke(model.key, request, until)
        if _is_missing(answer) and (model.crashes or model.trials):
            return await self._ask_apart(model, request, until)
        for _ in range(_TRIES):
            if not _is_missing(answer):
                return answer
            if model.loads == loads:  # else somebody has had it loaded since we asked
                loaded = await self._load_again(model, until)
                if loaded.status == 404:
                    self._register.remove(model)
                    await self.spread.forget(model)
                if loaded.status != 200:
                    log("not loaded again", model=model.name, status=loaded.status)
                    return loaded
            loads = model.loads
            answer = await model.shard.invoke(model.key, request, until)
        if _is_missing(answer):
            sentence = f"{model.name} was loaded again and again, and did not stay"
            raise FaultError(Fault.UNAVAILABLE, sentence)
        return answer

    async def _ask_apart(self, model: Model, request: Request, until: float) -> Answer:
        """Ask in a process of its own. A model that crashes that one too is asked so from now on.

        After each crash it rests, longer each time, so that it cannot keep the machine busy.
        """
        async with model.apart:
            rest = model.rest_until - time.monotonic()
            if rest > 0:
                sentence = f"{model.name} has crashed {model.crashes} times; it rests {rest:.0f} s"
                raise FaultError(Fault.UNAVAILABLE, sentence, retry_after=rest)
            answer = await model.shard.attempt(model.key, model.directory, request, until)
            if _KILLED in answer.body:  # from outside, perhaps: no model does this to itself
                answer = await model.shard.attempt(model.key, model.directory, request, until)
            self._judge(model, answer)
            return answer

    def _judge(self, model: Model, answer: Answer) -> None:
        if answer.status == 500 and _CRASHED in answer.body:
            model.crashes += 1
            # The first time it may be the request; whoever asks next may do better.
            rest = min(2.0 ** (model.crashes - 2), _LONGEST_REST_SECONDS)
            rest = rest if model.crashes > 1 else 0.0
            model.rest_until = time.monotonic() + rest
            log("crashed", model=model.name, crashes=model.crashes, rests=rest)

    async def _load_again(self, model: Model, until: float) -> Answer:
        """Load a model that its worker has lost, once for all the requests that find it lost."""
        loading = self._loading_again.get(model.name)
        if loading is None:
            loading = asyncio.create_task(self._load_and_count(model, until))
            loading.add_done_callback(lambda _: self._loading_again.pop(model.name))
            self._loading_again[model.name] = loading
        return await asyncio.shield(loading)

    async def _load_and_count(self, model: Model, until: float) -> Answer:
        answer = await self.load_on(model, until)
        model.loads += answer.status == 200
        return answer

    async def load_on(self, model: Model, until: float) -> Answer:
        """Load a model on its shard; what got lost on the way is done again."""
        for _ in range(_TRIES):
            with contextlib.suppress(LostError):
                return await model.shard.load(model.key, model.directory, until)
        raise FaultError(Fault.INTERNAL, f"{model.name}: its process died again and again")


def _is_missing(answer: Answer) -> bool:
    """Whether a shard does not have the model. A model's script may say 404 of its own accord."""
    return answer.status == 404 and _MISSING in answer.body


def to_response(answer: Answer) -> Response:
    """A worker's answer, for the client."""
    return Response(answer.status, answer.body, answer.content_type)


def type_of(body: bytes) -> str:
    """The type that an error's body names."""
    try:
        return str(json.loads(body)["type"])
    except (ValueError, KeyError, TypeError):
        return Fault.INTERNAL.type
