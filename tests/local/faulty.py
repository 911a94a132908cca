"""A proxy before an AWS that answers chosen calls with chosen errors, as AWS would write them."""

import contextlib
import http.client
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

import botocore.session
from botocore.model import OperationModel, ServiceModel

_SCOPE = re.compile(r"Credential=[^/]*/[^/]*/[a-z0-9-]{1,40}/([a-z0-9-]+)/aws4_request")
_OF_ONE_HOP = {"connection", "transfer-encoding", "keep-alive", "expect"}
_SERVICES = {  # by the name that they are signed for; two share that of SageMaker
    "monitoring": ["cloudwatch"],
    "sagemaker": ["sagemaker-runtime"],
}
_CUT = 0  # a status: the connection is closed without an answer
SECONDS = 120


class Request(NamedTuple):
    """A call that came through.

    Attributes:
        service: as botocore calls it; empty where nobody signed.
        operation: such as ``CreateRole``; empty where it is not known.
        method: of HTTP.
        path: with the query.
        body: whole.
    """

    service: str
    operation: str
    method: str
    path: str
    body: bytes

    @property
    def words(self) -> dict[str, Any]:
        """The parameters in the body: of JSON, or of a query."""
        if self.body[:1] == b"{":
            return dict(json.loads(self.body))
        return dict(parse_qsl(self.body.decode()))


Match = str | Callable[[Request], bool]


class Fault:
    """What is wrong with some calls, and how often still; ``hits`` counts who met it."""

    def __init__(self, match: Match, status: int, code: str, message: str, times: int) -> None:
        self.match, self.status, self.code, self.message = match, status, code, message
        self.times, self.hits = times, 0

    def meets(self, request: Request) -> bool:
        """Whether this call is to fail."""
        if self.hits >= self.times:
            return False
        if callable(self.match):
            return self.match(request)
        return self.match in (request.operation, f"{request.service}:{request.operation}")


