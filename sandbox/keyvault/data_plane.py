"""Key Vault's data plane, `<vault>.vault.azure.net`: secrets.

A caller without a token gets a challenge for one of https://vault.azure.net. Only a disabled secret cannot be read:
`nbf` and `exp` are informational.
Source: https://learn.microsoft.com/rest/api/keyvault/secrets and
https://learn.microsoft.com/azure/key-vault/secrets/about-secrets#date-time-controlled-operations
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.query import only
from sandbox.entra import VAULT_AUDIENCES, Issuer
from sandbox.instance import TENANT
from sandbox.keyvault.access import check_access
from sandbox.keyvault.bundles import RestoreBody, SetBody, UpdateBody, deleted_bundle, page, secret_bundle, secret_item
from sandbox.keyvault.model import SecretVersion, Vault
from sandbox.keyvault.records import VaultRecords
from sandbox.keyvault.secrets import SecretStore
from sandbox.web import Call, Fault, Surface, json_answer

_VERSIONS = ("7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-06-01-preview", "2025-07-01", "2026-04-01")
_CHALLENGE = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{VAULT_AUDIENCES[0]}"'
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
_VALUE_LIMIT_BYTES = 25_000


class SecretOperations:
    """The operations on secrets."""

    def __init__(self, vaults: VaultRecords, store: SecretStore) -> None:
        self._vaults, self._store = vaults, store

    def surface(self, issuer: Issuer) -> Surface:
        """The surface of every vault's host name."""

        def authorize(request: web.BaseRequest, host: str, params: Mapping[str, str]) -> Mapping[str, Any]:
            try:
                return issuer.bearer(request.headers.get("Authorization", ""), VAULT_AUDIENCES)
            except Fault as fault:
                fault.headers["WWW-Authenticate"] = _CHALLENGE
                raise

        surface = Surface("Key Vault secrets", r"[a-z0-9-]+\.vault\.azure\.net", authorize=authorize)
        for method, pattern, handler in (
            ("GET", "/secrets", self._list),
            ("PUT", "/secrets/{name}", self._set),
            ("DELETE", "/secrets/{name}", self._delete),
            ("GET", "/secrets/{name}", self._get),
            ("GET", "/secrets/{name}/", self._get),  # the SDKs send an empty version
            ("GET", "/secrets/{name}/versions", self._list_versions),
            ("GET", "/secrets/{name}/{version}", self._get),
            ("PATCH", "/secrets/{name}", self._update),
            ("PATCH", "/secrets/{name}/", self._update),
            ("PATCH", "/secrets/{name}/{version}", self._update),
            ("POST", "/secrets/{name}/backup", self._back_up),
            ("POST", "/secrets/restore", self._restore),
            ("GET", "/deletedsecrets", self._list_deleted),
            ("GET", "/deletedsecrets/{name}", self._get_deleted),
            ("DELETE", "/deletedsecrets/{name}", self._purge),
            ("POST", "/deletedsecrets/{name}/recover", self._recover),
        ):
            surface.operation(method, pattern, versions=_VERSIONS)(handler)
        return surface

    def set(self, vault: Vault, name: str, value: str, changes: Mapping[str, Any] | None = None) -> SecretVersion:
        """Add a version to a secret.

        Raises:
            Fault: 400 BadParameter for a name or value that Key Vault does not accept; 409 for a deleted secret's name.
        """
        if not _NAME.fullmatch(name):
            message = f"The request URI contains an invalid name: {name}"
            raise Fault(400, "BadParameter", message)
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

    def _enter(self, call: Call, permission: str) -> Vault:
        vault = self._vaults.named(call.host.split(".")[0])
        check_access(vault, call.claims, permission)
        return vault

    async def _set(self, call: Call) -> web.StreamResponse:
        """Set a secret: adds a version."""
        vault, body = self._enter(call, "set"), await call.body(SetBody)
        version = self.set(vault, call.params["name"], body.value, body.changes())
        return json_answer(secret_bundle(vault, call.params["name"], version))

    async def _get(self, call: Call) -> web.StreamResponse:
        """The value of a secret's latest version, or of a given one."""
        only(call)
        vault, name = self._enter(call, "get"), call.params["name"]
        return json_answer(secret_bundle(vault, name, self.read(vault, name, call.params.get("version", ""))))

    async def _update(self, call: Call) -> web.StreamResponse:
        """Change a version's attributes, content type or tags."""
        vault, name, body = self._enter(call, "set"), call.params["name"], await call.body(UpdateBody)
        old = self._store.version(vault.name, name, call.params.get("version", ""))
        changed = msgspec.structs.replace(old, updated=int(time.time()), **body.changes())
        return json_answer(secret_item(vault, name, self._store.replace(vault.name, name, changed), versioned=True))

    async def _list(self, call: Call) -> web.StreamResponse:
        """The secrets of the vault, without values."""
        vault = self._enter(call, "list")
        items = [secret_item(vault, item.name, item.latest) for item in self._store.all(vault.name)]
        return json_answer(page(call, items))

    async def _list_versions(self, call: Call) -> web.StreamResponse:
        """The versions of a secret, without values."""
        vault, name = self._enter(call, "list"), call.params["name"]
        versions = self._store.secret(vault.name, name).versions
        return json_answer(page(call, [secret_item(vault, name, item, versioned=True) for item in versions]))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Soft-delete a secret."""
        only(call)
        vault = self._enter(call, "delete")
        return json_answer(deleted_bundle(vault, self._store.delete(vault.name, call.params["name"])))

    async def _back_up(self, call: Call) -> web.StreamResponse:
        """Back up a secret with all its versions. The backup restores it in this sandbox alone.

        Azure's is the secret itself, encrypted; this one is a reference to a copy in the state folder.
        """
        only(call)
        vault = self._enter(call, "backup")
        token = self._store.back_up(vault.name, call.params["name"])
        return json_answer({"value": base64.urlsafe_b64encode(token).decode().rstrip("=")})

    async def _restore(self, call: Call) -> web.StreamResponse:
        """Restore a secret with all its versions from a backup, where it does not exist."""
        only(call)
        vault, body = self._enter(call, "restore"), await call.body(RestoreBody)
        try:
            token = base64.urlsafe_b64decode(body.value + "=" * (-len(body.value) % 4))
        except ValueError as error:
            raise Fault(400, "BadParameter", "The backup is not base64url.") from error
        secret = self._store.restore(vault.name, token)
        return json_answer(secret_item(vault, secret.name, secret.latest, versioned=True))

    async def _list_deleted(self, call: Call) -> web.StreamResponse:
        """The soft-deleted secrets of the vault."""
        vault = self._enter(call, "list")
        return json_answer(
            page(call, [deleted_bundle(vault, item) for item in self._store.all(vault.name, deleted=True)])
        )

    async def _get_deleted(self, call: Call) -> web.StreamResponse:
        """One soft-deleted secret."""
        only(call)
        vault = self._enter(call, "get")
        return json_answer(deleted_bundle(vault, self._store.deleted(vault.name, call.params["name"])))

    async def _purge(self, call: Call) -> web.StreamResponse:
        """Purge a soft-deleted secret."""
        only(call)
        vault = self._enter(call, "purge")
        if vault.properties.enable_purge_protection:
            raise Fault(403, "Forbidden", "Operation purge is not allowed: the vault has purge protection.")
        self._store.purge(vault.name, call.params["name"])
        return web.Response(status=204)

    async def _recover(self, call: Call) -> web.StreamResponse:
        """Recover a soft-deleted secret."""
        vault = self._enter(call, "recover")
        secret = self._store.recover(vault.name, call.params["name"])
        return json_answer(secret_item(vault, secret.name, secret.latest, versioned=True))
