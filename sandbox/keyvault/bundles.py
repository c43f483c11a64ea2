"""Secrets and keys in Key Vault's REST API: request bodies, bundles and items, and pagination.

`created`, `updated` and the recovery fields of a request are read-only and ignored.
"""

from __future__ import annotations

from typing import Any

from sandbox.arm.body import Body
from sandbox.arm.query import only
from sandbox.keyvault.model import ObjectVersion, SecretVersion, V, Vault, VaultObject
from sandbox.web import Call, Fault

_PAGE_LIMIT = 25
_DAY_SECONDS = 86_400


def secret_bundle(vault: Vault, name: str, version: SecretVersion) -> dict[str, Any]:
    """A version of a secret with its value."""
    return {"value": version.value, **secret_item(vault, name, version)}


def secret_item(vault: Vault, name: str, version: SecretVersion) -> dict[str, Any]:
    """A version of a secret without its value."""
    item = {
        "id": version_id(vault, "secrets", name, version),
        "contentType": version.content_type,
        "attributes": attributes_of(vault, version),
        "tags": version.tags or None,
    }
    return {key: value for key, value in item.items() if value is not None}


def version_id(vault: Vault, kind: str, name: str, version: ObjectVersion) -> str:
    """The id of a version: its URL."""
    return f"{vault.properties.vault_uri}{kind}/{name}/{version.version}"


def attributes_of(vault: Vault, version: ObjectVersion) -> dict[str, Any]:
    """The attributes of a version."""
    attributes = {
        "enabled": version.enabled,
        "nbf": version.not_before,
        "exp": version.expires,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": vault.recovery_level,
        "recoverableDays": vault.properties.soft_delete_retention_in_days,
    }
    return {key: value for key, value in attributes.items() if value is not None}


def deleted(vault: Vault, kind: str, gone: VaultObject[V]) -> dict[str, Any]:
    """What a soft-deleted object has beside its last version."""
    at = gone.deleted_at or 0
    return {
        "recoveryId": f"{vault.properties.vault_uri}deleted{kind}/{gone.name}",
        "deletedDate": at,
        "scheduledPurgeDate": at + vault.properties.soft_delete_retention_in_days * _DAY_SECONDS,
    }


def page(call: Call, items: list[dict[str, Any]]) -> dict[str, Any]:
    """One page of a list: `maxresults` (1 to 25) items from `$skiptoken` on, and the link to the next page.

    Raises:
        Fault: 400 BadParameter if either is not a number in its range.
    """
    only(call, "maxresults", "$skiptoken")
    size, start = call.query.get("maxresults", str(_PAGE_LIMIT)), call.query.get("$skiptoken", "0")
    if not (size.isdigit() and start.isdigit() and 1 <= int(size) <= _PAGE_LIMIT):
        raise Fault(
            400, "BadParameter", f"maxresults must be 1 to {_PAGE_LIMIT}, and $skiptoken one of this service's."
        )
    end = int(start) + int(size)
    link = f"{call.origin}{call.request.path}?api-version={call.version}&$skiptoken={end}&maxresults={size}"
    return {"value": items[int(start) : end], "nextLink": link if end < len(items) else None}


class Attributes(Body, frozen=True):
    """The attributes of a version in a request; times are seconds since 1970."""

    enabled: bool | None = None
    nbf: int | None = None
    exp: int | None = None
    created: int | None = None
    updated: int | None = None
    recovery_level: str | None = None
    recoverable_days: int | None = None

    def changes(self) -> dict[str, Any]:
        """The requested changes, by the field names of `ObjectVersion`."""
        requested = {"enabled": self.enabled, "not_before": self.nbf, "expires": self.exp}
        return {name: value for name, value in requested.items() if value is not None}


class UpdateBody(Body, frozen=True):
    """A change of a version's attributes, content type or tags."""

    content_type: str | None = None
    tags: dict[str, str] | None = None
    attributes: Attributes = Attributes()

    def changes(self) -> dict[str, Any]:
        """The requested changes, by the field names of `SecretVersion`."""
        requested = {"content_type": self.content_type, "tags": self.tags}
        return self.attributes.changes() | {name: value for name, value in requested.items() if value is not None}


class SetBody(UpdateBody, frozen=True, kw_only=True):
    """The body of a request for a new version."""

    value: str


class RestoreBody(Body, frozen=True, kw_only=True):
    """The body of a request to restore an object: what its backup returned."""

    value: str
