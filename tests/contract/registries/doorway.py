"""A CONNECT proxy that leads public names to doubles on this machine: so they are asked by their real names."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from socketserver import BaseRequestHandler, ThreadingTCPServer

from tests.contract.registries.double import hold_little


class Doorway:
    """Leads each name to a port of loopback and lets nothing else through; `asked` is what it was asked for."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self.ports, self.asked = dict(ports), list[str]()
        doorway = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                doorway.lead(self.request)

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def lead(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        name = head.split(b" ", 2)[1].decode()
        self.asked.append(name)
        port = self.ports.get(name.removesuffix(":443"))
        if port is None:
            client.sendall(b"HTTP/1.1 502 no such place\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            hold_little(server)
            hold_little(client)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass, args=(server, client), daemon=True)
            back.start()
            _pass(client, server)
            back.join(5)


def _pass(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(64 * 1024):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
