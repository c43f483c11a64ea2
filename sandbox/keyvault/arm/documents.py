"""Vaults in ARM's words: the bodies of requests, what they make of a vault, and the answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from sandbox.instance import SUBSCRIPTION
from sandbox.keyvault.model import AccessPolicy, PropertiesBody, Vault, VaultProperties
from sandbox.keyvault.records import VAULT_TYPE, vault_id
from sandbox.web import Fault

# From this one on a new vault is under RBAC unless it says otherwise.
# Source: https://learn.microsoft.com/azure/key-vault/general/access-control-default
RBAC_BY_DEFAULT_FROM = "2026-02-01"


class VaultBody(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A vault as PUT and PATCH send it."""

    location: str = ""
    tags: dict[str, str] | None = None
    properties: PropertiesBody = msgspec.field(default_factory=PropertiesBody)
    id: str = ""
    name: str = ""
    type: str = ""


class _Policies(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    access_policies: list[AccessPolicy]


class PoliciesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Access policies to add, replace or remove."""

    properties: _Policies
    id: str = ""
    name: str = ""
    type: str = ""
    location: str = ""


class NameBody(msgspec.Struct, forbid_unknown_fields=True):
    """A name that a vault might have."""

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
    """The vault that a PUT of that api-version asks for, in the place of `old`.

    Raises:
        Fault: 400 without a location, or where soft delete is to be off.
    """
    if not body.location:
        raise Fault(400, "LocationRequired", "The location property is required for this definition.")
    if body.properties.enable_soft_delete is False:
        raise Fault(400, "BadRequest", "The property 'enableSoftDelete' cannot be set to false.")
    rbac = old.properties.enable_rbac_authorization if old else version >= RBAC_BY_DEFAULT_FROM
    base = VaultProperties(vault_uri=f"https://{name.lower()}.vault.azure.net/", enable_rbac_authorization=rbac)
    location = body.location.lower().replace(" ", "")
    properties = merged(base, body.properties)
    return Vault(id=vault_id(group, name), name=name, location=location, tags=body.tags or {}, properties=properties)


def merged(base: VaultProperties, asked: PropertiesBody) -> VaultProperties:
    """The settings after a change; what is not asked for stays."""
    read_only = {"vault_uri", "provisioning_state", "hsm_pool_resource_id", "create_mode"}
    given = msgspec.structs.asdict(asked)
    changed = {name: value for name, value in given.items() if value is not None and name not in read_only}
    return msgspec.structs.replace(base, **changed)


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
