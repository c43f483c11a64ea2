"""Secrets as ARM resources, as templates set them: the same secrets as on the vault's host, without values.

Source: https://learn.microsoft.com/rest/api/keyvault/keyvault/secrets
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.body import Body, ResourceBody
from sandbox.arm.query import only
from sandbox.keyvault.bundles import Attributes, secret_item
from sandbox.keyvault.data_plane import SecretOperations
from sandbox.keyvault.model import SecretVersion, Vault
from sandbox.keyvault.objects import ObjectStore
from sandbox.keyvault.records import VAULT_TYPE, VaultRecords
from sandbox.web import Call, Fault, Surface, json_answer

_SECRETS = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{VAULT_TYPE}/{{name}}/secrets"
_SECRET = _SECRETS + "/{secret}"


class _Properties(Body, frozen=True):
    value: str | None = None
    content_type: str | None = None
    attributes: Attributes = Attributes()
    secret_uri: str | None = None
    secret_uri_with_version: str | None = None


class _Body(ResourceBody, frozen=True, kw_only=True):
    properties: _Properties
    tags: dict[str, str] | None = None
    location: str | None = None

    def changes(self) -> dict[str, Any]:
        """The requested changes, by the field names of `SecretVersion`, without the value."""
        requested = {"content_type": self.properties.content_type, "tags": self.tags}
        return self.properties.attributes.changes() | {k: v for k, v in requested.items() if v is not None}


class SecretManagement:
    """The operations on secrets in ARM."""

    def __init__(self, vaults: VaultRecords, store: ObjectStore[SecretVersion], operations: SecretOperations) -> None:
        self._vaults, self._store, self._operations = vaults, store, operations

    def mount(self, arm: Surface, versions: Sequence[str]) -> None:
        """Add the operations to the ARM surface."""
        arm.operation("GET", _SECRETS, versions=versions)(self._list)
        arm.operation("PUT", _SECRET, versions=versions)(self._put)
        arm.operation("PATCH", _SECRET, versions=versions)(self._patch)
        arm.operation("GET", _SECRET, versions=versions)(self._get)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The secrets of a vault, without values."""
        only(call, "$top")
        vault = self._vault(call)
        return json_answer({"value": [_view(vault, one.name, one.latest) for one in self._store.all(vault.name)]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One secret, without its value."""
        only(call)
        vault, name = self._vault(call), call.params["secret"]
        return json_answer(_view(vault, name, self._store.version(vault.name, name)))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Set a secret: adds a version."""
        vault, name, body = self._vault(call), call.params["secret"], await call.body(_Body)
        if body.properties.value is None:
            raise Fault(400, "BadRequest", "The property 'value' of a secret is required.")
        exists = any(one.name.lower() == name.lower() for one in self._store.all(vault.name))
        version = self._operations.set(vault, name, body.properties.value, body.changes())
        return json_answer(_view(vault, name, version), 200 if exists else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a secret's attributes, content type or tags; a value adds a version."""
        vault, name, body = self._vault(call), call.params["secret"], await call.body(_Body)
        old, value = self._store.version(vault.name, name), body.properties.value
        if value is not None:
            current = {
                field: getattr(old, field) for field in ("content_type", "tags", "enabled", "not_before", "expires")
            }
            return json_answer(_view(vault, name, self._operations.set(vault, name, value, current | body.changes())))
        changed = msgspec.structs.replace(old, updated=int(time.time()), **body.changes())
        return json_answer(_view(vault, name, self._store.replace(vault.name, name, changed)))

    def _vault(self, call: Call) -> Vault:
        return self._vaults.in_group(call.params["group"], call.params["name"])


def _view(vault: Vault, name: str, version: SecretVersion) -> dict[str, Any]:
    item = secret_item(vault, name, version)
    shown = ("enabled", "nbf", "exp", "created", "updated")
    properties = {
        "attributes": {key: value for key, value in item["attributes"].items() if key in shown},
        "contentType": item.get("contentType"),
        "secretUri": item["id"].rpartition("/")[0],
        "secretUriWithVersion": item["id"],
    }
    return {
        "id": f"{vault.id}/secrets/{name}",
        "name": name,
        "type": f"{VAULT_TYPE}/secrets",
        "location": vault.location,
        "tags": version.tags,
        "properties": {key: value for key, value in properties.items() if value is not None},
    }
