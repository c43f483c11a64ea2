"""Vaults in ARM: request bodies, their effect on a vault, and response bodies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sandbox.arm.body import Body, ResourceBody, convert, region
from sandbox.instance import SUBSCRIPTION
from sandbox.keyvault.model import AccessPolicy, Vault, VaultProperties
from sandbox.keyvault.records import VAULT_TYPE, vault_id
from sandbox.web import Fault

# From this api-version on, a new vault uses RBAC unless the request specifies otherwise.
# Source: https://learn.microsoft.com/azure/key-vault/general/access-control-default
RBAC_BY_DEFAULT_FROM = "2026-02-01"


_IGNORED = frozenset(("vaultUri", "provisioningState", "hsmPoolResourceId", "createMode"))
"""Read-only properties, which clients send back unchanged, and `createMode`, which only concerns the request."""


class VaultBody(ResourceBody, frozen=True):
    """A vault in PUT and PATCH; properties that are omitted are not changed."""

    location: str = ""
    tags: dict[str, str] | None = None
    properties: dict[str, Any] = msgspec.field(default_factory=dict)


class _Policies(Body, frozen=True):
    access_policies: list[AccessPolicy]


class PoliciesBody(ResourceBody, frozen=True, kw_only=True):
    """Access policies to add, replace or remove."""

    properties: _Policies
    location: str | None = None


class NameBody(Body, frozen=True):
    """A vault name whose availability is checked."""

    name: str
    type: str = VAULT_TYPE


def vault_answer(vault: Vault) -> dict[str, Any]:
    """A vault's ARM body."""
    properties = {name: value for name, value in msgspec.to_builtins(vault.properties).items() if value is not None}
    return {
        "id": vault.id,
        "name": vault.name,
        "type": VAULT_TYPE,
        "location": vault.location,
        "tags": vault.tags,
        "properties": properties,
    }


def new_vault(group: str, name: str, body: VaultBody, version: str, old: Vault | None) -> Vault:
    """The vault that a PUT of that api-version requests, in place of `old`.

    Raises:
        Fault: 400 without a location, or if soft delete would be disabled.
    """
    location = region(body.location)
    if body.properties.get("enableSoftDelete") is False:
        raise Fault(400, "BadRequest", "The property 'enableSoftDelete' cannot be set to false.")
    rbac = old.properties.enable_rbac_authorization if old else version >= RBAC_BY_DEFAULT_FROM
    base = VaultProperties(vault_uri=f"https://{name.lower()}.vault.azure.net/", enable_rbac_authorization=rbac)
    properties = merged(base, body.properties)
    return Vault(id=vault_id(group, name), name=name, location=location, tags=body.tags or {}, properties=properties)


def merged(base: VaultProperties, requested: Mapping[str, Any]) -> VaultProperties:
    """The settings after a change; properties that are absent or null are not changed.

    Raises:
        Fault: 400 that names the unknown or invalid property.
    """
    given = {name: value for name, value in requested.items() if value is not None and name not in _IGNORED}
    return convert(msgspec.to_builtins(base) | given, VaultProperties, "vault")


def deleted_answer(vault: Vault) -> dict[str, Any]:
    """A soft-deleted vault's ARM body."""
    deleted = datetime.fromtimestamp(vault.deleted_at or 0, UTC)
    purge = deleted + timedelta(days=vault.properties.soft_delete_retention_in_days)
    scope = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/{vault.location}"
    return {
        "id": f"{scope}/deletedVaults/{vault.name}",
        "name": vault.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": {
            "vaultId": vault.id,
            "location": vault.location,
            "deletionDate": deleted.isoformat(),
            "scheduledPurgeDate": purge.isoformat(),
            "tags": vault.tags,
            "purgeProtectionEnabled": bool(vault.properties.enable_purge_protection),
        },
    }
