"""The host's HTTP server: serves the app's functions, the webhook and the host's own operations."""

from __future__ import annotations

from aiohttp import web

from sandbox.host.errors import Misconfigured
from sandbox.host.http_trigger import HttpFrontDoor
from sandbox.web import Surface

_BODY_LIMIT_BYTES = 100 * 1024 * 1024
_HOST_PATHS = ("/admin/", "/runtime/")


class Server:
    """Listens on a loopback port."""

    def __init__(self, name: str, front_door: HttpFrontDoor, own: Surface, *, homepage: bool) -> None:
        self._name, self._front_door, self._own, self._homepage = name, front_door, own, homepage
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Start listening; port 0 means any free port.

        Raises:
            Misconfigured: the port is in use.
        """
        application = web.Application(client_max_size=_BODY_LIMIT_BYTES)
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._runner = runner
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            raise Misconfigured(f"The host cannot listen on port {port}: {error.strerror}.") from error
        self.port = runner.addresses[0][1]

    async def stop_listening(self) -> None:
        """Accept no new connections; requests in progress continue."""
        if self._runner:
            for site in list(self._runner.sites):
                await site.stop()

    async def stop(self) -> None:
        """Close all connections."""
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path.lower().startswith(_HOST_PATHS):
            return await self._own.handle(request, request.host)
        if path == "/" and self._homepage and request.method in ("GET", "HEAD"):
            return web.Response(text=f"The function app '{self._name}' is up and running.\n")
        return await self._front_door.answer(request)
