"""The real functions behind a small HTTP server, on a world of fakes. Keys and routes are as the host has them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func
from azure.functions.decorators.http import HttpTrigger

from functions import board, operator_api
from shared.health import HealthChecks
from shared.operations.idempotency import IdempotentCalls
from shared.operations.operate import Operate
from shared.queries.drift import DriftQuery
from shared.queries.findings import ScanFindings
from shared.queries.records import Queries, RunLogs
from shared.settings import platform_signs_in
from tests.fakes import World

KEY = "the-key"


class App:
    """What the functions ask bootstrap for, on fakes."""

    def __init__(self, world: World) -> None:
        self.services, self.queries = world.services, Queries(world.services)
        self.operate, self.calls = Operate(world.services), IdempotentCalls(world.services)
        self.findings = ScanFindings(world.services)
        self.drift = DriftQuery(world.services)
        self.logs, self.health = RunLogs(world.services), HealthChecks(world.services)
        self.health.recent()
        wait(self.health._requested.values())  # else the first page says that it does not know yet


def _routes() -> list[tuple[set[str], list[str], Any, bool]]:
    routes = []
    for blueprint in (board.blueprint, operator_api.blueprint):
        for builder in blueprint._function_builders:
            trigger = builder._function.get_trigger()
            assert isinstance(trigger, HttpTrigger)
            methods = {method.value for method in trigger.methods or ()}
            keyed = trigger.auth_level is func.AuthLevel.FUNCTION
            routes.append((methods, str(trigger.route).split("/"), builder._function.get_user_function(), keyed))
    return routes


def route(place: int, names: list[str]) -> tuple[set[str], Any, dict[str, str]]:
    """One of all functions that answer HTTP: its methods, the function, and its parameters under these names."""
    methods, pattern, handler, _ = _Handler.routes[place % len(_Handler.routes)]
    wanted = [part[1:-1] for part in pattern if part.startswith("{")]
    return methods, handler, dict(zip(wanted, names, strict=False))


def routes_that_read() -> list[str]:
    """The paths below `api/` of all functions that answer a GET."""
    return ["/".join(pattern) for methods, pattern, _, _ in _Handler.routes if "GET" in methods]


def _values(pattern: list[str], path: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(path):
        return None
    values = {}
    for wanted, part in zip(pattern, path, strict=True):
        if wanted.startswith("{"):
            values[wanted[1:-1]] = unquote(part)
        elif wanted != part:
            return None
    return values


class _Handler(BaseHTTPRequestHandler):
    routes = _routes()
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer on a kept connection waits 40 ms for an acknowledgement

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for methods, pattern, handler, keyed in self.routes:
            values = _values(pattern, parts.path.removeprefix("/api/").split("/"))
            if values is None or self.command not in methods:
                continue
            if keyed and not platform_signs_in() and self.headers.get("x-functions-key") != KEY:
                return self._send(401, {}, b"")
            request = func.HttpRequest(
                method=self.command,
                url=f"http://127.0.0.1{self.path}",
                headers=dict(self.headers),
                params=dict(parse_qsl(parts.query, keep_blank_values=True)),
                route_params=values,
                body=body,
            )
            answer = handler(request)
            kind = {"Content-Type": f"{answer.mimetype}; charset=utf-8"}
            return self._send(answer.status_code, dict(answer.headers) | kind, answer.get_body())
        return self._send(404, {}, b"")

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _answer  # noqa: N815 (the names that the server looks for)
    do_HEAD = do_OPTIONS = do_TRACE = do_QUERY = _answer  # noqa: N815

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests need no access log."""


@contextmanager
def serving() -> Iterator[str]:
    """The URL of the server while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
