"""A control plane's API that answers as it is told, on a loopback port, and remembers what it was asked."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs


@attrs.frozen
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


Answer = tuple[int, Any]
Handler = Callable[[Asked], Answer]


@attrs.define(eq=False)
class FakeControlPlane:
    """Answers 404 in Kuma's shape to all that it was not told to answer."""

    address: str = ""
    asked: list[Asked] = attrs.Factory(list)
    etags: dict[str, str] = attrs.Factory(dict)  # by path
    _handlers: dict[tuple[str, str], Handler] = attrs.Factory(dict)

    def answer(self, method: str, path: str, body: Any = None, *, status: int = 200) -> None:
        """Answer always the same."""
        self._handlers[method, path] = lambda asked: (status, body)

    def handle(self, method: str, path: str, handler: Handler) -> None:
        """Let a function answer."""
        self._handlers[method, path] = handler

    def list_of(self, path: str, items: list[dict[str, Any]]) -> None:
        """Serve a list in pages, as Kuma does."""

        def page(asked: Asked) -> Answer:
            offset, size = int(asked.query.get("offset", 0)), int(asked.query.get("size", 100))
            after = offset + size
            link = f"http://elsewhere.invalid{path}?offset={after}&size={size}" if after < len(items) else None
            return 200, {"total": len(items), "items": items[offset:after], "next": link}

        self.handle("GET", path, page)

    def respond(self, asked: Asked) -> Answer:
        """Note a request and return the answer."""
        self.asked.append(asked)
        handler = self._handlers.get((asked.method, asked.path))
        if handler is None:
            return 404, {
                "type": "/std-errors",
                "status": 404,
                "title": "Could not retrieve a resource",
                "detail": "Not found",
            }
        return handler(asked)

    def bodies(self, method: str, path: str) -> list[Any]:
        """Return the bodies of the requests that came to a path."""
        return [one.body for one in self.asked if (one.method, one.path) == (method, path)]


def problem(status: int, title: str, detail: str = "", **more: Any) -> dict[str, Any]:
    """Return an error in Kuma's shape."""
    return {"type": "/std-errors", "status": status, "title": title, "detail": detail, **more}


def _query(text: str) -> dict[str, str]:
    """Read a query; a parameter that is there several times is joined by commas."""
    values: dict[str, str] = {}
    for key, value in parse_qsl(text):
        values[key] = f"{values[key]},{value}" if key in values else value
    return values


@contextmanager
def serving(plane: FakeControlPlane) -> Iterator[FakeControlPlane]:
    """Serve a fake on a port of its own."""

    class RequestHandler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # One segment an answer: with two, the second waits 40 ms for the first's acknowledgement.

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(data) if data else None
            status, answer = plane.respond(Asked(self.command, parts.path, _query(parts.query), headers, body))
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            if parts.path in plane.etags:
                self.send_header("etag", plane.etags[parts.path])
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler) as server:
        server.daemon_threads = True
        plane.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield plane
        finally:
            server.shutdown()
            thread.join()
