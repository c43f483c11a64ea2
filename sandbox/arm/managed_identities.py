"""User-assigned managed identities: resources with a client id and a principal id.

Source: https://learn.microsoft.com/rest/api/managedidentity/user-assigned-identities
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from sandbox.arm.body import ResourceBody, region
from sandbox.arm.query import only
from sandbox.arm.resource import Record, Resources
from sandbox.arm.surface import ResourceIndex
from sandbox.instance import TENANT
from sandbox.web import Call


class ManagedIdentity(Record, frozen=True, kw_only=True):
    """A user-assigned managed identity, as stored."""

    client_id: str
    principal_id: str

    def answer(self) -> dict[str, Any]:
        """The identity as returned by ARM."""
        properties = {"tenantId": TENANT, "clientId": self.client_id, "principalId": self.principal_id}
        return super().answer() | {"properties": properties}


class _Body(ResourceBody, frozen=True):
    location: str = ""
    tags: dict[str, str] | None = None


class ManagedIdentities(Resources[ManagedIdentity]):
    """The user-assigned managed identities of the subscription."""

    provider, kind, noun = "Microsoft.ManagedIdentity", "userAssignedIdentities", "managed identity"
    versions = (
        "2018-11-30",
        "2022-01-31-preview",
        "2023-01-31",
        "2023-07-31-preview",
        "2024-11-30",
        "2025-01-31-preview",
        "2025-05-31-preview",
    )

    def __init__(self, file: Path, index: ResourceIndex) -> None:
        super().__init__(file, ManagedIdentity)
        index.register(f"{self.provider}/{self.kind}", self.responses)

    def principal_of(self, client_id: str) -> str | None:
        """The principal id for a client id, or None if no identity has it."""
        found = (item.principal_id for item in self._records.values() if item.client_id == client_id.lower())
        return next(found, None)

    async def _make(self, call: Call, old: ManagedIdentity | None) -> ManagedIdentity:
        """Create an identity, or replace its tags."""
        body = await call.body(_Body)
        if old:
            return replace(old, tags=body.tags or {})
        return ManagedIdentity(
            id=self._id(call),
            location=region(body.location),
            tags=body.tags or {},
            client_id=str(uuid.uuid4()),
            principal_id=str(uuid.uuid4()),
        )

    async def _change(self, call: Call) -> dict[str, Any]:
        """Change an identity's tags."""
        return {"tags": (await call.body(_Body)).tags}

    async def _list(self, call: Call) -> web.StreamResponse:
        only(call)
        return await super()._list(call)

    async def _get(self, call: Call) -> web.StreamResponse:
        only(call)
        return await super()._get(call)
