"""InvokeEndpoint: who may ask what, which instance answers, and what the client gets."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from mme.local.control import support
from mme.local.control.validation import SAGEMAKER_RUNTIME, check, message, operation_model
from mme.local.runtime import eventstream, faults
from mme.local.runtime.cache import Served
from mme.local.runtime.endpoints import Endpoint, Endpoints
from mme.local.runtime.faults import InvokeError
from mme.local.runtime.history import Events
from mme.local.runtime.instance import Instance
from mme.local.runtime.pool import Pool
from mme.local.runtime.routing import choose_variant
from mme.local.runtime.wire import LostError, Part
from mme.local.settings import Settings

logger = logging.getLogger(__name__)
_PREFIX = b"x-amzn-sagemaker-"
_TARGET, _VARIANT = _PREFIX + b"target-model", _PREFIX + b"target-variant"
_ATTRIBUTES = _PREFIX + b"custom-attributes"
_INVOKED = b"x-amzn-Invoked-Production-Variant"
_STREAM_ACCEPT = _PREFIX + b"accept"
_EVENTS = b"application/vnd.amazon.eventstream"
# Headers of the request that reach the container, as it is to read them.
_PASSED = {
    b"content-type": b"Content-Type",
    b"accept": b"Accept",
    _ATTRIBUTES: b"X-Amzn-SageMaker-Custom-Attributes",
    _TARGET: b"X-Amzn-SageMaker-Target-Model",
    _PREFIX + b"inference-id": b"X-Amzn-SageMaker-Inference-Id",
}
_LONGEST_VALUE = 1024
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_TRIES = 3  # of a request whose instance goes away with it
_OK = range(200, 300)
_INVOKE = "InvokeEndpoint"


def _headers() -> dict[str, bytes]:
    """The fields of an invocation that are headers, with their names in lower case."""
    shape = operation_model(SAGEMAKER_RUNTIME, _INVOKE).input_shape
    return {
        field: member.serialization["name"].lower().encode()
        for field, member in (shape.members.items() if shape is not None else ())
        if member.serialization.get("location") == "header"
    }


_HEADERS = _headers()


class Request(NamedTuple):
    """One invocation.

    Attributes:
        endpoint: its name.
        headers: lower-case names.
        body: whole.
        identity: the request's id.
        received_at: by the monotonic clock.
    """

    endpoint: str
    headers: Mapping[bytes, bytes]
    body: bytes
    identity: str
    received_at: float


class Response(NamedTuple):
    """What the client gets; of a stream, the body comes in parts."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes | AsyncIterator[bytes]


