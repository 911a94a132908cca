"""As much of an OCI registry as ``docker push`` needs, on loopback, for who has the password."""

import base64
import contextlib
import hashlib
import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

_BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]{64})")
_UPLOADS = re.compile(r"/v2/(.+)/blobs/uploads/([0-9a-f-]*)")
_MANIFEST = re.compile(r"/v2/(.+)/manifests/(.+)")


class Registry(contextlib.AbstractContextManager["Registry"]):
    """A running registry; leaving it ends it.

    Args:
        user: who may push.
        password: with which.

    Attributes:
        host: where it is, as the names of images begin.
        blobs: bytes by digest.
        manifests: bytes by repository and tag.
        refused: requests without the password.
        uploads: how many blobs were sent.
    """

    def __init__(self, user: str, password: str) -> None:
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.parts: dict[str, bytes] = {}
        self.refused = self.uploads = 0
        registry = self

        class Handler(_Handler):
            of = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers by the distribution specification."""

    protocol_version = "HTTP/1.1"
    of: Registry

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self._body()
        if self.headers.get("Authorization") != self.of.expected:
            self.of.refused += 1
            self._send(401, **{"WWW-Authenticate": 'Basic realm="registry"'})
            return
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if found := _UPLOADS.fullmatch(path):
            self._upload(found[1], found[2], body, query)
        elif found := _BLOB.fullmatch(path):
            self._give(self.of.blobs.get(found[2]), found[2])
        elif found := _MANIFEST.fullmatch(path):
            self._manifest(found[1], found[2], body)
        else:
            self._send(200 if path == "/v2/" else 404)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815  # http.server's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _upload(self, name: str, upload: str, body: bytes, query: dict[str, list[str]]) -> None:
        upload = upload or str(uuid.uuid4())
        data = self.of.parts[upload] = self.of.parts.get(upload, b"") + body
        where = {"Location": f"/v2/{name}/blobs/uploads/{upload}"}
        if self.command != "PUT":
            self._send(202, **where, Range=f"0-{max(len(data) - 1, 0)}")
            return
        digest = _digest(data)
        if query["digest"] != [digest]:
            self._send(400)
            return
        self.of.blobs[digest] = self.of.parts.pop(upload)
        self.of.uploads += 1
        self._send(201, Location=f"/v2/{name}/blobs/{digest}")

    def _manifest(self, name: str, reference: str, body: bytes) -> None:
        if self.command == "PUT":
            self.of.manifests[name, reference] = body
            self._send(201, **{"Docker-Content-Digest": _digest(body)})
        else:
            data = self.of.manifests.get((name, reference))
            self._give(data, _digest(data or b""))

    def _give(self, data: bytes | None, digest: str) -> None:
        if data is None:
            self._send(404)
        else:
            self._send(200, data, **{"Docker-Content-Digest": digest})

    def _send(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
