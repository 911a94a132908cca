"""The page of `mme local` over a state that a test chooses: who serves it, and who looks at it."""

import contextlib
import json
import mimetypes
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

import mme
from tests.local import browser, states
from tests.support import wait_until

_PAGE = Path(mme.__file__).parent / "local" / "page"


class PageServer:
    """Serves the page; it can be stopped and started again on its port.

    Attributes:
        state: what ``/_mme/state`` answers; with its time as it was made, or the present.
        models: what ``/_mme/models`` searches.
        asked: paths that were asked for.
        posted: the operations of AWS that were called.
    """

    def __init__(self) -> None:
        self.state = states.nothing()
        self.models: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.posted: list[str] = []
        self._port = 0

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self._port}/"

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serve within the context."""
        server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self.url
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Content type and body; None for what is not there."""
        self.asked.append(path)
        place = urlsplit(path)
        if place.path == "/_mme/state":
            return "application/json", json.dumps(self.state).encode()
        if place.path == "/_mme/models":
            return "application/json", json.dumps(self._search(parse_qs(place.query))).encode()
        name = "index.html" if place.path == "/" else place.path.removeprefix("/_mme/")
        file = _PAGE / Path(name).name
        if not file.is_file():
            return None
        return mimetypes.guess_type(file.name)[0] or "", file.read_bytes()

    def _search(self, query: dict[str, list[str]]) -> dict[str, Any]:
        text = query.get("search", [""])[0].casefold()
        found = [model for model in self.models if text in model["target"].casefold()]
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        return {"total": len(found), "models": found[offset : offset + limit]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = page.answer(self.path)
                self._send(*(found or ("text/plain", b"")), status=200 if found else 404)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                page.posted.append(self.headers["X-Amz-Target"])
                self._send("application/x-amz-json-1.1", b"{}")

            def _send(self, kind: str, body: bytes, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", "default-src 'self'")
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the page gave this question up
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


class Page:
    """The page as a person sees it, and the server behind it."""

    def __init__(self, driver: WebDriver, server: PageServer) -> None:
        self.driver, self.server = driver, server

    def show(self, state: states.State, targets: list[str] | None = None) -> None:
        """Open the page over this state and these models."""
        self.server.state = state
        self.server.models = states.models(targets or [])
        self.driver.get("about:blank")  # so that an address with another fragment is a new page
        self.driver.get(self.server.url)
        self.wait("return document.querySelector('#link time') !== null", "an answer")

    def __getitem__(self, identity: str) -> WebElement:
        return self.driver.find_element(By.ID, identity)

    def text(self, identity: str) -> str:
        """What is to be read in an element; nothing where it is hidden."""
        return self[identity].text

    def wait(self, script: str, what: str) -> Any:
        """Wait until a script returns something true."""
        return wait_until(lambda: self.driver.execute_script(script), browser.SECONDS, what)

    def wait_text(self, identity: str, text: str) -> None:
        """Wait until an element has the text in it."""
        wait_until(lambda: text in self.text(identity), browser.SECONDS, f"{text!r} in {identity}")

    def column(self, table: str) -> list[str]:
        """The first cells of a table's rows."""
        script = "return [...document.getElementById(arguments[0]).querySelectorAll('tbody tr')]"
        cells = self.driver.execute_script(f"{script}.map((row) => row.cells[0].innerText)", table)
        return [str(cell) for cell in cells]

    def console(self) -> list[str]:
        """What the browser has complained of since it was asked last."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # it has no types
        return [str(entry["message"]) for entry in entries]