class Runtime:
    """Answers invocations.

    Args:
        endpoints: that there are.
        events: where errors are noted.
        settings: all limits.
        account: of AWS.
    """

    def __init__(
        self, endpoints: Endpoints, events: Events, settings: Settings, account: str
    ) -> None:
        self._endpoints, self._events = endpoints, events
        self._settings, self._account = settings, account
        self.most_bytes = int(settings.max_body_bytes)
        self._refused = {
            header: field
            for field, header in _HEADERS.items()
            if field not in support.RUNTIME[_INVOKE]
        }

    async def invoke(self, request: Request, stream: bool = False) -> Response:
        """Answer one invocation; every error is an answer."""
        try:
            endpoint, target = await self._admit(request)
            pool = self._pool(request, endpoint)
            if stream:
                return await self._stream(request, endpoint, pool, target)
            served = await self._served(request, endpoint, pool, target)
        except InvokeError as error:
            return self._failed(request, error)
        except Exception:  # the boundary: a client must get an answer that it knows
            logger.exception("an invocation of %s could not be answered", request.endpoint)
            return self._failed(request, faults.internal())
        answer = served.answer
        headers = _answered(pool, answer.headers, b"Content-Type")
        return Response(200, headers, answer.body)

    def _failed(self, request: Request, error: InvokeError) -> Response:
        self._events.failed(
            endpoint=request.endpoint,
            model=request.headers.get(_TARGET, b"").decode("utf-8", "replace") or None,
            status=error.status,
            type=error.code,
            message=str(error),
        )
        headers = [(b"Content-Type", b"application/json")]
        if error.code:
            headers.append((b"x-amzn-ErrorType", error.code.encode()))
        return Response(error.status, headers, error.body())

    async def _admit(self, request: Request) -> tuple[Endpoint, str]:
        """Check what is asked before anybody is; returns the endpoint, and the target model."""
        headers = request.headers
        if len(request.body) > self._settings.max_body_bytes:
            raise faults.too_large(self.most_bytes)
        if not _NAME.fullmatch(request.endpoint):
            raise _violation(request)
        for name, value in headers.items():
            if name in self._refused:
                raise faults.invalid(f"{self._refused[name]} is not emulated by mme local.")
            if name in _PASSED and len(value) > _LONGEST_VALUE:
                raise _violation(request)
        endpoint = self._endpoints.get(request.endpoint)
        if endpoint is not None and endpoint.status == "SystemUpdating":  # it comes back
            await endpoint.settled(self._settings.invoke_seconds)
        if endpoint is None or not endpoint.pools or endpoint.status == "Deleting":
            raise faults.no_endpoint(request.endpoint, self._account)
        multi_model = endpoint.deployment.variants[0].multi_model
        target = headers.get(_TARGET)
        if multi_model and not target:
            raise faults.no_target(request.identity)
        if not multi_model and target is not None:
            raise faults.not_multi_model(request.endpoint)
        try:
            return endpoint, (target or b"").decode()
        except UnicodeDecodeError:
            raise faults.invalid("The target model header is not UTF-8.") from None

    def _pool(self, request: Request, endpoint: Endpoint) -> Pool:
        """The variant that was named, or one by weight."""
        named = request.headers.get(_VARIANT)
        if named is not None:
            pool = endpoint.pools.get(named.decode("latin-1"))
            if pool is None:
                raise faults.invalid(
                    f"Variant {named.decode('latin-1')} of endpoint {request.endpoint} of account "
                    f"{self._account} not found."
                )
            return pool
        weights = {name: pool.weight for name, pool in endpoint.pools.items() if pool.weight > 0}
        if not weights:
            raise faults.unavailable("No variant of the endpoint has a weight above 0.")
        return endpoint.pools[choose_variant(weights)]

    async def _served(
        self,
        request: Request,
        endpoint: Endpoint,
        pool: Pool,
        target: str,
        on_part: Part | None = None,
    ) -> Served:
        """Have an instance answer; count what it took.

        Raises:
            InvokeError: it answered with an error, or not at all.
        """
        try:
            served = await self._ask(request, endpoint, pool, target, on_part)
        except InvokeError as error:
            self._count(request, endpoint, pool, None, error)
            raise
        answer = served.answer
        if answer.status not in _OK:
            region = endpoint.around.region
            refused = faults.of_model(
                endpoint.name, region, self._account, answer.status, answer.body
            )
            self._count(request, endpoint, pool, served, refused)
            raise refused
        self._count(request, endpoint, pool, served, None)
        return served

    async def _ask(
        self, request: Request, endpoint: Endpoint, pool: Pool, target: str, on_part: Part | None
    ) -> Served:
        """Ask an instance; when it goes away meanwhile, another."""
        deadline = request.received_at + self._settings.invoke_seconds
        headers = b"".join(
            b"%b: %b\r\n" % (_PASSED[name], value)
            for name, value in request.headers.items()
            if name in _PASSED
        )
        reason = ""
        for _ in range(_TRIES):
            pool = endpoint.pools.get(pool.variant.name, pool)  # an update may have replaced it
            instance: Instance | None = None
            try:
                instance = await pool.pick(target, deadline)
                return await instance.invoke(target, request.body, headers, deadline, on_part)
            except TimeoutError:
                raise faults.timed_out(
                    endpoint.name, endpoint.around.region, self._account
                ) from None
            except LostError as lost:
                reason = str(lost)
                if lost.begun and on_part is not None:
                    break
                if instance is not None:
                    await instance.doubt()
        raise faults.unavailable(f"The instance failed while it answered: {reason}")

    def _count(
        self,
        request: Request,
        endpoint: Endpoint,
        pool: Pool,
        served: Served | None,
        error: InvokeError | None,
    ) -> None:
        seconds = time.monotonic() - request.received_at
        meter, variant = endpoint.around.meter, pool.variant.name
        status = error.status if error is not None else 200
        if error is not None and error.code == "ModelError":
            original = error.fields["OriginalStatusCode"]
            status = original if isinstance(original, int) and original else 500
        meter.count(variant, "Invocations", 1.0)
        meter.count(variant, "InvocationsPerInstance", 1.0 / max(1, len(pool.in_service)))
        meter.count(variant, "Invocation4XXErrors", 1.0 if 400 <= status < 500 else 0.0)
        meter.count(variant, "Invocation5XXErrors", 1.0 if status >= 500 else 0.0)
        failed = error is not None and error.code == "ModelError"
        meter.count(variant, "InvocationModelErrors", 1.0 if failed else 0.0)
        if served is not None:
            meter.duration(variant, "ModelLatency", served.seconds)
            meter.duration(variant, "OverheadLatency", seconds - served.seconds)
        hit = served is not None and served.hit
        endpoint.history.invocation(hit, error is not None, seconds)

    async def _stream(
        self, request: Request, endpoint: Endpoint, pool: Pool, target: str
    ) -> Response:
        """Answer with events as the container's answer comes; what fails before it is an error."""
        parts: asyncio.Queue[tuple[Mapping[bytes, bytes], bytes] | None] = asyncio.Queue()
        headers = {name: value for name, value in request.headers.items() if name != b"accept"}
        if _STREAM_ACCEPT in headers:
            headers[b"accept"] = headers[_STREAM_ACCEPT]

        def keep(head: Mapping[bytes, bytes], part: bytes) -> None:
            parts.put_nowait((head, part))

        asked = request._replace(headers=headers)
        work = asyncio.create_task(self._served(asked, endpoint, pool, target, on_part=keep))
        work.add_done_callback(lambda _: parts.put_nowait(None))
        first = await parts.get()
        head = work.result().answer.headers if first is None else first[0]  # raises what failed

        async def events() -> AsyncIterator[bytes]:
            part = first
            while part is not None:
                yield eventstream.payload(part[1])
                part = await parts.get()
            try:
                work.result()
            except InvokeError as error:
                yield eventstream.failure("ModelStreamError", str(error))

        answered = _answered(pool, head, b"X-Amzn-SageMaker-Content-Type")
        return Response(200, [*answered, (b"Content-Type", _EVENTS)], events())


def _violation(request: Request) -> InvokeError:
    """What the service's model says of a request that cannot be."""
    given = {
        field: request.headers[header].decode("latin-1")
        for field, header in _HEADERS.items()
        if header in request.headers
    }
    fields = {"EndpointName": request.endpoint, "Body": "", **given}
    _, found = check(SAGEMAKER_RUNTIME, _INVOKE, fields)
    return faults.invalid(message(found))


def _answered(pool: Pool, head: Mapping[bytes, bytes], kind: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a good answer; ``kind`` is the one that has the container's content type."""
    headers = [(_INVOKED, pool.variant.name.encode())]
    if b"content-type" in head:
        headers.append((kind, head[b"content-type"]))
    if _ATTRIBUTES in head:
        headers.append((b"X-Amzn-SageMaker-Custom-Attributes", head[_ATTRIBUTES]))
    return headers
