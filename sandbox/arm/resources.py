"""Generic lists of resources of all providers; `az` uses them to find a registry or a vault by name.

Source: https://learn.microsoft.com/rest/api/resources/resources/list
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from sandbox.arm.groups import RESOURCE_VERSIONS, ResourceGroups
from sandbox.arm.query import only, parse_filter
from sandbox.arm.surface import ResourceIndex
from sandbox.web import Call, Fault, Surface, json_answer

_FILTERS = ("resourceType", "name", "resourceGroup", "location")
_EXPANSIONS = {"createdTime", "changedTime", "provisioningState"}
_SHOWN = ("id", "name", "type", "location", "tags", "sku", "kind", "identity", "managedBy")


def mount_resources(arm: Surface, index: ResourceIndex, groups: ResourceGroups) -> None:
    """Add the resource lists of a subscription and of a group to the ARM surface."""

    @arm.operation("GET", "/subscriptions/{subscription}/resources", versions=RESOURCE_VERSIONS)
    async def list_resources(call: Call) -> web.StreamResponse:
        """The resources of the subscription."""
        return json_answer({"value": _list(call, index, None)})

    @arm.operation("GET", "/subscriptions/{subscription}/resourceGroups/{group}/resources", versions=RESOURCE_VERSIONS)
    async def list_group_resources(call: Call) -> web.StreamResponse:
        """The resources of one resource group."""
        group = groups.require(call.params["group"])
        return json_answer({"value": _list(call, index, group.name)})


def _list(call: Call, index: ResourceIndex, group: str | None) -> list[dict[str, Any]]:
    only(call, "$filter", "$top", "$expand")
    clauses = parse_filter(call.query.get("$filter", ""), _FILTERS)
    found = index.list(clauses.get("resourceType"), group or clauses.get("resourceGroup"))
    shown = [_short(resource, _extra(call)) for resource in found if _matches(resource, clauses)]
    top = call.query.get("$top", "")
    return shown[: int(top)] if top.isdigit() else shown


def _matches(resource: Mapping[str, Any], clauses: Mapping[str, str]) -> bool:
    return all(str(resource[key]).lower() == clauses[key].lower() for key in ("name", "location") if key in clauses)


def _extra(call: Call) -> dict[str, Any]:
    """The fields added by `$expand`. A sandbox lists no resource before it is complete, and stores no times."""
    expansions = {name for name in call.query.get("$expand", "").split(",") if name}
    if unknown := expansions - _EXPANSIONS:
        message = f"The sandbox does not know the expansions {sorted(unknown)}. Known: {sorted(_EXPANSIONS)}."
        raise Fault(400, "InvalidQueryParameter", message)
    return {"provisioningState": "Succeeded"} if "provisioningState" in expansions else {}


def _short(resource: Mapping[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    return {field: resource[field] for field in _SHOWN if resource.get(field) is not None} | extra
