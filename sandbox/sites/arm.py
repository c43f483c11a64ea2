"""Function apps on `management.azure.com`: what `az functionapp` and Event Grid destinations read and change.

Source: https://learn.microsoft.com/rest/api/appservice/web-apps
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.arm.body import ResourceBody
from sandbox.arm.surface import ResourceIndex
from sandbox.instance import LOCATION, SUBSCRIPTION
from sandbox.sites.control import check_settings
from sandbox.sites.process import SiteRecord
from sandbox.sites.service import Sites
from sandbox.web import Call, Fault, Surface, json_answer

_VERSIONS = ("2022-03-01", "2022-09-01", "2023-01-01", "2023-12-01", "2024-04-01", "2024-11-01", "2025-05-01")
_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Web/sites"
_SITE = _GROUP + "/{name}"
_OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_STACKS = "/providers/Microsoft.Web/locations/{location}/functionAppStacks"


class _Settings(ResourceBody, frozen=True, kw_only=True):
    kind: str | None = None
    location: str | None = None
    properties: dict[str, str]


class SitesControlPlane:
    """Sites, their functions, keys and settings, and their restart.

    Sites are created with the sandbox's own `/sites`.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def mount(self, arm: Surface, index: ResourceIndex) -> None:
        """Register the operations, and add the sites to the list of resources."""
        arm.operation("GET", _GROUP.replace("/resourceGroups/{group}", ""), versions=_VERSIONS)(self._list)
        arm.operation("GET", _GROUP, versions=_VERSIONS)(self._list)
        arm.operation("GET", _SITE, versions=_VERSIONS)(self._get)
        arm.operation("POST", _SITE + "/restart", versions=_VERSIONS)(self._restart)
        arm.operation("POST", _SITE + "/config/appsettings/list", versions=_VERSIONS)(self._list_settings)
        arm.operation("PUT", _SITE + "/config/appsettings", versions=_VERSIONS)(self._put_settings)
        arm.operation("GET", _STACKS, versions=("2020-10-01",))(self._stacks)
        arm.operation("GET", _SITE + "/functions", versions=_VERSIONS)(self._list_functions)
        arm.operation("GET", _SITE + "/functions/{function}", versions=_VERSIONS)(self._get_function)
        arm.operation("POST", _SITE + "/host/default/listKeys", versions=_VERSIONS)(self._host_keys)
        arm.operation("POST", _SITE + "/functions/{function}/listKeys", versions=_VERSIONS)(self._function_keys)
        index.register("Microsoft.Web/sites", lambda: [_site(record) for record in self._sites.records()])

    async def _list(self, call: Call) -> web.StreamResponse:
        """The sites of the subscription, or of a resource group."""
        group = call.params.get("group", "").lower()
        found = [record for record in self._sites.records() if group in ("", record.group.lower())]
        return json_answer({"value": [_site(record) for record in found]})

    async def _restart(self, call: Call) -> web.StreamResponse:
        """Restart a site: stops its processes and starts new ones."""
        await self._sites.restart(self._require(call).name)
        return web.Response(status=200)

    async def _list_settings(self, call: Call) -> web.StreamResponse:
        """The application settings of a site, with their values."""
        return json_answer(_settings(self._require(call)))

    async def _put_settings(self, call: Call) -> web.StreamResponse:
        """Replace the application settings of a site, which restarts it. They stay, even if it does not start then."""
        record, body = self._require(call), await call.body(_Settings)
        check_settings(body.properties)
        return json_answer(_settings(await self._sites.restart(record.name, body.properties)))

    async def _stacks(self, call: Call) -> web.StreamResponse:
        """The runtimes of function apps: Python, in the version that the sandbox runs on."""
        return json_answer({"value": [_python_stack()]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One site."""
        return json_answer(_site(self._require(call)))

    async def _list_functions(self, call: Call) -> web.StreamResponse:
        """A site's functions."""
        record = self._require(call)
        functions = await self._sites.ask(record.name, "/admin/functions")
        return json_answer({"value": [_function(record, function) for function in functions]})

    async def _get_function(self, call: Call) -> web.StreamResponse:
        """One function of a site."""
        record = self._require(call)
        return json_answer(_function(record, await self._one(record, call)))

    async def _host_keys(self, call: Call) -> web.StreamResponse:
        """A site's master key, host keys and system keys."""
        keys = self._sites.keys(self._require(call).name)
        return json_answer({"masterKey": keys.master, "functionKeys": keys.host, "systemKeys": keys.system})

    async def _function_keys(self, call: Call) -> web.StreamResponse:
        """The keys of one function."""
        record = self._require(call)
        function = await self._one(record, call)
        return json_answer(self._sites.keys(record.name).of(function["name"]))

    async def _one(self, record: SiteRecord, call: Call) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await self._sites.ask(record.name, f"/admin/functions/{call.params['function']}")
        return answer

    def _require(self, call: Call) -> SiteRecord:
        record = self._sites.require(call.params["name"])
        if record.group.lower() != call.params["group"].lower():
            raise Fault(404, "ResourceNotFound", f"The group '{call.params['group']}' has no site '{record.name}'.")
        return record


def _id(record: SiteRecord) -> str:
    scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{record.group}"
    return f"{scope}/providers/Microsoft.Web/sites/{record.name}"


def _site(record: SiteRecord) -> dict[str, Any]:
    host = f"{record.name}.azurewebsites.net"
    return {
        "id": _id(record),
        "name": record.name,
        "type": "Microsoft.Web/sites",
        "kind": "functionapp,linux",
        "location": LOCATION,
        "properties": {
            "state": "Running",
            "enabled": True,
            "hostNames": [host],
            "enabledHostNames": [host],
            "defaultHostName": host,
            "resourceGroup": record.group,
            "serverFarmId": _id(record).replace("/sites/", "/serverfarms/"),
            "sku": "FlexConsumption",
            "httpsOnly": True,
            "reserved": True,
            "functionAppConfig": {"runtime": {"name": "python", "version": _version(record)}},
        },
    }


def _settings(record: SiteRecord) -> dict[str, Any]:
    return {
        "id": f"{_id(record)}/config/appsettings",
        "name": "appsettings",
        "type": "Microsoft.Web/sites/config",
        "location": LOCATION,
        "properties": record.settings,
    }


def _version(record: SiteRecord) -> str:
    """The version of Python that a site runs on: that of the interpreter's name if it has one, else the sandbox's."""
    named = re.search(r"\d+\.\d+$", record.python or "")
    return named[0] if named else _OWN_VERSION


def _python_stack() -> dict[str, Any]:
    """The stack in the form that `az functionapp` reads (az 2.91, `_FlexFunctionAppStackRuntimeHelper`)."""
    runtime = {
        "runtimeVersion": f"Python|{_OWN_VERSION}",
        "appInsightsSettings": {"isSupported": False},
        "gitHubActionSettings": {"isSupported": False},
        "appSettingsDictionary": {"FUNCTIONS_WORKER_RUNTIME": "python"},
        "isDefault": True,
        "Sku": [{"skuCode": "FC1"}],
    }
    settings = {"linuxRuntimeSettings": runtime}
    minor = {"displayText": f"Python {_OWN_VERSION}", "value": _OWN_VERSION, "stackSettings": settings}
    major = {"displayText": "Python 3", "value": "3", "minorVersions": [minor]}
    properties = {"displayText": "Python", "value": "python", "majorVersions": [major]}
    return {"id": None, "name": "python", "type": "Microsoft.Web/functionAppStacks", "properties": properties}


def _function(record: SiteRecord, function: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{_id(record)}/functions/{function['name']}",
        "name": f"{record.name}/{function['name']}",
        "type": "Microsoft.Web/sites/functions",
        "location": LOCATION,
        "properties": {
            "name": function["name"],
            "config": function["config"],
            "isDisabled": function["isDisabled"],
            "language": "python",
        },
    }
