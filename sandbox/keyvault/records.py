"""The stored vaults, including soft-deleted ones. A vault's name is unique in all of Azure."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from sandbox.arm.surface import ResourceId
from sandbox.keyvault.model import Vault
from sandbox.store import Collection
from sandbox.web import Fault

PROVIDER, KIND = "Microsoft.KeyVault", "vaults"
VAULT_TYPE = f"{PROVIDER}/{KIND}"


class VaultRecords:
    """Vaults by name."""

    def __init__(self, file: Path) -> None:
        self._vaults = Collection(file, Vault)

    def find(self, name: str) -> Vault | None:
        """The vault with that name, soft-deleted or not."""
        return self._vaults.get(name)

    def put(self, vault: Vault) -> Vault:
        """Insert or replace a vault, and return it."""
        return self._vaults.put(vault.name, vault)

    def named(self, name: str) -> Vault:
        """A vault that is not deleted.

        Raises:
            Fault: 404 VaultNotFound that names it.
        """
        vault = self._vaults.get(name)
        if vault is None or vault.deleted_at:
            raise Fault(404, "VaultNotFound", f"The vault '{name}' was not found in this sandbox.")
        return vault

    def in_group(self, group: str, name: str) -> Vault:
        """A vault that is not deleted, in its resource group.

        Raises:
            Fault: 404 ResourceNotFound.
        """
        vault = self._vaults.get(name)
        if vault is None or vault.deleted_at or vault.id.lower() != vault_id(group, name).lower():
            message = f"The Resource '{VAULT_TYPE}/{name}' under resource group '{group}' was not found."
            raise Fault(404, "ResourceNotFound", message)
        return vault

    def all(self, group: str = "") -> list[Vault]:
        """The vaults that are not deleted, of one resource group if given."""
        found = [vault for vault in self._vaults.values() if not vault.deleted_at]
        return [vault for vault in found if not group or ResourceId.parse(vault.id).group.lower() == group.lower()]

    def all_deleted(self) -> list[Vault]:
        """The soft-deleted vaults."""
        return [vault for vault in self._vaults.values() if vault.deleted_at]

    def deleted(self, name: str) -> Vault:
        """A soft-deleted vault.

        Raises:
            Fault: 404 DeletedVaultNotFound.
        """
        vault = self._vaults.get(name)
        if vault is None or not vault.deleted_at:
            raise Fault(404, "DeletedVaultNotFound", f"The specified deleted vault '{name}' does not exist.")
        return vault

    def delete(self, vault: Vault) -> None:
        """Soft-delete a vault; its secrets are retained."""
        self.put(msgspec.structs.replace(vault, deleted_at=int(time.time())))

    def recover(self, name: str) -> Vault:
        """Recover a soft-deleted vault.

        Raises:
            Fault: 404 DeletedVaultNotFound.
        """
        return self.put(msgspec.structs.replace(self.deleted(name), deleted_at=None))

    def purge(self, name: str) -> None:
        """Purge a soft-deleted vault.

        Raises:
            Fault: 404 DeletedVaultNotFound; 403 MethodNotAllowed under purge protection.
        """
        if self.deleted(name).properties.enable_purge_protection:
            message = f"Operation 'DeletedVaultPurge' is not allowed: '{name}' has purge protection."
            raise Fault(403, "MethodNotAllowed", message)
        self._vaults.remove(name)


def vault_id(group: str, name: str) -> str:
    """The ARM id of a vault."""
    return str(ResourceId(group, PROVIDER, KIND, name))
