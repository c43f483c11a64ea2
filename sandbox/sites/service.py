"""Function apps as sites of the sandbox: `NAME.azurewebsites.net`, each served by its own host process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from msgspec.structs import replace

from sandbox.host.functions_host import KEYS_FILE
from sandbox.host.keys import EVENT_GRID_KEY, Keys
from sandbox.instance import Instance
from sandbox.rights import Rights
from sandbox.sites.process import SiteProcess, SiteRecord, first_line
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface

log = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")
_EASY_AUTH_HEADERS = frozenset(
    ("x-ms-client-principal", "x-ms-client-principal-id", "x-ms-client-principal-name", "x-ms-client-principal-idp")
)
"""Set only by App Service Authentication; if a client sends them, they are not forwarded to the app."""


class Sites:
    """Starts and stops sites, and forwards requests to them.

    `environment` returns the variables of every host process besides the site's own settings. It is
    `Instance.client_environment`, called when a site starts. They run with `rights`.
    """

    def __init__(
        self, instance: Instance, environment: Callable[[], Mapping[str, str]], rights: Rights | None = None
    ) -> None:
        self._instance, self._environment, self._rights = instance, environment, rights or Rights()
        self._records = Collection(instance.folder("sites") / "sites.json", SiteRecord)
        self._rights.open(instance.folder("sites"))
        self._running: dict[str, SiteProcess] = {}
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start the sites that existed when the sandbox last stopped; one that does not start remains unavailable."""
        records = self.records()
        results = await asyncio.gather(*map(self._start, records), return_exceptions=True)
        for record, result in zip(records, results, strict=True):
            if isinstance(result, Fault | OSError):
                log.warning("The site %s is not started: %s", record.name, first_line(result))
            elif isinstance(result, BaseException):
                raise result

    async def stop(self) -> None:
        """Stop every site; their records remain stored."""
        await asyncio.gather(*(process.stop() for process in self._running.values()))
        self._running.clear()

    async def put(self, record: SiteRecord) -> SiteProcess:
        """Start a site, replacing an existing one of the same name.

        Raises:
            Fault: 400 if the app cannot be served; then no site of that name exists.
        """
        async with self._turn:
            self._records.remove(record.name)
            await self._stop_one(record.name)
            process = await self._start(record)
            self._records.put(record.name, record)
            return process

    async def restart(self, name: str, settings: dict[str, str] | None = None) -> SiteRecord:
        """Restart a site, with other settings if there are any; returns its record.

        Raises:
            Fault: 404 if it does not exist; 400 if the app cannot be served. Then the new settings stay, and the site
                is unavailable until it is restarted with better ones.
        """
        async with self._turn:
            record = self.require(name)
            if settings is not None:
                record = replace(record, settings=settings)
            await self._stop_one(record.name)
            self._records.put(record.name, record)
            await self._start(record)
            return record

    async def delete_group(self, group: str) -> None:
        """Stop and remove the sites of a resource group."""
        for record in self.records():
            if record.group.lower() == group.lower():
                await self.delete(record.name)

    async def delete(self, name: str) -> None:
        """Stop and remove a site.

        Raises:
            Fault: 404 if it does not exist.
        """
        async with self._turn:
            if self._records.remove(name) is None:
                raise Fault(404, "ResourceNotFound", f"There is no site '{name}'.")
            await self._stop_one(name)

    def records(self) -> list[SiteRecord]:
        """The records of all sites."""
        return list(self._records.values())

    def process(self, name: str) -> SiteProcess | None:
        """A site's host process; None if it is not running."""
        return self._running.get(name.lower())

    def require(self, name: str) -> SiteRecord:
        """A site's record.

        Raises:
            Fault: 404 if it does not exist.
        """
        record = self._records.get(name)
        if record is None:
            raise Fault(404, "ResourceNotFound", f"There is no site '{name}'.")
        return record

    def keys(self, name: str) -> Keys:
        """A site's access keys.

        Raises:
            Fault: 404 if the site does not exist, 503 if its host has not stored them.
        """
        try:
            return Keys.read(self._state(self.require(name).name) / KEYS_FILE)
        except (OSError, ValueError) as error:
            raise Fault(503, "ServerBusy", f"The keys of the site '{name}' cannot be read: {error}") from error

    def eventgrid_key(self, name: str) -> str | None:
        """The system key of a site's Event Grid webhook; None if the site does not exist."""
        return self.keys(name).system[EVENT_GRID_KEY] if self._records.get(name) else None

    async def ask(self, name: str, path: str) -> Any:
        """The response of one of the host's own operations (`/admin/…`).

        Raises:
            Fault: 404 if the site does not exist, 503 if its host is unavailable.
        """
        keys, process = self.keys(name), self._running.get(name.lower())
        if not process or not process.endpoint:
            raise Fault(503, "ServerBusy", f"The host of the site '{name}' is not running; see its log.")
        url = f"http://127.0.0.1:{process.endpoint.port}{path}"
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(url, headers={"x-functions-key": keys.master}) as answer:
                    if answer.status == 404:
                        raise Fault(404, "ResourceNotFound", f"The site '{name}' has no {path}.")
                    return await answer.json()
            except aiohttp.ClientConnectionError as error:
                raise Fault(503, "ServerBusy", f"The host of the site '{name}' is away: {error}") from error

    def surface(self) -> Surface:
        """The sites under their own host names."""
        surface = Surface("Function apps", r"[a-z0-9-]+\.azurewebsites\.net")
        for method in _METHODS:
            surface.operation(method, "/", summary="A request to a function app.")(self._forward)
            surface.operation(method, "/{path:rest}", summary="A request to a function app.")(self._forward)
        return surface

    async def _forward(self, call: Call) -> web.StreamResponse:
        name = call.host.partition(".")[0]
        if self._records.get(name) is None:
            raise Fault(404, "NotFound", f"404 Web Site not found: the sandbox has no site '{name}'.")
        process = self._running.get(name)
        if process is None or process.backend is None:
            raise Fault(503, "ServiceUnavailable", f"The host of the site '{name}' is not running.")
        return await process.backend.forward(
            call.request, drop=_EASY_AUTH_HEADERS, add={"X-Forwarded-Proto": "https", "X-Forwarded-Host": call.host}
        )

    async def _start(self, record: SiteRecord) -> SiteProcess:
        log = self._instance.logs / f"site-{record.name}.log"
        state = self._state(record.name)
        self._rights.give(state)
        process = SiteProcess(record, self._environment(), state, log, self._rights)
        self._running[record.name] = process
        try:
            await process.start()
        except BaseException:
            del self._running[record.name]
            raise
        return process

    async def _stop_one(self, name: str) -> None:
        process = self._running.pop(name.lower(), None)
        if process:
            await process.stop()

    def _state(self, name: str) -> Path:
        return self._instance.folder("sites", name)
