"""The interface of Key Vault for the rest of the sandbox."""

from __future__ import annotations

import re

from sandbox.arm.surface import ResourceIndex
from sandbox.entra import Issuer
from sandbox.instance import LOCATION, Instance
from sandbox.keyvault.access import check_access, creator_policy
from sandbox.keyvault.arm.documents import vault_answer
from sandbox.keyvault.arm.secrets import SecretManagement
from sandbox.keyvault.arm.vaults import VERSIONS, VaultManagement
from sandbox.keyvault.data_plane import SecretOperations
from sandbox.keyvault.keys import KeyOperations
from sandbox.keyvault.model import KeyVersion, SecretVersion, Vault, VaultObject, VaultProperties
from sandbox.keyvault.objects import ObjectStore
from sandbox.keyvault.operations import vault_surface
from sandbox.keyvault.records import VAULT_TYPE, VaultRecords, vault_id
from sandbox.web import Fault, Surface

_SECRET_URL = re.compile(
    r"https://(?P<vault>[a-z0-9-]+)\.vault\.azure\.net/secrets/(?P<name>[0-9a-z-]+)(?:/(?P<version>[0-9a-f]{32})?)?",
    re.IGNORECASE,
)


class Vaults:
    """The vaults of one instance: management operations, data plane, and reading for other services."""

    def __init__(self, instance: Instance, issuer: Issuer, index: ResourceIndex) -> None:
        folder = instance.folder("keyvault")
        self._issuer = issuer
        self._vaults = VaultRecords(folder / "vaults.json")
        self._secrets = ObjectStore(
            folder / "secrets.json", folder / "backups.json", VaultObject[SecretVersion], "Secret"
        )
        self._keys = ObjectStore(folder / "keys.json", folder / "key-backups.json", VaultObject[KeyVersion], "Key")
        self._operations = SecretOperations(self._vaults, self._secrets)
        self._key_operations = KeyOperations(self._vaults, self._keys)
        index.register(VAULT_TYPE, lambda: [vault_answer(vault) for vault in self._vaults.all()])

    def mount(self, arm: Surface) -> None:
        """Add the management operations to the ARM surface."""
        VaultManagement(self._vaults, self._secrets, self._keys).mount(arm)
        SecretManagement(self._vaults, self._secrets, self._operations).mount(arm, VERSIONS)

    def surface(self) -> Surface:
        """The surface of `<vault>.vault.azure.net`."""
        surface = vault_surface(self._issuer)
        self._operations.mount(surface)
        self._key_operations.mount(surface)
        return surface

    async def delete_group(self, group: str) -> None:
        """Soft-delete the vaults of a resource group."""
        for vault in self._vaults.all(group):
            self._vaults.delete(vault)

    def create(self, name: str, group: str) -> Vault:
        """The vault with that name, created under access policies if it does not exist (to seed a sandbox).

        Like `az keyvault create`, it grants its creator, the sandbox's own identity, every permission.
        """
        properties = VaultProperties(
            vault_uri=f"https://{name.lower()}.vault.azure.net/", access_policies=[creator_policy()]
        )
        fresh = Vault(id=vault_id(group, name), name=name, location=LOCATION, tags={}, properties=properties)
        return self._vaults.find(name) or self._vaults.put(fresh)

    def set(self, vault: str, name: str, value: str) -> str:
        """Set a secret and return its URL, without a version (to seed a sandbox).

        Raises:
            Fault: 404 VaultNotFound.
        """
        found = self._vaults.named(vault)
        self._operations.set(found, name, value)
        return f"{found.properties.vault_uri}secrets/{name}"

    def create_key(self, vault: str, name: str) -> str:
        """The id of the key with that name, an EC key on P-256 created if there is none (to seed a sandbox).

        Raises:
            Fault: 404 VaultNotFound.
        """
        return self._key_operations.create(self._vaults.named(vault), name)

    def read(self, secret_url: str, *, principal_id: str | None = None) -> str:
        """The value of the secret with this URL, with or without a version.

        Args:
            secret_url: `https://<vault>.vault.azure.net/secrets/<name>[/<version>]`.
            principal_id: the principal to read for, which needs the permission `get`; None: the sandbox itself.

        Raises:
            Fault: 400 BadParameter, 404 VaultNotFound or SecretNotFound, 403 Forbidden; none contains a value.
        """
        match = _SECRET_URL.fullmatch(secret_url)
        if not match:
            raise Fault(400, "BadParameter", f"'{secret_url}' is not the URL of a secret in a vault.")
        vault = self._vaults.named(match["vault"])
        if principal_id is not None:
            check_access(vault, {"oid": principal_id}, "get")
        return self._operations.read(vault, match["name"], match["version"] or "").value
