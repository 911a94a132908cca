"""The one URL: invocations and SageMaker are ours, and so is the page; all else is moto's."""

import contextlib
import json
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, unquote

from mme.local.aws.proxy import Proxy, Receive, Scope, Send
from mme.local.control.autoscaler import Autoscaler
from mme.local.control.control import Control
from mme.local.runtime import faults
from mme.local.runtime.faults import InvokeError
from mme.local.runtime.runtime import Request, Runtime
from mme.local.settle import Settler
from mme.local.state import State

REGION = "us-east-1"  # of who does not sign
_RUNTIME = re.compile(rb"/endpoints/([^/]*)/invocations(-response-stream)?")
_SCOPE = re.compile(rb"Credential=[^/]*/[^/]*/([a-z0-9-]{1,40})/([a-z0-9-]+)/aws4_request")
_SAGEMAKER, _SCALING = b"SageMaker.", b"AnyScaleFrontendService."
_ACTIVITIES = _SCALING + b"DescribeScalingActivities"
_READ_FIRST = {b"monitoring": "metrics", b"logs": "logs"}
_JSON, _AMZ_JSON = b"application/json", b"application/x-amz-json-1.1"
_PAGE = Path(__file__).with_name("page")
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_PAGE_HEADERS = [
    (b"Content-Security-Policy", b"default-src 'self'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Cache-Control", b"no-store"),
]
# A browser says for whom and from where it asks. Buckets may stand before the host's name.
_OURS = re.compile(rb"(?:(?:[^:@/]*\.)?localhost|127\.0\.0\.1|\[::1\])(?::\d+)?", re.IGNORECASE)
_STRANGER = b'{"message": "mme local answers http://localhost and http://127.0.0.1 alone."}'
_MOST_CONTROL_BYTES = 4 * 1024**2
VERSION = version("xgboost-mme")


class _GoneError(Exception):
    """The client closed the connection before its request was whole."""


