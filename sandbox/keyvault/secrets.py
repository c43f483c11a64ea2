"""The secrets of all vaults: versions, soft delete, recovery."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import msgspec

from sandbox.keyvault.model import Secret, SecretVersion
from sandbox.store import Collection
from sandbox.web import Fault


class SecretStore:
    """Stores secrets and their backups in two files that only their owner may read."""

    def __init__(self, file: Path) -> None:
        self._secrets = Collection(file, Secret, mode=0o600)
        self._backups = Collection(file.with_name("backups.json"), Secret, mode=0o600)

    def add(self, vault: str, name: str, version: SecretVersion) -> SecretVersion:
        """Add a version to a secret, which is created if it does not exist.

        Raises:
            Fault: 409 Conflict while a deleted secret of that name can still be recovered.
        """
        old = self._secrets.get(_key(vault, name))
        if old and old.deleted_at:
            message = (
                f"Secret {name} is currently in a deleted but recoverable state, and its name cannot be reused; "
                "in this state, the secret can only be recovered or purged."
            )
            raise Fault(409, "Conflict", message)
        versions = [*old.versions, version] if old else [version]
        self._secrets.put(_key(vault, name), Secret(vault=vault, name=name, versions=versions))
        return version

    def secret(self, vault: str, name: str) -> Secret:
        """A secret that is not deleted.

        Raises:
            Fault: 404 SecretNotFound.
        """
        secret = self._secrets.get(_key(vault, name))
        if secret is None or secret.deleted_at:
            raise _not_found(name)
        return secret

    def version(self, vault: str, name: str, version: str = "") -> SecretVersion:
        """One version of a secret; "" means the latest.

        Raises:
            Fault: 404 SecretNotFound.
        """
        secret = self.secret(vault, name)
        if not version:
            return secret.latest
        found = next((item for item in secret.versions if item.version == version), None)
        if found is None:
            raise _not_found(f"{name}/{version}")
        return found

    def replace(self, vault: str, name: str, changed: SecretVersion) -> SecretVersion:
        """Replace the version with the same version id by a changed one."""
        secret = self.secret(vault, name)
        versions = [changed if item.version == changed.version else item for item in secret.versions]
        self._secrets.put(_key(vault, name), msgspec.structs.replace(secret, versions=versions))
        return changed

    def all(self, vault: str, *, deleted: bool = False) -> list[Secret]:
        """The secrets of a vault, or the deleted ones, sorted by name."""
        found = [item for item in self._secrets.values(_key(vault, "")) if bool(item.deleted_at) == deleted]
        return sorted(found, key=lambda secret: secret.name.lower())

    def delete(self, vault: str, name: str) -> Secret:
        """Soft-delete a secret."""
        deleted = msgspec.structs.replace(self.secret(vault, name), deleted_at=int(time.time()))
        return self._secrets.put(_key(vault, name), deleted)

    def deleted(self, vault: str, name: str) -> Secret:
        """A soft-deleted secret.

        Raises:
            Fault: 404 SecretNotFound.
        """
        secret = self._secrets.get(_key(vault, name))
        if secret is None or not secret.deleted_at:
            raise Fault(404, "SecretNotFound", f"Deleted Secret not found: {name}")
        return secret

    def recover(self, vault: str, name: str) -> Secret:
        """Recover a soft-deleted secret."""
        return self._secrets.put(_key(vault, name), msgspec.structs.replace(self.deleted(vault, name), deleted_at=None))

    def back_up(self, vault: str, name: str) -> bytes:
        """Keep a copy of a secret with all its versions, and return what restores it: the same for the same content."""
        secret = self.secret(vault, name)
        token = hashlib.sha256(msgspec.json.encode(secret)).digest()
        if self._backups.get(token.hex()) is None:
            self._backups.put(token.hex(), secret)
        return token

    def restore(self, vault: str, token: bytes) -> Secret:
        """Restore a secret from its backup, into the vault that it was in or another one.

        Raises:
            Fault: 400 BadParameter if the backup is not one of this sandbox, 409 Conflict if the secret exists.
        """
        copy = self._backups.get(token.hex())
        if copy is None:
            raise Fault(400, "BadParameter", "The backup is none that this sandbox made, and it can restore no other.")
        if self._secrets.get(_key(vault, copy.name)):
            message = f"A secret named {copy.name} exists in the vault already, or is deleted and can be recovered."
            raise Fault(409, "Conflict", message)
        return self._secrets.put(_key(vault, copy.name), msgspec.structs.replace(copy, vault=vault))

    def purge(self, vault: str, name: str) -> None:
        """Purge a soft-deleted secret."""
        self.deleted(vault, name)
        self._secrets.remove(_key(vault, name))

    def purge_vault(self, vault: str) -> None:
        """Purge all secrets of a vault."""
        for secret in self._secrets.values(_key(vault, "")):
            self._secrets.remove(_key(vault, secret.name))


def _key(vault: str, name: str) -> str:
    return f"{vault}/{name}"


def _not_found(name: str) -> Fault:
    message = (
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret "
        "you may be able to recover it using the correct recovery command."
    )
    return Fault(404, "SecretNotFound", message)
