"""One loopback port in front of everything: a CONNECT proxy that terminates TLS and routes by host name.

A client sets HTTPS_PROXY to it and connects to `management.azure.com` or `contoso.azurecr.io`; the real hosts
cannot be reached, because a name that no surface covers is refused here. Plain HTTP on the same port
serves the managed identity endpoint (host name `sandbox`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Sequence
from functools import lru_cache, partial
from weakref import WeakSet

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from sandbox.authority import Authority
from sandbox.web import Surface

log = logging.getLogger(__name__)

LOCAL_HOST = "sandbox"
_HEAD_LIMIT_BYTES = 64 * 1024
_LINE_LIMIT_BYTES = 32 * 1024
_BODY_LIMIT_BYTES = 64 * 1024 * 1024
_CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]+):\d+ HTTP/1\.[01]\r\n")
_STOP_SECONDS = 0.05  # spent in full on an idle connection
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Gateway:
    """Listens, terminates TLS, and dispatches each request to the surface of its host name."""

    def __init__(self, authority: Authority, surfaces: Sequence[Surface]) -> None:
        self._authority, self._surfaces = authority, list(surfaces)
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: WeakSet[web.Server] = WeakSet()
        self._secured: WeakSet[asyncio.Transport] = WeakSet()
        self._listener: asyncio.Server | None = None
        self.port = 0
        self.server_for = lru_cache(maxsize=512)(self._server_for)

    def add(self, surface: Surface) -> None:
        """Serve one more family of host names."""
        self._surfaces.append(surface)

    async def start(self, port: int = 0) -> int:
        """Listen on 127.0.0.1 (any free port by default) and return the port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Doorway(self), "127.0.0.1", port, backlog=256)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Close the listener and every connection."""
        if self._listener:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(server.shutdown(_STOP_SECONDS) for server in list(self._servers)))
        for transport in list(self._secured):
            transport.abort()  # a clean TLS shutdown would wait for the client
        self.server_for.cache_clear()

    def outside(self) -> aiohttp.ClientSession:
        """A client that reaches this sandbox like an external one: through the proxy, by real host names."""
        connector = aiohttp.TCPConnector(ssl=self._authority.client_context())
        return aiohttp.ClientSession(connector=connector, proxy=f"http://127.0.0.1:{self.port}", trust_env=False)

    def upgrade(self, host: str, transport: asyncio.Transport) -> bool:
        """Accept a CONNECT, upgrade it to TLS for `host` and serve HTTP on it; False if no host can have that name."""
        try:
            context = self._authority.server_context(host)
        except ValueError as error:
            log.info("There is no certificate for the host name %s: %s", host, error)
            return False
        transport.pause_reading()  # the ClientHello is for TLS, which is started below
        transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        task = asyncio.get_running_loop().create_task(self._upgrade(host, context, transport))
        self._tasks.add(task)  # after start_tls nothing else refers to it; its collection would close the connection
        task.add_done_callback(self._tasks.discard)
        return True

    async def _upgrade(self, host: str, context: ssl.SSLContext, transport: asyncio.Transport) -> None:
        protocol = self.server_for(host)()
        try:
            loop = asyncio.get_running_loop()
            secured = await loop.start_tls(transport, protocol, context, server_side=True)
        except (OSError, EOFError) as error:
            log.info("TLS handshake for %s failed: %r", host, error)
            transport.close()
            return
        if secured:
            self._secured.add(secured)
            protocol.connection_made(secured)

    def _server_for(self, host: str) -> web.Server:
        server = _PromptServer(partial(self._handle, host), request_factory=_request)
        self._servers.add(server)
        return server

    async def _handle(self, host: str, request: web.BaseRequest) -> web.StreamResponse:
        surface = next((s for s in self._surfaces if s.hosts.fullmatch(host)), None)
        if surface is None:
            message = f"The sandbox does not answer for {host}: {request.method} https://{host}{request.path}"
            log.info(message)
            return web.json_response({"error": {"code": "NotInSandbox", "message": message}}, status=502)
        response = await surface.handle(request, host)
        log.debug("%s %s%s -> %s", request.method, host, request.path, response.status)
        return response


class _Doorway(asyncio.Protocol):
    """Reads the first request line: CONNECT is upgraded to TLS, the rest is plain HTTP, for the identity endpoint."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._head = gateway, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport
        self._head += data
        if self._head.startswith(b"CONNECT "):
            self._connect(self._transport)
        elif len(self._head) >= len(b"CONNECT "):
            protocol = self._gateway.server_for(LOCAL_HOST)()
            self._transport.set_protocol(protocol)
            protocol.connection_made(self._transport)
            protocol.data_received(self._head)

    def _connect(self, transport: asyncio.Transport) -> None:
        if b"\r\n\r\n" not in self._head:
            if len(self._head) > _HEAD_LIMIT_BYTES:
                transport.close()
            return
        match = _CONNECT.match(self._head)
        if not match or not self._gateway.upgrade(match[1].decode().lower(), transport):
            transport.write(b"HTTP/1.1 400 Bad CONNECT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            transport.close()


class _PromptHandler(web.RequestHandler):
    """Acknowledges received data at once.

    Behind a proxy, urllib3 leaves Nagle's algorithm on and writes head and body separately: without TCP_QUICKACK
    every write of a synchronous SDK client waits 40 ms for our delayed acknowledgement.
    """

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        raw = self.transport.get_extra_info("socket") if self.transport else None
        if raw is not None and _QUICKACK is not None:
            raw.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class _PromptServer(web.Server):
    """aiohttp's server with the handler above; bodies are passed on as received (no decompression)."""

    def __call__(self) -> web.RequestHandler:
        return _PromptHandler(
            self,
            loop=self._loop,
            access_log=None,  # type: ignore[arg-type]  # None disables aiohttp's access log
            auto_decompress=False,
            max_line_size=_LINE_LIMIT_BYTES,
            max_field_size=_LINE_LIMIT_BYTES,
        )


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_BODY_LIMIT_BYTES)
