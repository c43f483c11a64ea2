"""Health over HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.adapters import plain_http
from shared.adapters.plain_http import HttpProbe


class Statuses(BaseHTTPRequestHandler):
    """Answers `/200` with 200 and so on; `/slow` not before the test ends; `/nonsense` with what is no HTTP."""

    released = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.released.wait(10)
        elif self.path == "/drip":
            with suppress(OSError):
                for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500:
                    self.wfile.write(bytes((letter,)))
                    self.released.wait(0.02)
        elif self.path == "/nonsense":
            self.wfile.write(b"+OK not HTTP\r\n")
        else:
            self.send_response(int(self.path.strip("/")))
            self.send_header("Location", "/500")
            self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Statuses) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        Statuses.released.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 204, 302])
def test_an_answer_of_success_or_elsewhere_is_healthy(address: str, status: int) -> None:
    assert HttpProbe().check(address, f"/{status}") is None


@pytest.mark.parametrize("status", [404, 500, 503])
def test_any_other_answer_is_told(address: str, status: int) -> None:
    assert HttpProbe().check(address, f"/{status}") == f"http://{address}/{status} responds with HTTP {status}"


def test_an_answer_that_drips_ends_in_time(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_http, "_TIMEOUT_SECONDS", 0.3)
    begun = time.monotonic()
    assert "does not respond" in (HttpProbe().check(address, "/drip") or "")
    assert time.monotonic() - begun < 3


def test_an_answer_that_does_not_come_in_time_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_http, "_TIMEOUT_SECONDS", 0.1)
    assert HttpProbe().check(address, "/slow") == f"http://{address}/slow does not respond (TimeoutError)"


def test_an_answer_that_is_no_http_is_told(address: str) -> None:
    assert HttpProbe().check(address, "/nonsense") == f"http://{address}/nonsense does not respond (BadStatusLine)"


def test_a_port_that_nobody_listens_on_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert HttpProbe().check(address, "/") == f"http://{address}/ does not respond (ConnectionRefusedError)"
