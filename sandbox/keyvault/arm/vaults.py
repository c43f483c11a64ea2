"""Key Vault's management operations on `management.azure.com`: vaults, access policies, deleted vaults.

Source: https://learn.microsoft.com/rest/api/keyvault/keyvault/vaults
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.query import only
from sandbox.keyvault.access import merge_policies
from sandbox.keyvault.arm.documents import (
    RBAC_BY_DEFAULT_FROM,
    NameBody,
    PoliciesBody,
    VaultBody,
    deleted_answer,
    merged,
    new_vault,
    vault_answer,
)
from sandbox.keyvault.objects import ObjectStore
from sandbox.keyvault.records import VAULT_TYPE, VaultRecords, vault_id
from sandbox.web import Call, Fault, Surface, json_answer

VERSIONS = (
    "2019-09-01",
    "2021-10-01",
    "2022-07-01",
    "2022-11-01",
    "2023-02-01",
    "2023-07-01",
    "2024-11-01",
    "2024-12-01-preview",
    "2025-05-01",
    RBAC_BY_DEFAULT_FROM,
)
_NAME = re.compile(r"(?=.{3,24}$)[A-Za-z](?:-?[A-Za-z0-9])*")
_SUBSCRIPTION = "/subscriptions/{subscription}/providers/Microsoft.KeyVault"
_GROUP = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{VAULT_TYPE}"
_VAULT = _GROUP + "/{name}"


class VaultManagement:
    """The operations on vaults."""

    def __init__(self, vaults: VaultRecords, *stores: ObjectStore[Any]) -> None:
        self._vaults, self._stores = vaults, stores

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
            ("GET", f"{_SUBSCRIPTION}/managedHSMs", self._list_none),
            ("GET", f"{_SUBSCRIPTION}/deletedManagedHSMs", self._list_none),
        ):
            arm.operation(method, pattern, versions=VERSIONS)(handler)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The vaults of the subscription, or of one resource group."""
        only(call, "$top")
        return json_answer({"value": [vault_answer(vault) for vault in self._vaults.all(call.params.get("group", ""))]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One vault."""
        only(call)
        return json_answer(vault_answer(self._vaults.in_group(call.params["group"], call.params["name"])))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a vault, replace its settings, or (createMode recover) recover a deleted one."""
        group, name, body = call.params["group"], call.params["name"], await call.body(VaultBody)
        old = self._vaults.find(name)
        if not _NAME.fullmatch(name):
            raise Fault(400, "VaultNameNotValid", f"The vault name '{name}' is invalid.")
        if old and old.id.lower() != vault_id(group, name).lower():
            raise Fault(409, "VaultAlreadyExists", f"The vault name '{name}' is already in use.")
        if body.properties.get("createMode") == "recover":
            return json_answer(vault_answer(self._vaults.recover(name)))
        if old and old.deleted_at:
            message = (
                f"A vault with the same name '{name}' already exists in deleted state. You need to either recover "
                "or purge existing key vault."
            )
            raise Fault(409, "ConflictError", message)
        vault = self._vaults.put(new_vault(group, name, body, call.version, old))
        return json_answer(vault_answer(vault), 200 if old else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a vault's settings or tags."""
        vault, body = self._vaults.in_group(call.params["group"], call.params["name"]), await call.body(VaultBody)
        tags = vault.tags if body.tags is None else body.tags
        changed = msgspec.structs.replace(vault, tags=tags, properties=merged(vault.properties, body.properties))
        return json_answer(vault_answer(self._vaults.put(changed)))

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
        given = (await call.body(PoliciesBody)).properties.access_policies
        policies = merge_policies(kind, vault.properties.access_policies, given)
        properties = msgspec.structs.replace(vault.properties, access_policies=policies)
        self._vaults.put(msgspec.structs.replace(vault, properties=properties))
        body = {
            "id": f"{vault.id}/accessPolicies/",
            "type": f"{VAULT_TYPE}/accessPolicies",
            "properties": {"accessPolicies": policies},
        }
        return json_answer(body, 201 if kind.lower() == "add" else 200)

    async def _check_name(self, call: Call) -> web.StreamResponse:
        """Whether a vault name is valid and available."""
        name = (await call.body(NameBody)).name
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
        return json_answer({"value": [deleted_answer(vault) for vault in self._vaults.all_deleted()]})

    async def _get_deleted(self, call: Call) -> web.StreamResponse:
        """One soft-deleted vault."""
        only(call)
        return json_answer(deleted_answer(self._vaults.deleted(call.params["name"])))

    async def _list_none(self, call: Call) -> web.StreamResponse:
        """The managed HSMs: always empty; `az keyvault list-deleted` requests them with the vaults."""
        only(call, "$top")
        return json_answer({"value": []})

    async def _purge(self, call: Call) -> web.StreamResponse:
        """Purge a soft-deleted vault with its secrets and keys."""
        name = call.params["name"]
        self._vaults.purge(name)
        for store in self._stores:
            store.purge_vault(name)
        return web.Response(status=200)
