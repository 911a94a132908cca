"""A client of the container's API, as the platform is one."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode


class Reply(NamedTuple):
    """A status, the headers (lower-case names) and the body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client(contextlib.AbstractContextManager["Client"]):
    """One keep-alive connection to a container; not for several threads."""

    def __init__(self, host: str, port: int, timeout_seconds: float = 60.0) -> None:
        self._http = http.client.HTTPConnection(host, port, timeout=timeout_seconds)

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self._http.close()

    def call(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        """Make one call.

        Raises:
            OSError, http.client.HTTPException: there is no answer.
        """
        try:
            self._http.request(method, path, body or None, headers or {})
            response = self._http.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, names, response.read())
        except BaseException:
            self.close()
            raise

    def healthy(self) -> bool:
        """Whether ``GET /ping`` answers 200."""
        try:
            return self.call("GET", "/ping").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def load(self, name: str, url: str) -> Reply:
        """``POST /models``."""
        body = json.dumps({"model_name": name, "url": url}).encode()
        return self.call("POST", "/models", body, {"Content-Type": "application/json"})

    def unload(self, name: str) -> Reply:
        """``DELETE /models/{name}``."""
        return self.call("DELETE", f"/models/{quote(name, safe='')}")

    def describe(self, name: str) -> Reply:
        """``GET /models/{name}``."""
        return self.call("GET", f"/models/{quote(name, safe='')}")

    def invoke(
        self, name: str, body: bytes, content_type: str = "text/csv", accept: str | None = None
    ) -> Reply:
        """``POST /models/{name}/invoke``."""
        headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
        return self.call("POST", f"/models/{quote(name, safe='')}/invoke", body, headers)

    def models(self, limit: int = 100) -> Iterator[dict[str, Any]]:
        """``GET /models``, page after page: each model's ``modelName`` and ``modelUrl``."""
        token = None
        while True:
            query = {"limit": limit} | ({"next_page_token": token} if token else {})
            page = json.loads(self.call("GET", f"/models?{urlencode(query)}").body)
            yield from page["models"]
            token = page.get("nextPageToken")
            if token is None:
                return