class Faulty(contextlib.AbstractContextManager["Faulty"]):
    """A running proxy; leaving it ends it.

    Args:
        url: of what answers all calls that do not fail.

    Attributes:
        url: its own.
        requests: what came, in order, failed or not; boto3's own repetitions are among it.
    """

    def __init__(self, url: str) -> None:
        self.upstream = urlsplit(url).netloc
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            faulty = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(
        self, match: Match, status: int, code: str, message: str = "", times: int = 1_000_000
    ) -> Fault:
        """Let calls fail from now on.

        Args:
            match: an operation, as ``CreateRole`` or ``iam:CreateRole``, or what chooses requests.
            status: of HTTP; 0 closes the connection without an answer.
            code: as AWS calls the error.
            message: of AWS.
            times: so often; then calls go through.
        """
        fault = Fault(match, status, code, message, times)
        with self._lock:
            self._faults.append(fault)
        return fault

    def mend(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._faults.clear()

    def operations(self, service: str | None = None) -> list[str]:
        """The operations that came, in order: of one service, or of all."""
        return [one.operation for one in self.requests if service in (None, one.service)]

    def take(self, request: Request) -> Fault | None:
        """Note a request; the fault that it is to meet."""
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.meets(request):
                    fault.hits += 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, and one to what is behind."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    faulty: Faulty

    def setup(self) -> None:
        super().setup()
        self._behind = http.client.HTTPConnection(self.faulty.upstream, timeout=SECONDS)

    def finish(self) -> None:
        self._behind.close()
        super().finish()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = _request(self.command, self.path, dict(self.headers.items()), body)
        fault = self.faulty.take(request)
        if fault is None:
            self._forward(body)
        elif fault.status == _CUT:
            self.close_connection = True
        else:
            content, data = _error(request, fault)
            self._send(fault.status, [("Content-Type", content), *_named(fault)], data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815  # http.server's names

    def _forward(self, body: bytes) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _OF_ONE_HOP}
        try:
            self._behind.request(self.command, self.path, body or None, headers)
            answer = self._behind.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):  # it may have closed an idle connection
            self._behind.close()
            self.close_connection = True
            return
        self._send(answer.status, answer.getheaders(), data)

    def _send(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _OF_ONE_HOP | {"content-length"}:
                self.send_header(name, value)
        known = {name.lower(): value for name, value in headers}.get("content-length")
        length = known if self.command == "HEAD" and known else str(len(data))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _request(method: str, path: str, headers: dict[str, str], body: bytes) -> Request:
    """Which operation of which service a call is: by what every protocol of AWS says."""
    names = {name.lower(): value for name, value in headers.items()}
    signed = _SCOPE.search(names.get("authorization", ""))
    if signed is None:
        return Request("", "", method, path, body)
    service = signed[1]
    if "x-amz-target" in names:
        service = "cloudwatch" if service == "monitoring" else service
        return Request(service, names["x-amz-target"].rpartition(".")[2], method, path, body)
    (service,) = _SERVICES.get(service, [service])
    model = _model(service)
    if model.resolved_protocol in ("query", "ec2"):
        action = dict(parse_qsl(body.decode())).get("Action", "")
        return Request(service, action, method, path, body)
    return Request(service, _by_path(model, method, path, names), method, path, body)


@cache
def _model(service: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(service)


def _by_path(model: ServiceModel, method: str, path: str, headers: dict[str, str]) -> str:
    """The operation of a REST protocol that demands most of what this call has."""
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    found = [
        (-demands, name)
        for name in model.operation_names
        if (demands := _demands(model.operation_model(name), method, parts.path, query, headers))
    ]
    return min(found)[1] if found else ""


def _demands(
    operation: OperationModel,
    method: str,
    path: str,
    query: dict[str, list[str]],
    headers: dict[str, str],
) -> int:
    """How much an operation demands; 0 where the call has not all of it."""
    uri = urlsplit(operation.http["requestUri"])
    if operation.http["method"] != method or not _pattern(uri.path).fullmatch(unquote(path)):
        return 0
    fixed = parse_qs(uri.query, keep_blank_values=True)
    shape = operation.input_shape
    needed = [shape.members[name].serialization for name in shape.required_members] if shape else []
    queries = [one["name"] for one in needed if one.get("location") == "querystring"]
    heads = [one["name"] for one in needed if one.get("location") == "header"]
    if any(query.get(name) != value for name, value in fixed.items()):
        return 0
    if any(name not in query for name in queries) or any(h.lower() not in headers for h in heads):
        return 0
    literal = re.sub(r"\{[^}]*\}", "", uri.path)
    return 1 + 100 * (len(fixed) + len(queries) + len(heads)) + len(literal)


@cache
def _pattern(uri: str) -> "re.Pattern[str]":
    pieces = re.split(r"(\{[^}]*\})", uri.rstrip("/") or "/")
    parts = [
        (".+" if piece.endswith("+}") else "[^/]+") if piece[:1] == "{" else re.escape(piece)
        for piece in pieces
    ]
    return re.compile("".join(parts) + "/?", re.DOTALL)


def _named(fault: Fault) -> Iterator[tuple[str, str]]:
    yield "x-amzn-RequestId", str(uuid.uuid4())
    yield "x-amzn-ErrorType", fault.code


def _error(request: Request, fault: Fault) -> tuple[str, bytes]:
    """Content type and body of an error in the service's own protocol."""
    protocol = _model(request.service).resolved_protocol if request.service else "json"
    code, message = escape(fault.code), escape(fault.message)
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    identity = f"<RequestId>{uuid.uuid4()}</RequestId>"
    if protocol == "rest-xml":
        return "application/xml", f"<Error>{inner}{identity}</Error>".encode()
    if protocol == "query":
        sender = f"<Error><Type>Sender</Type>{inner}</Error>"
        return "text/xml", f"<ErrorResponse>{sender}{identity}</ErrorResponse>".encode()
    if protocol == "rest-json":
        return "application/json", json.dumps({"Message": fault.message}).encode()
    body = {"__type": fault.code, "message": fault.message, "Message": fault.message}
    return "application/x-amz-json-1.1", json.dumps(body).encode()
