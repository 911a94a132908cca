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
from container.models import Model, Register, State, Trouble
from container.quick import Asked
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
        self.model = register.get
        self._register = register
        self._metrics = metrics
        self.count = 0  # in flight
        self._deadlines = deadlines
        self._loading_again: dict[str, asyncio.Task[Answer]] = {}

    async def invoke(self, name: str, request: Request) -> Response:
        """Answer one invocation of the model of that name.

        Raises:
            FaultError: there is no answer; the message says why.
        """
        model = self.model(name)
        if model is None:
            raise not_found(name)
        if not request.body:
            raise FaultError(Fault.BAD_REQUEST, "empty body: send at least one row")
        if not model.target and TARGET in request.headers:
            model.target = request.headers[TARGET].decode("latin-1")
        model.in_flight += 1
        self.count += 1
        return await self._to_its_end(model, request, None)

    async def go_on(self, asked: Asked, request: Request) -> Response:
        """Answer one that the quick way has asked a shard with, and counted.

        Raises:
            FaultError: as above.
        """
        return await self._to_its_end(asked.model, request, asked)

    async def _to_its_end(self, model: Model, request: Request, asked: Asked | None) -> Response:
        counts = self._metrics.of(model.target or model.name)
        try:
            if asked is None:
                self._admit(model)
            response = to_response(await self._in_time(model, request, asked))
        except FaultError as fault:
            counts.faults[fault.fault.type] += 1
            raise
        else:
            if response.status >= 400:
                counts.faults[type_of(response.body)] += 1
            return response
        finally:
            counts.observe(time.monotonic() - request.received_at)
            self._leave(model)

    def answered(self, model: Model, seconds: float) -> None:
        """The quick way has answered one, for which a shard took so long."""
        self.spread.answered(model, seconds)
        self._metrics.of(model.target or model.name).observe(seconds)
        self._leave(model)

    def _leave(self, model: Model) -> None:
        self.count -= 1
        model.in_flight -= 1
        if model.state is State.UNLOADING:
            model.notify()

    def has_room(self, model: Model) -> bool:
        """Whether one more may be in flight."""
        settings = self._settings
        return model.in_flight < settings.model_queue and self.count < settings.queue

    def _admit(self, model: Model) -> None:
        """Refuse what would wait behind too many others."""
        settings = self._settings
        if model.in_flight > settings.model_queue:
            sentence = f"queue full: {settings.model_queue} requests wait for {model.name}"
            raise FaultError(Fault.UNAVAILABLE, sentence)
        if self.count > settings.queue:
            raise FaultError(Fault.UNAVAILABLE, f"queue full: {settings.queue} requests wait")

    async def _in_time(self, model: Model, request: Request, asked: Asked | None) -> Answer:
        until = request.received_at + self._settings.invoke_deadline_seconds
        try:
            with self._deadlines.within(until - time.monotonic()):
                while model.state is State.LOADING and not model.load_is_over:
                    await model.changed()
                if model.state is not State.READY and asked is None:
                    raise not_found(model.name)
                return await self._ask(model, request, until, asked)
        except TimeoutError:
            raise self.too_late(model) from None

    def too_late(self, model: Model) -> FaultError:
        """Why there was no answer within the time."""
        if self._deadlines.cut:
            return FaultError(Fault.UNAVAILABLE, "the container has stopped")
        if model.state is State.LOADING:
            return FaultError(Fault.UNAVAILABLE, f"model {model.name} is loading")
        if not model.shard.serving.is_set():
            return FaultError(Fault.UNAVAILABLE, "the model server is restarting")
        seconds = self._settings.invoke_deadline_seconds
        return FaultError(Fault.INTERNAL, f"no answer in {seconds} s")

    async def _ask(
        self, model: Model, request: Request, until: float, asked: Asked | None
    ) -> Answer:
        """Ask a shard, again if MMS dies; a request that a worker died with is asked apart."""
        for _ in range(_TRIES):
            first, asked = asked, None
            try:
                if model.is_suspect and first is None:
                    return await self._ask_apart(model, request, until)
                return await self._ask_shard(model, request, until, first)
            except LostError as lost:
                if lost.inside:
                    log("lost", model=model.name, how=str(lost))
                    trouble = _trouble(model)
                    trouble.trials += 1
                    try:
                        return await self._ask_apart(model, request, until)
                    except LostError:
                        continue
                    finally:
                        trouble.trials -= 1
        raise FaultError(Fault.UNAVAILABLE, "the model server died again and again")

    async def _ask_shard(
        self, model: Model, request: Request, until: float, asked: Asked | None
    ) -> Answer:
        """Ask a shard; a worker that does not have the model loads it again first.

        It has not when it was started again, or when the process of the model's script has ended.
        """
        begun, answer = request.received_at, None
        if asked is not None:
            shard, loads, answer = asked.shard, asked.loads, await asked.answer()
        if answer is None:
            shard, loads, begun = self.spread.choose(model), model.loads, time.monotonic()
            answer = await shard.invoke(model.name, request, until)
        self.spread.answered(model, time.monotonic() - begun)
        if _is_missing(answer) and shard is not model.shard:
            self.spread.lost(model, shard)
            answer = await model.shard.invoke(model.name, request, until)
        if _is_missing(answer) and model.is_suspect:
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
            answer = await model.shard.invoke(model.name, request, until)
        if _is_missing(answer):
            sentence = f"{model.name} was loaded again and again, and did not stay"
            raise FaultError(Fault.UNAVAILABLE, sentence)
        return answer

    async def _ask_apart(self, model: Model, request: Request, until: float) -> Answer:
        """Ask in a process of its own. A model that crashes that one too is asked so from now on.

        After each crash it rests, longer each time, so that it cannot keep the machine busy.
        """
        trouble = _trouble(model)
        async with trouble.apart:
            rest = trouble.rest_until - time.monotonic()
            if rest > 0:
                crashed = f"{model.name} has crashed {trouble.crashes} times"
                sentence = f"{crashed}; it rests {rest:.0f} s"
                raise FaultError(Fault.UNAVAILABLE, sentence, retry_after=rest)
            answer = await model.shard.attempt(model.name, model.directory, request, until)
            if _KILLED in answer.body:  # from outside, perhaps: no model does this to itself
                answer = await model.shard.attempt(model.name, model.directory, request, until)
            if answer.status == 500 and _CRASHED in answer.body:
                self._note_crash(model.name, trouble)
            return answer

    def _note_crash(self, name: str, trouble: Trouble) -> None:
        trouble.crashes += 1
        # The first time it may be the request; whoever asks next may do better.
        rest = min(2.0 ** (trouble.crashes - 2), _LONGEST_REST_SECONDS)
        rest = rest if trouble.crashes > 1 else 0.0
        trouble.rest_until = time.monotonic() + rest
        log("crashed", model=name, crashes=trouble.crashes, rests=rest)

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
                return await model.shard.load(model.name, model.directory, until)
        raise FaultError(Fault.INTERNAL, f"{model.name}: its process died again and again")


def _trouble(model: Model) -> Trouble:
    """What is known of a model that a worker has died with."""
    if model.trouble is None:
        model.trouble = Trouble()
    return model.trouble


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
