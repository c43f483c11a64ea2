"""The secrets and keys of all vaults: versions, soft delete, recovery, backups."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Generic

import msgspec

from sandbox.keyvault.model import V, VaultObject
from sandbox.store import Collection
from sandbox.web import Fault


class ObjectStore(Generic[V]):
    """Stores objects of one kind, with their backups, in two files that only their owner may read.

    `noun` is Secret or Key, as in Key Vault's errors.
    """

    def __init__(self, file: Path, backups: Path, kind: type[VaultObject[V]], noun: str) -> None:
        self._kind, self.noun = kind, noun
        self._objects = Collection(file, kind)
        self._backups = Collection(backups, kind)

    def add(self, vault: str, name: str, version: V) -> V:
        """Add a version to an object, which is created if it does not exist.

        Raises:
            Fault: 409 Conflict while a deleted one of that name can still be recovered.
        """
        old = self._objects.get(_key(vault, name))
        if old and old.deleted_at:
            message = (
                f"{self.noun} {name} is currently in a deleted but recoverable state, and its name cannot be reused; "
                "in this state, it can only be recovered or purged."
            )
            raise Fault(409, "Conflict", message)
        versions = [*old.versions, version] if old else [version]
        self._objects.put(_key(vault, name), self._kind(vault=vault, name=name, versions=versions))
        return version

    def get(self, vault: str, name: str) -> VaultObject[V]:
        """An object that is not deleted.

        Raises:
            Fault: 404 SecretNotFound or KeyNotFound.
        """
        found = self._objects.get(_key(vault, name))
        if found is None or found.deleted_at:
            raise self._not_found(name)
        return found

    def version(self, vault: str, name: str, version: str = "") -> V:
        """One version of an object; "" means the latest.

        Raises:
            Fault: 404 SecretNotFound or KeyNotFound.
        """
        stored = self.get(vault, name)
        if not version:
            return stored.latest
        found = next((item for item in stored.versions if item.version == version), None)
        if found is None:
            raise self._not_found(f"{name}/{version}")
        return found

    def replace(self, vault: str, name: str, changed: V) -> V:
        """Replace the version with the same version id by a changed one."""
        stored = self.get(vault, name)
        versions = [changed if item.version == changed.version else item for item in stored.versions]
        self._objects.put(_key(vault, name), msgspec.structs.replace(stored, versions=versions))
        return changed

    def all(self, vault: str, *, deleted: bool = False) -> list[VaultObject[V]]:
        """The objects of a vault, or the deleted ones, sorted by name."""
        found = [item for item in self._objects.values(_key(vault, "")) if bool(item.deleted_at) == deleted]
        return sorted(found, key=lambda one: one.name.lower())

    def delete(self, vault: str, name: str) -> VaultObject[V]:
        """Soft-delete an object."""
        deleted = msgspec.structs.replace(self.get(vault, name), deleted_at=int(time.time()))
        return self._objects.put(_key(vault, name), deleted)

    def deleted(self, vault: str, name: str) -> VaultObject[V]:
        """A soft-deleted object.

        Raises:
            Fault: 404 SecretNotFound or KeyNotFound.
        """
        found = self._objects.get(_key(vault, name))
        if found is None or not found.deleted_at:
            raise Fault(404, f"{self.noun}NotFound", f"Deleted {self.noun} not found: {name}")
        return found

    def recover(self, vault: str, name: str) -> VaultObject[V]:
        """Recover a soft-deleted object."""
        return self._objects.put(_key(vault, name), msgspec.structs.replace(self.deleted(vault, name), deleted_at=None))

    def back_up(self, vault: str, name: str) -> bytes:
        """Keep a copy of an object with all its versions, and return what restores it: equal for equal content."""
        kept = self.get(vault, name)
        token = hashlib.sha256(msgspec.json.encode(kept)).digest()
        if self._backups.get(token.hex()) is None:
            self._backups.put(token.hex(), kept)
        return token

    def restore(self, vault: str, token: bytes) -> VaultObject[V]:
        """Restore an object from its backup, into the vault that it was in or another one.

        Raises:
            Fault: 400 BadParameter if the backup is not one of this sandbox, 409 Conflict if the object exists.
        """
        copy = self._backups.get(token.hex())
        if copy is None:
            raise Fault(400, "BadParameter", "The backup is none that this sandbox made, and it can restore no other.")
        if self._objects.get(_key(vault, copy.name)):
            noun = self.noun.lower()
            message = f"A {noun} named {copy.name} exists in the vault already, or is deleted and can be recovered."
            raise Fault(409, "Conflict", message)
        return self._objects.put(_key(vault, copy.name), msgspec.structs.replace(copy, vault=vault))

    def purge(self, vault: str, name: str) -> None:
        """Purge a soft-deleted object."""
        self.deleted(vault, name)
        self._objects.remove(_key(vault, name))

    def purge_vault(self, vault: str) -> None:
        """Purge all objects of a vault."""
        for one in self._objects.values(_key(vault, "")):
            self._objects.remove(_key(vault, one.name))

    def _not_found(self, name: str) -> Fault:
        noun = self.noun.lower()
        message = (
            f"A {noun} with (name/id) {name} was not found in this key vault. If you recently deleted this {noun} "
            "you may be able to recover it using the correct recovery command."
        )
        return Fault(404, f"{self.noun}NotFound", message)


def _key(vault: str, name: str) -> str:
    return f"{vault}/{name}"
