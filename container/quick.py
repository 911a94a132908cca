"""The quick way of an invocation that needs nothing special: no task, no waiting, no exception.

A request that comes whole and plain, for a model that is ready, on a connection with nothing else
to answer, is looked up, sent on as soon as a lane is free, and answered when the lane answers. All
else goes the way of ``container.invocations``; and so does, from where it is, a request that meets
with trouble on this one.
"""

import functools
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from container import access, envelope, log
from container.faults import FaultError
from container.heads import read_request
from container.messages import TARGET, Request
from container.models import SINGLE, Model, State
from container.settings import Settings
from container.shards import SMALL_BYTES, Answer, Shard, answer_of, lost
from container.upstream import AT_ONCE_SECONDS, Reply, Upstream, client_gone

if TYPE_CHECKING:
    from container.api import Api
    from container.invocations import Invocations

_BEFORE, _AFTER = b"/models/", b"/invoke"
_GOOD = b"mme 200\n"  # the worker's own status
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\nX-Request-Id: %b\r\n\r\n%b"
_READY = State.READY

Outcome = Reply | ConnectionError | FaultError | None


class Client(Protocol):
    """The connection that a request came on.

    Attributes:
        gone: it has sent its end, and perhaps does not wait any more.
    """

    gone: bool

    def hold(self, count: int) -> bool:
        """Take so many bytes of a body, if all bodies leave as much."""

    def finish(self, count: int, answer: bytes) -> None:
        """Give them back, and send the answer."""

    def go_on(self, request: Request) -> None:
        """Answer it as other requests are."""


class Asked:
    """A request that the quick way has sent to a shard, and what came of that.

    Args:
        model: that was asked; the request is counted among those in flight.
        shard: that was asked.
        loads: of the model, when it was asked.
        outcome: a reply that is not plainly an answer, or why there is none; None if it was not
            asked after all.
    """

    def __init__(self, model: Model, shard: Shard, loads: int, outcome: Outcome) -> None:
        self.model, self.shard, self.loads, self._outcome = model, shard, loads, outcome

    async def answer(self) -> Answer | None:
        """What ``Shard.invoke`` would have returned, or raised; None if it is to be called."""
        if isinstance(self._outcome, FaultError):
            raise self._outcome
        if isinstance(self._outcome, ConnectionError):
            raise await lost(self._outcome)
        return answer_of(self._outcome) if self._outcome is not None else None


class Quick:
    """What all such requests share.

    Args:
        settings: of the container.
        api: counts all requests, and goes on with those that meet with trouble.
        invocations: the other way.
    """

    def __init__(self, settings: Settings, api: "Api", invocations: "Invocations") -> None:
        self.settings = settings
        self.api = api
        self.invocations = invocations
        self.most_bytes = min(SMALL_BYTES, settings.max_request_bytes)

    def __call__(self, client: Client) -> "Ride":
        """For a client's connection, which has one request at a time on this way."""
        return Ride(self, client)


