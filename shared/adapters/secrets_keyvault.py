"""Registry credentials from Key Vault, read at each use and never cached."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain, islice

from azure.core.exceptions import ResourceNotFoundError
from azure.keyvault.secrets import KeyVaultSecret, SecretClient, SecretProperties

from shared.adapters.azure_calls import DEADLINES, Identity, expected, translated
from shared.domain.errors import Cause, Misconfigured
from shared.domain.policy import RegistryRule

_ROLE = "give the app Key Vault Secrets User on the vault"
_REPLACED = timedelta(days=2)
"""Older values than these were replaced before any current run started: no run takes so long."""

_VERSIONS = 5


class VaultCredentials:
    """The user and password of a registry: secrets `<stem>-user` and `<stem>-password`.

    Every method raises Misconfigured, with the secret's name, if there is no vault, no such secret or no access.
    """

    def __init__(self, vault_url: str, credential: Identity) -> None:
        self._url, self._credential = vault_url, credential

    @cached_property
    def _client(self) -> SecretClient:
        return SecretClient(self._url, self._credential(), **DEADLINES)

    def credentials(self, registry: RegistryRule) -> tuple[str, str]:
        self._require_vault(f"registry {registry.name} names credentials")
        return self.read(f"{registry.credentials}-user"), self.read(f"{registry.credentials}-password")

    def expiry(self, registry: RegistryRule) -> datetime | None:
        secrets = map(self._secret, (f"{registry.credentials}-user", f"{registry.credentials}-password"))
        times = (secret.properties.expires_on for secret in secrets)
        return min((time for time in times if time is not None), default=None)

    def read(self, name: str) -> str:
        """One secret; an empty one counts as missing."""
        value = self._secret(name).value
        if not value:
            raise _no_secret(f"the secret {name} in {self._url} is empty", "give it a value")
        return value

    def values(self) -> list[str]:
        """All of the vault: Azure's responses omit a task's credentials, so which secrets it reads is unknown."""
        if not self._url:
            return []
        with translated("reading the vault's secrets", remedy=_ROLE):
            listed = (one for one in self._client.list_properties_of_secrets() if one.enabled is not False)
            return list(chain.from_iterable(map(self._values_of, listed)))

    def _values_of(self, secret: SecretProperties) -> list[str]:
        """The value of a secret; if it was set recently, its previous values, too."""
        name, values = str(secret.name), list[str]()
        for version in self._versions(secret):
            with expected(ResourceNotFoundError):  # deleted since it was listed
                values.append(self._client.get_secret(name, version).value or "")
        return values

    def _versions(self, secret: SecretProperties) -> Iterator[str | None]:
        changed = secret.updated_on or secret.created_on
        if changed is None or changed < datetime.now(UTC) - _REPLACED:
            return iter((None,))
        listed = self._client.list_properties_of_secret_versions(str(secret.name))
        enabled = [one for one in listed if one.enabled is not False and one.created_on is not None]
        enabled.sort(key=lambda one: one.created_on or changed, reverse=True)
        return islice((one.version for one in enabled), _VERSIONS)

    def _secret(self, name: str) -> KeyVaultSecret:
        self._require_vault(f"the secret {name} is needed")
        missing = _no_secret(f"there is no secret {name} in {self._url}", "create it, or correct its name")
        with translated(f"reading secret {name}", remedy=_ROLE), expected(ResourceNotFoundError, instead=missing):
            return self._client.get_secret(name)

    def _require_vault(self, what: str) -> None:
        if not self._url:
            raise _no_secret(f"{what}, and BASEGATE_KEY_VAULT is not set", "set it to the vault's URL")


def _no_secret(problem: str, remedy: str) -> Misconfigured:
    return Misconfigured(problem, cause=Cause.SECRET, remedy=remedy)