class Front:
    """The ASGI application.

    Args:
        runtime: answers invocations.
        control: answers SageMaker's control plane.
        autoscaler: answers for its activities.
        settler: hands over metrics and logs before they are read.
        state: what the page shows.
        proxy: to moto.
    """

    def __init__(
        self,
        runtime: Runtime,
        control: Control,
        autoscaler: Autoscaler,
        settler: Settler,
        state: State,
        proxy: Proxy,
    ) -> None:
        self._runtime, self._control, self._autoscaler = runtime, control, autoscaler
        self._settler, self._state, self._proxy = settler, state, proxy
        self._files = {file.name: file.read_bytes() for file in _PAGE.iterdir()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        if not _is_from_here(headers):
            await _answer(send, 403, _STRANGER, _JSON)
            return
        with contextlib.suppress(_GoneError):  # there is nobody to answer
            await self._route(headers, scope, receive, send)

    async def _route(
        self, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send
    ) -> None:
        path: bytes = scope["raw_path"]
        if scope["method"] == "POST" and (invoked := _RUNTIME.fullmatch(path)):
            await self._invoke(invoked, headers, receive, send)
            return
        signed = _SCOPE.search(headers.get(b"authorization", b""))
        target = headers.get(b"x-amz-target", b"")
        if path.startswith(b"/endpoints/") and (not signed or signed[2] == b"sagemaker"):
            error = faults.invalid(
                "This call is not emulated by mme local; there is POST /endpoints/NAME/invocations."
            )
            await _answer(send, error.status, error.body(), _JSON, _type_of(error))
        elif target.startswith(_SAGEMAKER):
            region = signed[1].decode() if signed else REGION
            await self._sagemaker(target, region, scope, receive, send, known=signed is not None)
        elif target == _ACTIVITIES:
            body = await _body(receive, _MOST_CONTROL_BYTES)
            status, answer = self._autoscaler.activities(body)
            await _answer(send, status, answer, _AMZ_JSON)
        elif scope["method"] == "GET" and not signed and self._is_page(path, scope):
            await self._page(path, scope, send)
        else:
            if signed and (what := _READ_FIRST.get(signed[2])):
                await self._settler.settle(what)
            await self._forward(scope, receive, send)

    async def _invoke(
        self,
        invoked: "re.Match[bytes]",
        headers: dict[bytes, bytes],
        receive: Receive,
        send: Send,
    ) -> None:
        begun = time.monotonic()
        body = await _body(receive, self._runtime.most_bytes)
        request = Request(
            endpoint=unquote(invoked[1].decode("latin-1")),
            headers=headers,
            body=body,
            identity=new_request_id(),
            received_at=begun,
        )
        response = await self._runtime.invoke(request, stream=invoked[2] is not None)
        head = [(b"x-amzn-RequestId", request.identity.encode()), *response.headers]
        if isinstance(response.body, bytes):
            head.append((b"Content-Length", b"%d" % len(response.body)))
            await send({"type": "http.response.start", "status": response.status, "headers": head})
            await send({"type": "http.response.body", "body": response.body})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": head})
            async for part in response.body:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _sagemaker(
        self,
        target: bytes,
        region: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        known: bool,
    ) -> None:
        operation = target.removeprefix(_SAGEMAKER).decode("latin-1")
        body = await _body(receive, _MOST_CONTROL_BYTES)
        if len(body) > _MOST_CONTROL_BYTES:
            await _answer(send, 413, b'{"__type": "RequestEntityTooLargeException"}', _AMZ_JSON)
        elif self._control.owns(operation, body) or not known:  # moto goes by the signature
            status, answer = await self._control.call(operation, body, region)
            await _answer(send, status, answer, _AMZ_JSON)
        else:
            await self._forward(scope, receive, send, body)

    async def _forward(
        self, scope: Scope, receive: Receive, send: Send, body: bytes | None = None
    ) -> None:
        try:
            await self._proxy(scope, receive, send, body)
        except OSError as error:
            text = f'{{"message": "moto does not answer: {error}"}}'
            await _answer(send, 503, text.encode(), _JSON)

    def _is_page(self, path: bytes, scope: Scope) -> bool:
        return path.startswith(b"/_mme/") or (path == b"/" and not scope["query_string"])

    async def _page(self, path: bytes, scope: Scope, send: Send) -> None:
        query = {name: values[-1] for name, values in _query(scope).items()}
        name = path.removeprefix(b"/_mme/").removeprefix(b"/").decode("latin-1") or "index.html"
        if name == "state":
            await _answer(send, 200, json.dumps(self._state.now()).encode(), _JSON)
        elif name == "models":
            await _answer(send, 200, json.dumps(self._state.models(query)).encode(), _JSON)
        elif name in self._files:
            await _answer(send, 200, self._files[name], _TYPES[Path(name).suffix])
        else:
            await _answer(send, 404, b'{"message": "There is no such page."}', _JSON)


def _is_from_here(headers: Mapping[bytes, bytes]) -> bool:
    """Whether no page of somebody else's site has a browser ask this, by any name for us."""
    origin = headers.get(b"origin")
    if origin is not None and not _OURS.fullmatch(origin.partition(b"://")[2]):
        return False
    return _OURS.fullmatch(headers.get(b"host", b"localhost")) is not None


async def _body(receive: Receive, most: int) -> bytes:
    """The request's body; of a longer one the first bytes, and one more than may be."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        part, more = message.get("body", b""), message.get("more_body", False)
        if size <= most:
            parts.append(part)
        size += len(part)
    return b"".join(parts)


def _type_of(error: InvokeError) -> list[tuple[bytes, bytes]]:
    return [(b"x-amzn-ErrorType", error.code.encode())]


async def _answer(
    send: Send, status: int, body: bytes, kind: bytes, more: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    headers = [
        *more,
        (b"Content-Type", kind),
        (b"Content-Length", b"%d" % len(body)),
        (b"x-amzn-RequestId", new_request_id().encode()),
        *_PAGE_HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=20)


def new_request_id() -> str:
    """An id of a request, as AWS gives each."""
    digits = secrets.token_hex(16)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