class Ride:
    """One request after another of one connection."""

    __slots__ = (
        "_api",
        "_body",
        "_client",
        "_headers",
        "_invocations",
        "_loads",
        "_log",
        "_model",
        "_most_bytes",
        "_received_at",
        "_seconds",
        "_sent_at",
        "_shard",
        "_single",
        "_target",
        "_texts",
        "_upstream",
        "until",
    )

    _model: Model
    _shard: Shard
    _upstream: Upstream | None  # None while it waits for one
    _target: bytes
    _headers: dict[bytes, bytes]
    _body: bytes
    _texts: envelope.Texts
    _loads: int
    _received_at: float
    _sent_at: float
    until: float

    def __init__(self, quick: Quick, client: Client) -> None:
        self._client = client
        self._api, self._invocations = quick.api, quick.invocations
        self._single = not quick.settings.multi_model
        self._log = quick.settings.access_log
        self._most_bytes = quick.most_bytes
        self._seconds = quick.settings.invoke_deadline_seconds

    def begin(self, data: bytes) -> bool:
        """Send the request on that the data is; whether it is one, and nothing was in its way."""
        read = read_request(data)
        if read is None or self._api.draining:
            return False
        target, headers, body = read
        model = self._model_of(target)
        if model is None or model.state is not _READY or model.is_suspect:
            return False
        size = len(body)
        invocations = self._invocations
        if not 0 < size <= self._most_bytes or not invocations.has_room(model):
            return False
        if not model.target and TARGET in headers:
            return False
        shard = invocations.spread.choose(model)
        if not shard.serving.is_set():
            return False
        try:
            texts = envelope.passed_on(headers)
        except FaultError:
            return False
        pool = shard.pool
        upstream = pool.take_now()
        if upstream is None and not pool.is_full:
            return False  # a connection has to be opened
        if not self._client.hold(size):
            if upstream is not None:
                pool.give_back(upstream)
            return False
        self._received_at = now = time.monotonic()
        self.until = now + self._seconds
        self._model, self._shard = model, shard
        self._target, self._headers, self._body = target, headers, body
        self._texts = texts
        self._loads = model.loads
        self._api.in_flight += 1
        invocations.count += 1
        model.in_flight += 1
        shard.in_flight += 1
        self._api.deadlines.open.add(self)
        if upstream is not None:
            self._send(upstream, now)
        else:
            self._upstream, self._sent_at = None, 0.0
            pool.waiting.append(self)
        return True

    def _send(self, upstream: Upstream, now: float) -> None:
        self._upstream, self._sent_at = upstream, now
        name, head = self._model.name.encode(), self._shard.head
        message = envelope.seal(
            head, envelope.INVOKE, self.until, name, self._texts, b"", self._body
        )
        upstream.send(message, self)

    def take(self) -> bool:
        """A lane is free, for which the request has waited; whether it is taken."""
        now = time.monotonic()
        fault = None
        if now > self.until or self._api.deadlines.cut:
            fault = self._invocations.too_late(self._model)
        elif self._client.gone and now > self._received_at + AT_ONCE_SECONDS:
            fault, self._sent_at = client_gone(), now
        elif self._shard.serving.is_set() and (upstream := self._shard.pool.idle_one()) is not None:
            self._send(upstream, now)
            return True
        self._leave()
        self._hand_over(fault)
        return False

    def _model_of(self, target: bytes) -> Model | None:
        if self._single:
            return self._invocations.model(SINGLE) if target == b"/invocations" else None
        if target[:8] != _BEFORE or target[-7:] != _AFTER:
            return None
        name = target[8:-7].decode()
        return self._invocations.model(unquote(name) if "%" in name else name)

    def answered(self, reply: Reply) -> None:
        """The shard has answered: so is the client."""
        now = time.monotonic()
        self._leave()
        whole = reply.body
        if whole[:8] != _GOOD or reply.status != 200:
            self._hand_over(reply, now)
            return
        body, model = whole[8:], self._model
        received_at = self._received_at
        self._invocations.answered(model, now - received_at)
        self._api.leave()
        identity = access.new_id()
        answer = _ANSWER % (reply.content_type, len(body), identity, body)
        sizes = len(self._body), len(body)
        self._body = b""  # it may be long until the next
        self._client.finish(sizes[0], answer)
        if self._log:
            times = received_at, self._sent_at, now
            target = self._headers.get(TARGET, b"")
            log.say(
                functools.partial(access.plain_line, identity, self._target, target, sizes, times)
            )

    def lost(self, error: ConnectionError) -> None:
        """The connection to MMS has ended."""
        self._leave()
        self._hand_over(error)

    def end(self) -> None:
        """Its time is over."""
        if self._upstream is None:
            self._shard.pool.waiting.remove(self)
        else:
            self._upstream.forsake()
        self._leave()
        self._hand_over(self._invocations.too_late(self._model))

    def _leave(self) -> None:
        shard, upstream = self._shard, self._upstream
        shard.in_flight -= 1
        self._api.deadlines.open.discard(self)
        if upstream is not None:
            shard.pool.give_back(upstream)

    def _hand_over(self, outcome: Outcome, answered_at: float = 0.0) -> None:
        """Go on as other requests do, which are counted already."""
        asked = Asked(self._model, self._shard, self._loads, outcome)
        request = Request(
            method=b"POST",
            target=self._target,
            headers=self._headers,
            body=self._body,
            received_at=self._received_at,
            sent_at=self._sent_at,
            answered_at=answered_at,
            app=functools.partial(self._api.go_on, asked),
        )
        self._body = b""
        self._client.go_on(request)
