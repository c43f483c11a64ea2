"""Registry credentials from Key Vault, read at use and never kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from shared.adapters.azure_errors import translated
from shared.adapters.deadlines import DEADLINES
from shared.domain.errors import Cause, Misconfigured
from shared.domain.policy import RegistryRule

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.keyvault.secrets import KeyVaultSecret, SecretClient


class VaultCredentials:
    """The user and password of a registry: secrets `<stem>-user` and `<stem>-password`.

    Every method raises Misconfigured, with the secret's name, where there is no vault, no such secret or no access.
    """

    def __init__(self, vault_url: str, credential: Callable[[], TokenCredential]) -> None:
        self._url, self._credential = vault_url, credential

    @cached_property
    def _client(self) -> SecretClient:
        from azure.keyvault.secrets import SecretClient

        return SecretClient(self._url, self._credential(), **DEADLINES)

    def of(self, registry: RegistryRule) -> tuple[str, str]:
        """User and password of a registry."""
        if not self._url:
            problem = f"registry {registry.name} names credentials, and BASEGATE_KEY_VAULT is not set"
            raise Misconfigured(problem, cause=Cause.SECRET, remedy="set it to the vault's URL")
        return self.read(f"{registry.credentials}-user"), self.read(f"{registry.credentials}-password")

    def expiry(self, registry: RegistryRule) -> datetime | None:
        """When the first of a registry's two secrets expires, None where no such time is set."""
        secrets = map(self._secret, (f"{registry.credentials}-user", f"{registry.credentials}-password"))
        times = (secret.properties.expires_on for secret in secrets)
        return min((time for time in times if time is not None), default=None)

    def read(self, name: str) -> str:
        """One secret; an empty one counts as missing."""
        value = self._secret(name).value
        if not value:
            problem = f"the secret {name} in {self._url} is empty"
            raise Misconfigured(problem, cause=Cause.SECRET, remedy="give it a value")
        return value

    def _secret(self, name: str) -> KeyVaultSecret:
        from azure.core.exceptions import ResourceNotFoundError

        if not self._url:
            problem = f"the secret {name} is needed, and BASEGATE_KEY_VAULT is not set"
            raise Misconfigured(problem, cause=Cause.SECRET, remedy="set it to the vault's URL")
        with translated(f"reading secret {name}", remedy="give the app Key Vault Secrets User on the vault"):
            try:
                return self._client.get_secret(name)
            except ResourceNotFoundError as error:
                problem = f"there is no secret {name} in {self._url}"
                raise Misconfigured(problem, cause=Cause.SECRET, remedy="create it, or mend its name") from error
