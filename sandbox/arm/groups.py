"""Resource groups: they contain all other resources, which are deleted with their group.

Source: https://learn.microsoft.com/rest/api/resources/resource-groups
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.body import ResourceBody, region
from sandbox.arm.operations import Operations
from sandbox.arm.query import only, parse_filter
from sandbox.instance import LOCATION, SUBSCRIPTION
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

log = logging.getLogger(__name__)

RESOURCE_VERSIONS = (
    "2015-11-01",
    "2019-10-01",
    "2020-06-01",
    "2020-10-01",
    "2021-04-01",
    "2022-09-01",
    "2023-07-01",
    "2024-03-01",
    "2024-07-01",
    "2024-11-01",
    "2025-03-01",
    "2025-04-01",
)
_NAME = re.compile(r"[-\w.()]{0,89}[-\w()]")
_IN_A_GROUP = re.compile(r"/subscriptions/[^/]+/resourceGroups/(?P<group>[^/]+)/providers/", re.IGNORECASE)
_PATH = "/subscriptions/{subscription}/resourceGroups/{group}"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A resource group, as stored."""

    name: str
    location: str
    tags: dict[str, str]
    managed_by: str | None = None


class _GroupBody(ResourceBody, frozen=True):
    location: str = ""
    tags: dict[str, str] | None = None
    managed_by: str | None = None
    properties: dict[str, Any] | None = None


class ResourceGroups:
    """The resource groups of the subscription.

    `on_delete` are the callbacks of the resource providers for a deletion: each is called with the group's name and
    deletes its resources in it.
    """

    def __init__(self, file: Path) -> None:
        self._groups = Collection(file, Group)
        self.on_delete: list[Callable[[str], Awaitable[None]]] = []

    def create(self, name: str, location: str = LOCATION) -> Group:
        """The group with that name, created if missing (to seed a sandbox)."""
        return self._groups.get(name) or self._groups.put(name, Group(name=name, location=location, tags={}))

    def require(self, name: str) -> Group:
        """The group with that name.

        Raises:
            Fault: 404 ResourceGroupNotFound.
        """
        group = self._groups.get(name)
        if group is None:
            raise Fault(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        return group

    def check_path(self, path: str) -> None:
        """Refuse a path below a group that does not exist, as ARM does before it calls a resource provider.

        Raises:
            Fault: 404 ResourceGroupNotFound.
        """
        match = _IN_A_GROUP.match(path)
        if match:
            self.require(match["group"])

    def mount(self, arm: Surface, operations: Operations) -> None:
        """Add the resource group operations to the ARM surface."""
        arm.operation("GET", _PATH.removesuffix("/{group}"), versions=RESOURCE_VERSIONS)(self._list)
        arm.operation("PUT", _PATH, versions=RESOURCE_VERSIONS)(self._put)
        arm.operation("GET", _PATH, versions=RESOURCE_VERSIONS)(self._get)
        arm.operation("HEAD", _PATH, versions=RESOURCE_VERSIONS)(self._head)
        arm.operation("PATCH", _PATH, versions=RESOURCE_VERSIONS)(self._patch)

        @arm.operation("DELETE", _PATH, versions=RESOURCE_VERSIONS)
        async def delete_group(call: Call) -> web.StreamResponse:
            """Delete a resource group with everything in it."""
            only(call)
            group = self.require(call.params["group"])
            return operations.accept(call, "Microsoft.Resources", self._delete(group.name))

    async def _list(self, call: Call) -> web.StreamResponse:
        """The resource groups of the subscription, all or those with a tag (`$filter`)."""
        only(call, "$filter")
        wanted = parse_filter(call.query.get("$filter", ""), ("tagName", "tagValue"))
        return json_answer({"value": [_answer(group) for group in self._groups.values() if _is_tagged(group, wanted)]})

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a resource group, or replace its tags."""
        name, body = call.params["group"], await call.body(_GroupBody)
        if not _NAME.fullmatch(name):
            message = f"The resource group name '{name}' is not one: up to 90 letters, digits and -_.(), no dot last."
            raise Fault(400, "InvalidResourceGroup", message)
        location = region(body.location)
        old = self._groups.get(name)
        if old and old.location != location:
            message = (
                f"Invalid resource group location '{location}'. "
                f"The Resource group already exists in location '{old.location}'."
            )
            raise Fault(409, "InvalidResourceGroupLocation", message)
        stored_name = old.name if old else name
        group = Group(name=stored_name, location=location, tags=body.tags or {}, managed_by=body.managed_by)
        return json_answer(_answer(self._groups.put(name, group)), 200 if old else 201)

    async def _get(self, call: Call) -> web.StreamResponse:
        """One resource group."""
        only(call)
        return json_answer(_answer(self.require(call.params["group"])))

    async def _head(self, call: Call) -> web.StreamResponse:
        """Whether a resource group exists."""
        self.require(call.params["group"])
        return web.Response(status=204)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a resource group's tags."""
        group, body = self.require(call.params["group"]), await call.body(_GroupBody)
        if body.tags is not None:
            group = self._groups.put(group.name, msgspec.structs.replace(group, tags=body.tags))
        return json_answer(_answer(group))

    async def _delete(self, name: str) -> None:
        for delete in self.on_delete:
            await delete(name)
        self._groups.remove(name)
        log.info("Deleted resource group %s", name)


def _is_tagged(group: Group, wanted: Mapping[str, str]) -> bool:
    """Whether a group has the tag of a filter, with its value if that is given. Names match without regard to case."""
    tags = {name.lower(): value for name, value in group.tags.items()}
    value = tags.get(wanted.get("tagName", "").lower())
    return not wanted or (value is not None and wanted.get("tagValue", value) == value)


def _answer(group: Group) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group.name}",
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "managedBy": group.managed_by,
        "tags": group.tags,
        "properties": {"provisioningState": "Succeeded"},
    }
