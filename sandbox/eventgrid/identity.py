"""The managed identity of a topic, as ARM spells it."""

from __future__ import annotations

import uuid
from typing import Any, Literal

import msgspec

from sandbox.instance import TENANT

_NAMESPACE = uuid.UUID("6f1d1c5e-6a0c-4a6f-9a51-0d6f5b8b6a11")


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Which identities a topic has; `principalId` and `tenantId` are read only and ignored."""

    type: Literal["None", "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"] = "None"
    user_assigned_identities: dict[str, dict[str, str]] | None = None
    principal_id: str | None = None
    tenant_id: str | None = None


def shown_identity(identity: Identity | None, resource_id: str) -> dict[str, Any]:
    """The field `identity` of a resource's answer; no field where it has none."""
    if identity is None or identity.type == "None":
        return {}
    body: dict[str, Any] = {"type": identity.type}
    if identity.type.startswith("SystemAssigned"):
        body |= {"principalId": str(uuid.uuid5(_NAMESPACE, resource_id.lower())), "tenantId": TENANT}
    if identity.user_assigned_identities:
        body["userAssignedIdentities"] = identity.user_assigned_identities
    return {"identity": body}
