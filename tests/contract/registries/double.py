"""What the doubles are made of: an HTTPS server on loopback that notes what it is asked."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import trustme

HELD_BYTES = 128 * 1024


def hold_little(connection: socket.socket) -> None:
    """Keep the kernel from holding megabytes on the way, so that what was sent tells what was taken."""
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, buffer, HELD_BYTES)


class Certificates:
    """One authority, in a bundle that clients are told to trust."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.bundle = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.bundle))

    def context(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate for some names and addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*names).configure_cert(context)
        return context

    def files(self, folder: Path, *names: str) -> tuple[Path, Path]:
        """Certificate and key as files, for a program."""
        issued = self._authority.issue_cert(*names)
        certificate, key = folder / "server.pem", folder / "server.key"
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


@dataclass(frozen=True)
class Reply:
    """An answer; with `raw` it is written to the connection as it is, piece by piece, and the connection ends."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: Callable[[], Iterator[bytes]] | None = None


def json_reply(document: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON document; `_` in the name of a header is written for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"Content-Type": "application/json", **named}, json.dumps(document).encode())


def error_reply(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """An error as the specification has it."""
    return json_reply({"errors": [{"code": code, "message": message}]}, status, **headers)


class Double:
    """An HTTPS server on a free port; `answer` says what it says, `asked` is what it was asked."""

    def __init__(self, certificates: Certificates, answer: Callable[[Asked], Reply], *names: str) -> None:
        self.asked: list[Asked] = []
        self.answer = answer
        self.connections = 0
        self._server = _Server(self)
        hold_little(self._server.socket)  # connections have it from the socket that accepts them
        context = certificates.context("127.0.0.1", "localhost", *names)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def paths(self, part: str = "") -> list[str]:
        """The paths that were asked for and have a part."""
        return [asked.path for asked in self.asked if part in asked.path]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, double: Double) -> None:
        self.double = double
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what these tests are about."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.double.connections += 1
        super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Be quiet."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), headers, body)
        self.server.double.asked.append(asked)
        reply = self.server.double.answer(asked)
        if reply.raw is not None:
            self._write_raw(reply.raw())
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _write_raw(self, pieces: Iterator[bytes]) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()

    do_GET = do_HEAD = do_POST = _serve  # noqa: N815
