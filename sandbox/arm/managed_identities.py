"""User-assigned managed identities: a resource with a client id and a principal id of its own.

Source: https://learn.microsoft.com/rest/api/managedidentity/user-assigned-identities
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.query import only
from sandbox.arm.surface import ResourceId, ResourceIndex
from sandbox.instance import TENANT
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

_PROVIDER, _KIND = "Microsoft.ManagedIdentity", "userAssignedIdentities"
_TYPE = f"{_PROVIDER}/{_KIND}"
_VERSIONS = (
    "2018-11-30",
    "2022-01-31-preview",
    "2023-01-31",
    "2023-07-31-preview",
    "2024-11-30",
    "2025-01-31-preview",
    "2025-05-31-preview",
)
_GROUP = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{_TYPE}"


class ManagedIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A user-assigned managed identity as it is kept."""

    id: str
    location: str
    tags: dict[str, str]
    client_id: str
    principal_id: str


class _Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    location: str = ""
    tags: dict[str, str] | None = None
    id: str = ""
    name: str = ""
    type: str = ""


class ManagedIdentities:
    """The user-assigned managed identities of the subscription."""

    def __init__(self, file: Path, index: ResourceIndex) -> None:
        self._identities = Collection(file, ManagedIdentity)
        index.register(_TYPE, self._answers)

    def principal_of(self, client_id: str) -> str | None:
        """The principal id that a client id belongs to, or None where no identity has it."""
        found = (item.principal_id for item in self._identities.values() if item.client_id == client_id.lower())
        return next(found, None)

    def find(self, resource_id: str) -> ManagedIdentity | None:
        """The identity of an ARM id, or None."""
        return self._identities.get(resource_id)

    async def delete_group(self, group: str) -> None:
        """Delete the identities of a resource group."""
        for identity in self._identities.values():
            if ResourceId.parse(identity.id).group.lower() == group.lower():
                self._identities.remove(identity.id)

    def mount(self, arm: Surface) -> None:
        """Add the identity operations to the ARM surface."""
        subscription = f"/subscriptions/{{subscription}}/providers/{_TYPE}"
        arm.operation("GET", subscription, versions=_VERSIONS)(self._list)
        arm.operation("GET", _GROUP, versions=_VERSIONS)(self._list)
        arm.operation("PUT", _GROUP + "/{name}", versions=_VERSIONS)(self._put)
        arm.operation("PATCH", _GROUP + "/{name}", versions=_VERSIONS)(self._patch)
        arm.operation("GET", _GROUP + "/{name}", versions=_VERSIONS)(self._get)
        arm.operation("DELETE", _GROUP + "/{name}", versions=_VERSIONS)(self._delete)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The identities of the subscription, or of one resource group."""
        only(call)
        group = call.params.get("group", "").lower()
        answers = self._answers()
        return json_answer(
            {"value": [item for item in answers if not group or ResourceId.parse(item["id"]).group.lower() == group]}
        )

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create an identity, or replace its tags."""
        body, key = await call.body(_Body), _id(call)
        old = self._identities.get(key)
        if not old and not body.location:
            raise Fault(400, "LocationRequired", "The location property is required for this definition.")
        identity = old or ManagedIdentity(
            id=key, location=body.location, tags={}, client_id=str(uuid.uuid4()), principal_id=str(uuid.uuid4())
        )
        identity = msgspec.structs.replace(identity, tags=body.tags or {})
        return json_answer(_answer(self._identities.put(key, identity)), 200 if old else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change an identity's tags."""
        body, identity = await call.body(_Body), self._require(call)
        if body.tags is not None:
            identity = self._identities.put(identity.id, msgspec.structs.replace(identity, tags=body.tags))
        return json_answer(_answer(identity))

    async def _get(self, call: Call) -> web.StreamResponse:
        """One identity."""
        only(call)
        return json_answer(_answer(self._require(call)))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Delete an identity."""
        return web.Response(status=200 if self._identities.remove(_id(call)) else 204)

    def _require(self, call: Call) -> ManagedIdentity:
        identity = self._identities.get(_id(call))
        if identity is None:
            message = f"The Resource '{_TYPE}/{call.params['name']}' was not found."
            raise Fault(404, "ResourceNotFound", message)
        return identity

    def _answers(self) -> Iterable[dict[str, Any]]:
        return [_answer(identity) for identity in self._identities.values()]


def _id(call: Call) -> str:
    return str(ResourceId(call.params["group"], _PROVIDER, _KIND, call.params["name"]))


def _answer(identity: ManagedIdentity) -> dict[str, Any]:
    return {
        "id": identity.id,
        "name": ResourceId.parse(identity.id).name,
        "type": _TYPE,
        "location": identity.location,
        "tags": identity.tags,
        "properties": {
            "tenantId": TENANT,
            "clientId": identity.client_id,
            "principalId": identity.principal_id,
        },
    }
