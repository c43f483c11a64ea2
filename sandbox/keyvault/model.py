"""Vaults, secrets and keys, as stored and as requested.

Source: https://learn.microsoft.com/rest/api/keyvault/keyvault/vaults/create-or-update
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from sandbox.instance import TENANT


class Sku(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price tier; `family` is always A."""

    name: str = "standard"
    family: str = "A"


class Permissions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A principal's permissions for each kind of object; `all` means every permission."""

    keys: list[str] = []
    secrets: list[str] = []
    certificates: list[str] = []
    storage: list[str] = []


class AccessPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """One principal's permissions in a vault."""

    tenant_id: str
    object_id: str
    permissions: Permissions
    application_id: str | None = None


class VaultProperties(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A vault's settings, as stored and returned. `network_acls` are recorded, not enforced."""

    vault_uri: str
    tenant_id: str = TENANT
    sku: Sku = Sku()
    access_policies: list[AccessPolicy] = []
    enabled_for_deployment: bool = False
    enabled_for_disk_encryption: bool = False
    enabled_for_template_deployment: bool = False
    enable_soft_delete: bool = True
    soft_delete_retention_in_days: int = 90
    enable_rbac_authorization: bool = False
    enable_purge_protection: bool | None = None
    network_acls: dict[str, Any] | None = None
    public_network_access: str = "Enabled"
    provisioning_state: str = "Succeeded"


class Vault(msgspec.Struct, frozen=True, kw_only=True):
    """A vault as stored. `deleted_at` (seconds) is set while it is soft-deleted."""

    id: str
    name: str
    location: str
    tags: dict[str, str]
    properties: VaultProperties
    deleted_at: int | None = None

    @property
    def recovery_level(self) -> str:
        """How deleted objects of this vault can be recovered, as a Key Vault recovery level."""
        level = "Recoverable" if self.properties.soft_delete_retention_in_days == 90 else "CustomizedRecoverable"
        return level if self.properties.enable_purge_protection else f"{level}+Purgeable"


class ObjectVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a secret or a key; times are seconds since 1970."""

    version: str
    created: int
    updated: int
    enabled: bool = True
    not_before: int | None = None
    expires: int | None = None
    tags: dict[str, str] = {}


class SecretVersion(ObjectVersion, frozen=True, kw_only=True):
    """One version of a secret."""

    value: str
    content_type: str | None = None


class KeyVersion(ObjectVersion, frozen=True, kw_only=True):
    """One version of a key. `private` is the private key, as PKCS #8 in DER; it is never in a response."""

    kind: str
    """`EC` or `RSA`."""

    operations: list[str]
    private: bytes


V = TypeVar("V", bound=ObjectVersion)


class VaultObject(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """A secret or a key with its versions, oldest first. `deleted_at` (seconds) is set while it is soft-deleted."""

    vault: str
    name: str
    versions: list[V]
    deleted_at: int | None = None

    @property
    def latest(self) -> V:
        """The latest version, which a request without a version refers to."""
        return self.versions[-1]
