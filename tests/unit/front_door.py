"""The HTTP interface on a loopback port: the real functions, found by their real routes, on a world of fakes."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func

from functions import operator_api
from tests.served import KEY


@dataclass
class FrontDoor:
    """Its address, the requests that came as (method, path, headers), and how many answers are to get lost."""

    url: str = ""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lost_responses: int = 0
    responses: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    """Answers to give before the functions are asked."""

    def answer(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """What the Functions host does: check the key, find the function, run it."""
        parts = urlsplit(target)
        self.asked.append((method, parts.path, headers))
        if self.responses:
            return self.responses.pop(0)
        if headers.get("x-functions-key") != KEY:
            return 401, {}, b""
        for verbs, pattern, handler in _routes():
            match = pattern.fullmatch(parts.path)
            if match and method in verbs:
                request = func.HttpRequest(
                    method=method,
                    url=target,
                    params=dict(parse_qsl(parts.query)),
                    headers=headers,
                    route_params=match.groupdict(),
                    body=body,
                )
                found = handler(request)
                return found.status_code, {"Content-Type": found.mimetype}, found.get_body()
        return 404, {}, b""


@contextmanager
def open_door() -> Iterator[FrontDoor]:
    """Serve until the block ends."""
    door = FrontDoor()

    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, text = door.answer(self.command, self.path, headers, body)
            if door.lost_responses:
                door.lost_responses -= 1
                return
            self.send_response(status)
            for name, value in (more | {"Content-Length": str(len(text))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = serve  # noqa: N815 (the base class looks for these names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        door.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield door
        finally:
            server.shutdown()
            thread.join()


def _routes() -> Iterator[tuple[set[str], re.Pattern[str], Any]]:
    for builder in operator_api.blueprint._function_builders:
        function = builder._function
        trigger: Any = function.get_trigger()
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", trigger.route)
        yield {method.value for method in trigger.methods}, re.compile(f"/api/{pattern}"), function._func
