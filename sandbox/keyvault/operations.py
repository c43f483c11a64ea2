"""What Key Vault does with secrets and keys alike: lists, soft delete, recovery and backups."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Generic

from aiohttp import web

from sandbox.arm.query import only
from sandbox.entra import VAULT_AUDIENCES, Issuer
from sandbox.instance import TENANT
from sandbox.keyvault.access import check_access
from sandbox.keyvault.bundles import RestoreBody, deleted, page
from sandbox.keyvault.model import V, Vault
from sandbox.keyvault.objects import ObjectStore
from sandbox.keyvault.records import VaultRecords
from sandbox.web import Call, Fault, Surface, json_answer

API_VERSIONS = (
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-04-01",
)
_CHALLENGE = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{VAULT_AUDIENCES[0]}"'
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


def vault_surface(issuer: Issuer) -> Surface:
    """The surface of every vault's host name. A caller without a token gets a challenge."""

    def authorize(request: web.BaseRequest, host: str, params: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            return issuer.bearer(request.headers.get("Authorization", ""), VAULT_AUDIENCES)
        except Fault as fault:
            fault.headers["WWW-Authenticate"] = _CHALLENGE
            raise

    return Surface("Key Vault secrets and keys", r"[a-z0-9-]+\.vault\.azure\.net", authorize=authorize)


def check_name(name: str) -> None:
    """Refuse a name that Key Vault does not accept.

    Raises:
        Fault: 400 BadParameter.
    """
    if not _NAME.fullmatch(name):
        raise Fault(400, "BadParameter", f"The request URI contains an invalid name: {name}")


class ObjectOperations(Generic[V]):
    """The operations that are the same for secrets and keys. `kind` is `secrets` or `keys`."""

    def __init__(self, vaults: VaultRecords, store: ObjectStore[V], kind: str) -> None:
        self._vaults, self._store, self._kind = vaults, store, kind

    def item(self, vault: Vault, name: str, version: V) -> dict[str, Any]:
        """A version as in lists."""
        raise NotImplementedError

    def shown(self, vault: Vault, name: str, version: V) -> dict[str, Any]:
        """A version as in responses, without anything confidential."""
        raise NotImplementedError

    def enter(self, call: Call, permission: str) -> Vault:
        """The vault of a request whose caller has a permission.

        Raises:
            Fault: 404 VaultNotFound, 403 Forbidden.
        """
        vault = self._vaults.named(call.host.split(".")[0])
        check_access(vault, call.claims, permission, self._kind)
        return vault

    def mount_common(self, surface: Surface) -> None:
        """Add the operations to the surface of the vaults."""
        one = self._kind.removesuffix("s")
        for method, pattern, handler, summary in (
            ("GET", "{}", self._list, f"The {one}s of the vault: of each the latest version, as in lists."),
            ("GET", "{}/{{name}}/versions", self._list_versions, f"The versions of a {one}, as in lists."),
            ("DELETE", "{}/{{name}}", self._delete, f"Soft-delete a {one}."),
            ("POST", "{}/{{name}}/backup", self._back_up, f"A backup of a {one}: it restores in this sandbox alone."),
            ("POST", "{}/restore", self._restore, f"Restore a {one} with all its versions, where it does not exist."),
            ("GET", "deleted{}", self._list_deleted, f"The soft-deleted {one}s of the vault."),
            ("GET", "deleted{}/{{name}}", self._get_deleted, f"One soft-deleted {one}."),
            ("DELETE", "deleted{}/{{name}}", self._purge, f"Purge a soft-deleted {one}."),
            ("POST", "deleted{}/{{name}}/recover", self._recover, f"Recover a soft-deleted {one}."),
        ):
            path = f"/{pattern.format(self._kind)}"
            surface.operation(method, path, versions=API_VERSIONS, summary=summary)(handler)

    async def _list(self, call: Call) -> web.StreamResponse:
        vault = self.enter(call, "list")
        listed = [self.item(vault, item.name, item.latest) for item in self._store.all(vault.name)]
        return json_answer(page(call, [_unversioned(item) for item in listed]))

    async def _list_versions(self, call: Call) -> web.StreamResponse:
        vault, name = self.enter(call, "list"), call.params["name"]
        versions = self._store.get(vault.name, name).versions
        return json_answer(page(call, [self.item(vault, name, version) for version in versions]))

    async def _delete(self, call: Call) -> web.StreamResponse:
        only(call)
        vault = self.enter(call, "delete")
        gone = self._store.delete(vault.name, call.params["name"])
        return json_answer(self.shown(vault, gone.name, gone.latest) | deleted(vault, self._kind, gone))

    async def _back_up(self, call: Call) -> web.StreamResponse:
        only(call)
        vault = self.enter(call, "backup")
        token = self._store.back_up(vault.name, call.params["name"])
        return json_answer({"value": base64.urlsafe_b64encode(token).decode().rstrip("=")})

    async def _restore(self, call: Call) -> web.StreamResponse:
        only(call)
        vault, body = self.enter(call, "restore"), await call.body(RestoreBody)
        try:
            token = base64.urlsafe_b64decode(body.value + "=" * (-len(body.value) % 4))
        except ValueError as error:
            raise Fault(400, "BadParameter", "The backup is not base64url.") from error
        restored = self._store.restore(vault.name, token)
        return json_answer(self.shown(vault, restored.name, restored.latest))

    async def _list_deleted(self, call: Call) -> web.StreamResponse:
        vault = self.enter(call, "list")
        gone = self._store.all(vault.name, deleted=True)
        items = [_unversioned(self.item(vault, one.name, one.latest)) | deleted(vault, self._kind, one) for one in gone]
        return json_answer(page(call, items))

    async def _get_deleted(self, call: Call) -> web.StreamResponse:
        only(call)
        vault = self.enter(call, "get")
        gone = self._store.deleted(vault.name, call.params["name"])
        return json_answer(self.shown(vault, gone.name, gone.latest) | deleted(vault, self._kind, gone))

    async def _purge(self, call: Call) -> web.StreamResponse:
        only(call)
        vault = self.enter(call, "purge")
        if vault.properties.enable_purge_protection:
            raise Fault(403, "Forbidden", "Operation purge is not allowed: the vault has purge protection.")
        self._store.purge(vault.name, call.params["name"])
        return web.Response(status=204)

    async def _recover(self, call: Call) -> web.StreamResponse:
        only(call)
        vault = self.enter(call, "recover")
        back = self._store.recover(vault.name, call.params["name"])
        return json_answer(self.shown(vault, back.name, back.latest))


def _unversioned(item: dict[str, Any]) -> dict[str, Any]:
    """An item as in lists of objects: its id has no version."""
    field = "kid" if "kid" in item else "id"
    return item | {field: item[field].rpartition("/")[0]}
