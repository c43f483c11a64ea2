"""Key Vault's management operations on `management.azure.com`: vaults, access policies, deleted vaults.

Source: https://learn.microsoft.com/rest/api/keyvault/keyvault/vaults
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.query import only
from sandbox.instance import SUBSCRIPTION
from sandbox.keyvault.model import AccessPolicy, PropertiesBody, Vault, VaultProperties
from sandbox.keyvault.policies import merge_policies
from sandbox.keyvault.records import VAULT_TYPE, VaultRecords, vault_id
from sandbox.keyvault.secrets import SecretStore
from sandbox.web import Call, Fault, Surface, json_answer

# From this one on a new vault is under RBAC unless it says otherwise.
# Source: https://learn.microsoft.com/azure/key-vault/general/access-control-default
_RBAC_BY_DEFAULT_FROM = "2026-02-01"
_VERSIONS = (
    "2019-09-01",
    "2021-10-01",
    "2022-07-01",
    "2022-11-01",
    "2023-02-01",
    "2023-07-01",
    "2024-11-01",
    "2024-12-01-preview",
    "2025-05-01",
    _RBAC_BY_DEFAULT_FROM,
)
_NAME = re.compile(r"(?=.{3,24}$)[A-Za-z](?:-?[A-Za-z0-9])*")
_SUBSCRIPTION = "/subscriptions/{subscription}/providers/Microsoft.KeyVault"
_GROUP = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{VAULT_TYPE}"
_VAULT = _GROUP + "/{name}"


class _Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    location: str = ""
    tags: dict[str, str] | None = None
    properties: PropertiesBody = msgspec.field(default_factory=PropertiesBody)
    id: str = ""
    name: str = ""
    type: str = ""


class _Policies(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    access_policies: list[AccessPolicy]


class _PoliciesBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    properties: _Policies
    id: str = ""
    name: str = ""
    type: str = ""
    location: str = ""


class _NameBody(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    type: str = VAULT_TYPE


class VaultManagement:
    """The operations on vaults."""

    def __init__(self, vaults: VaultRecords, secrets: SecretStore) -> None:
        self._vaults, self._secrets = vaults, secrets

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        deleted = _SUBSCRIPTION + "/locations/{location}/deletedVaults/{name}"
        for method, pattern, handler in (
            ("GET", f"{_SUBSCRIPTION}/vaults", self._list),
            ("GET", _GROUP, self._list),
            ("PUT", _VAULT, self._put),
            ("PATCH", _VAULT, self._patch),
            ("GET", _VAULT, self._get),
            ("DELETE", _VAULT, self._delete),
            ("PUT", _VAULT + "/accessPolicies/{kind}", self._change_policies),
            ("POST", f"{_SUBSCRIPTION}/checkNameAvailability", self._check_name),
            ("GET", f"{_SUBSCRIPTION}/deletedVaults", self._list_deleted),
            ("GET", deleted, self._get_deleted),
            ("POST", f"{deleted}/purge", self._purge),
        ):
            arm.operation(method, pattern, versions=_VERSIONS)(handler)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The vaults of the subscription, or of one resource group."""
        only(call, "$top")
        return json_answer({"value": [answer(vault) for vault in self._vaults.all(call.params.get("group", ""))]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One vault."""
        only(call)
        return json_answer(answer(self._vaults.in_group(call.params["group"], call.params["name"])))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a vault, replace its settings, or (createMode recover) bring a deleted one back."""
        group, name, body = call.params["group"], call.params["name"], await call.body(_Body)
        old = self._vaults.find(name)
        if not _NAME.fullmatch(name):
            raise Fault(400, "VaultNameNotValid", f"The vault name '{name}' is invalid.")
        if old and old.id.lower() != vault_id(group, name).lower():
            raise Fault(409, "VaultAlreadyExists", f"The vault name '{name}' is already in use.")
        if body.properties.create_mode == "recover":
            return json_answer(
                answer(self._vaults.put(msgspec.structs.replace(self._vaults.deleted(name), deleted_at=None)))
            )
        if old and old.deleted_at:
            message = (
                f"A vault with the same name '{name}' already exists in deleted state. You need to either recover "
                "or purge existing key vault."
            )
            raise Fault(409, "ConflictError", message)
        vault = self._vaults.put(_new(group, name, body, call.version, old))
        return json_answer(answer(vault), 200 if old else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a vault's settings or tags."""
        vault, body = self._vaults.in_group(call.params["group"], call.params["name"]), await call.body(_Body)
        tags = vault.tags if body.tags is None else body.tags
        changed = msgspec.structs.replace(vault, tags=tags, properties=_merge(vault.properties, body.properties))
        return json_answer(answer(self._vaults.put(changed)))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Soft-delete a vault."""
        vault = self._vaults.find(call.params["name"])
        if vault is None or vault.deleted_at:
            return web.Response(status=204)
        self._vaults.delete(self._vaults.in_group(call.params["group"], vault.name))
        return web.Response(status=200)

    async def _change_policies(self, call: Call) -> web.StreamResponse:
        """Add, replace or remove access policies."""
        vault, kind = self._vaults.in_group(call.params["group"], call.params["name"]), call.params["kind"]
        given = (await call.body(_PoliciesBody)).properties.access_policies
        merged = merge_policies(kind, vault.properties.access_policies, given)
        properties = msgspec.structs.replace(vault.properties, access_policies=merged)
        self._vaults.put(msgspec.structs.replace(vault, properties=properties))
        body = {
            "id": f"{vault.id}/accessPolicies/",
            "type": f"{VAULT_TYPE}/accessPolicies",
            "properties": {"accessPolicies": merged},
        }
        return json_answer(body, 201 if kind.lower() == "add" else 200)

    async def _check_name(self, call: Call) -> web.StreamResponse:
        """Whether a vault may be called that."""
        name = (await call.body(_NameBody)).name
        if not _NAME.fullmatch(name):
            message = f"The vault name '{name}' is invalid."
            return json_answer({"nameAvailable": False, "reason": "AccountNameInvalid", "message": message})
        if self._vaults.find(name):
            message = f"The vault name '{name}' is already in use."
            return json_answer({"nameAvailable": False, "reason": "AlreadyExists", "message": message})
        return json_answer({"nameAvailable": True})

    async def _list_deleted(self, call: Call) -> web.StreamResponse:
        """The soft-deleted vaults."""
        only(call)
        return json_answer({"value": [_deleted_answer(vault) for vault in self._vaults.all_deleted()]})

    async def _get_deleted(self, call: Call) -> web.StreamResponse:
        """One soft-deleted vault."""
        only(call)
        return json_answer(_deleted_answer(self._vaults.deleted(call.params["name"])))

    async def _purge(self, call: Call) -> web.StreamResponse:
        """Forget a soft-deleted vault and its secrets for good."""
        name = call.params["name"]
        self._vaults.purge(name)
        self._secrets.purge_vault(name)
        return web.Response(status=200)


def answer(vault: Vault) -> dict[str, Any]:
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


def _new(group: str, name: str, body: _Body, version: str, old: Vault | None) -> Vault:
    if not body.location:
        raise Fault(400, "LocationRequired", "The location property is required for this definition.")
    if body.properties.enable_soft_delete is False:
        raise Fault(400, "BadRequest", "The property 'enableSoftDelete' cannot be set to false.")
    rbac = old.properties.enable_rbac_authorization if old else version >= _RBAC_BY_DEFAULT_FROM
    base = VaultProperties(vault_uri=f"https://{name.lower()}.vault.azure.net/", enable_rbac_authorization=rbac)
    location = body.location.lower().replace(" ", "")
    properties = _merge(base, body.properties)
    return Vault(id=vault_id(group, name), name=name, location=location, tags=body.tags or {}, properties=properties)


def _merge(base: VaultProperties, asked: PropertiesBody) -> VaultProperties:
    read_only = {"vault_uri", "provisioning_state", "hsm_pool_resource_id", "create_mode"}
    given = msgspec.structs.asdict(asked)
    changed = {name: value for name, value in given.items() if value is not None and name not in read_only}
    return msgspec.structs.replace(base, **changed)


def _deleted_answer(vault: Vault) -> dict[str, Any]:
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
