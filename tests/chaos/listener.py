"""The listener of the outcomes: a webhook that can be unavailable."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sandbox.testing import Sandbox

_HOST = "127.0.0.1"


class Listener:
    """An HTTPS server on its own port, with a certificate of the sandbox's CA."""

    def __init__(self) -> None:
        self._server: ThreadingHTTPServer | None = None
        self._context: ssl.SSLContext | None = None
        with ThreadingHTTPServer((_HOST, 0), BaseHTTPRequestHandler) as server:
            self.port = server.server_port
        self.heard: list[dict[str, Any]] = []
        self.url = f"https://{_HOST}:{self.port}/outcomes"

    def come(self, sandbox: Sandbox) -> None:
        """Start to listen."""
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer((_HOST, self.port), Handler)
        self._context = self._context or sandbox.server_context(_HOST)
        self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, name="listener", daemon=True).start()

    def go(self) -> None:
        """Stop listening: connections to the port are refused."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
