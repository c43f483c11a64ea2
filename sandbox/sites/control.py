"""The sandbox's own operations on sites: start, inspect, stop."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.host.keys import EVENT_GRID_KEY, Keys
from sandbox.sites.process import SiteRecord
from sandbox.sites.service import Sites
from sandbox.variables import READ_BY_SHELLS_AND_INTERPRETERS, settable_names
from sandbox.web import Call, Fault, Surface, json_answer

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")
_SETTING = settable_names(READ_BY_SHELLS_AND_INTERPRETERS, r"[A-Za-z_][A-Za-z0-9_.:-]{0,255}")
"""The names of settings."""

_LONGEST_SETTING_BYTES = 131_071
"""Of name and value: Linux passes no longer one to a process (https://man7.org/linux/man-pages/man2/execve.2.html)."""


class SiteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PUT /sites/{name}`."""

    app: str
    settings: dict[str, str] = {}
    workers: int | None = None
    python: str | None = None
    lease_seconds: float | None = None


class WorkerView(msgspec.Struct, frozen=True):
    """A worker process of a site, and how many invocations it runs."""

    pid: int
    running: int


class FunctionView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function of a site: its trigger binding, and the URL that runs it, if any."""

    name: str
    trigger: str
    url: str | None = None


class SiteView(msgspec.Struct, frozen=True, rename="camel"):
    """A running site: its host process, that host's port on loopback, the log, and the default host key."""

    name: str
    app: str
    pid: int
    port: int
    workers: list[WorkerView]
    log: str
    host_key: str
    functions: list[FunctionView]


class SiteControl:
    """`/sites` on the sandbox's own surface; `create_group` creates the resource group of a site if it is missing."""

    def __init__(self, sites: Sites, create_group: Callable[[str], object]) -> None:
        self._sites, self._create_group = sites, create_group

    def mount(self, local: Surface) -> None:
        """Register the operations."""
        local.operation("GET", "/sites")(self._list)
        local.operation("GET", "/sites/{name}")(self._get)
        local.operation("PUT", "/sites/{name}")(self._put)
        local.operation("DELETE", "/sites/{name}")(self._delete)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The sites."""
        return json_answer(
            [{"name": r.name, "app": r.app, "running": self._is_up(r.name)} for r in self._sites.records()]
        )

    async def _get(self, call: Call) -> web.StreamResponse:
        """One site: its processes, functions and URLs, keys included, for the operator of this machine."""
        return json_answer(await self._view(call.params["name"]))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Start a site, replacing an existing one of the same name; its resource group is created with it."""
        name, body = call.params["name"], await call.body(SiteBody)
        if not _NAME.fullmatch(name):
            raise Fault(400, "InvalidSiteName", f"'{name}' is no name for a site (1 to 60 of a-z, 0-9 and -).")
        app = Path(body.app)
        if not app.is_absolute() or not (app / "function_app.py").is_file():
            raise Fault(400, "InvalidApp", f"'{body.app}' is no absolute path of a folder with a function_app.py.")
        check_settings(body.settings)
        record = SiteRecord(name=name, **msgspec.structs.asdict(body))
        await self._sites.put(record)
        self._create_group(record.group)
        return json_answer(await self._view(name))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Stop and remove a site."""
        await self._sites.delete(call.params["name"])
        return web.Response(status=204)

    async def _view(self, name: str) -> SiteView:
        record, keys = self._sites.require(name), self._sites.keys(name)
        functions = await self._sites.ask(name, "/admin/functions")
        workers = await self._sites.ask(name, "/admin/host/workers")
        process = self._sites.process(name)
        assert process
        assert process.endpoint
        return SiteView(
            name=record.name,
            app=record.app,
            pid=process.endpoint.pid,
            port=process.endpoint.port,
            workers=msgspec.convert(workers, list[WorkerView]),
            log=str(process.log),
            host_key=keys.host["default"],
            functions=[_function(record.name, function, keys) for function in functions],
        )

    def _is_up(self, name: str) -> bool:
        process = self._sites.process(name)
        return process is not None and process.endpoint is not None


def check_settings(settings: Mapping[str, str]) -> None:
    """Refuse settings that would change how the app's process starts, or that no process can have.

    Raises:
        Fault: 400 InvalidSetting that names the first one.
    """
    if (refused := next((one for one in settings if not _SETTING.fullmatch(one)), None)) is not None:
        problem = f"{refused!r} is no name for a setting, or one that changes how the app's process starts."
        raise Fault(400, "InvalidSetting", problem)
    for name, value in settings.items():
        if "\0" in value or len(f"{name}={value}".encode(errors="replace")) > _LONGEST_SETTING_BYTES:
            problem = f"The value of {name} has a zero character, or more than {_LONGEST_SETTING_BYTES} bytes."
            raise Fault(400, "InvalidSetting", problem)


def _function(site: str, function: Mapping[str, Any], keys: Keys) -> FunctionView:
    name, trigger = function["name"], function["config"]["bindings"][0]
    base, url = f"https://{site}.azurewebsites.net", None
    if function.get("invokePath"):
        code = {"anonymous": "", "admin": f"?code={keys.master}"}.get(
            trigger["authLevel"], f"?code={keys.of(name)['default']}"
        )
        url = f"{base}{function['invokePath']}{code}"
    elif trigger["type"] == "eventGridTrigger":
        url = f"{base}/runtime/webhooks/eventgrid?functionName={name}&code={keys.system[EVENT_GRID_KEY]}"
    return FunctionView(name, trigger["type"], url)
