"""Secrets in Key Vault's data plane, `<vault>.vault.azure.net`.

Only a disabled secret cannot be read: `nbf` and `exp` are informational.
Source: https://learn.microsoft.com/rest/api/keyvault/secrets and
https://learn.microsoft.com/azure/key-vault/secrets/about-secrets#date-time-controlled-operations
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.query import only
from sandbox.keyvault.bundles import SetBody, UpdateBody, secret_bundle, secret_item
from sandbox.keyvault.model import SecretVersion, Vault
from sandbox.keyvault.objects import ObjectStore
from sandbox.keyvault.operations import API_VERSIONS, ObjectOperations, check_name
from sandbox.keyvault.records import VaultRecords
from sandbox.web import Call, Fault, Surface, json_answer

_VALUE_LIMIT_BYTES = 25_000


class SecretOperations(ObjectOperations[SecretVersion]):
    """The operations on secrets."""

    def __init__(self, vaults: VaultRecords, store: ObjectStore[SecretVersion]) -> None:
        super().__init__(vaults, store, "secrets")

    def item(self, vault: Vault, name: str, version: SecretVersion) -> dict[str, Any]:
        """A version without its value."""
        return secret_item(vault, name, version)

    def shown(self, vault: Vault, name: str, version: SecretVersion) -> dict[str, Any]:
        """A version without its value."""
        return secret_item(vault, name, version)

    def mount(self, surface: Surface) -> None:
        """Add the operations to the surface of the vaults."""
        for method, pattern, handler in (
            ("PUT", "/secrets/{name}", self._set),
            ("GET", "/secrets/{name}", self._get),
            ("GET", "/secrets/{name}/", self._get),  # the SDKs send an empty version
            ("PATCH", "/secrets/{name}", self._update),
            ("PATCH", "/secrets/{name}/", self._update),
        ):
            surface.operation(method, pattern, versions=API_VERSIONS)(handler)
        self.mount_common(surface)
        for method, handler in (("GET", self._get), ("PATCH", self._update)):  # after `versions`, which is no version
            surface.operation(method, "/secrets/{name}/{version}", versions=API_VERSIONS)(handler)

    def set(self, vault: Vault, name: str, value: str, changes: Mapping[str, Any] | None = None) -> SecretVersion:
        """Add a version to a secret.

        Raises:
            Fault: 400 BadParameter for a name or value that Key Vault does not accept; 409 for a deleted secret's name.
        """
        check_name(name)
        if len(value.encode()) > _VALUE_LIMIT_BYTES:
            raise Fault(400, "BadParameter", f"The value is longer than {_VALUE_LIMIT_BYTES} bytes.")
        now = int(time.time())
        version = SecretVersion(version=secrets.token_hex(16), value=value, created=now, updated=now, **(changes or {}))
        return self._store.add(vault.name, name, version)

    def read(self, vault: Vault, name: str, version: str) -> SecretVersion:
        """A version that is enabled; "" means the latest.

        Raises:
            Fault: 404 SecretNotFound; 403 Forbidden if it is disabled.
        """
        found = self._store.version(vault.name, name, version)
        if not found.enabled:
            raise Fault(403, "Forbidden", "Operation get is not allowed on a disabled secret.")
        return found

    async def _set(self, call: Call) -> web.StreamResponse:
        """Set a secret: adds a version."""
        vault, body = self.enter(call, "set"), await call.body(SetBody)
        version = self.set(vault, call.params["name"], body.value, body.changes())
        return json_answer(secret_bundle(vault, call.params["name"], version))

    async def _get(self, call: Call) -> web.StreamResponse:
        """The value of a secret's latest version, or of a given one."""
        only(call)
        vault, name = self.enter(call, "get"), call.params["name"]
        return json_answer(secret_bundle(vault, name, self.read(vault, name, call.params.get("version", ""))))

    async def _update(self, call: Call) -> web.StreamResponse:
        """Change a version's attributes, content type or tags."""
        vault, name, body = self.enter(call, "set"), call.params["name"], await call.body(UpdateBody)
        old = self._store.version(vault.name, name, call.params.get("version", ""))
        changed = msgspec.structs.replace(old, updated=int(time.time()), **body.changes())
        return json_answer(secret_item(vault, name, self._store.replace(vault.name, name, changed)))
