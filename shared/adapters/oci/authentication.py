"""Who the app is to a registry: which header it sends there, and from where it has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.adapters.oci.addresses import Refused
from shared.adapters.oci.challenge import Challenge, parse_challenge
from shared.adapters.oci.grants import Credentials, Grant, Grants
from shared.adapters.oci.refusals import refused
from shared.adapters.oci.targets import parse_url, server_of
from shared.adapters.oci.tokens import Token, TokenCache
from shared.adapters.oci.transport import Transport
from shared.domain.errors import Malformed, Misconfigured, Rejected
from shared.domain.policy import RegistryRule

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_READING = frozenset(("pull", "metadata_read"))


class Authentication:
    """Gets the Authorization headers of registries, one a repository, and keeps them while they are good."""

    def __init__(self, transport: Transport, secrets: Credentials, credential: Callable[[], TokenCredential]) -> None:
        self._grants = Grants(transport, secrets, credential)
        self._tokens = TokenCache()
        self._challenges: dict[tuple[RegistryRule, str], Challenge] = {}

    def header(self, registry: RegistryRule, repository: str) -> str:
        """The header to send at first: "" before the registry has asked for one."""
        key = (registry, repository)
        if known := self._tokens.get(key):
            return known
        challenge = self._challenges.get(key)
        if challenge is None:
            return ""
        try:
            return self._renewed(registry, repository, challenge, "")
        except (Misconfigured, Malformed, Rejected):  # what the registry asks for may have changed since: ask it again
            self._challenges.pop(key, None)
            return ""

    def answer(self, registry: RegistryRule, repository: str, asked: str, used: str) -> str:
        """The header that a 401 asks for.

        Args:
            registry: whose answer it was.
            repository: what was asked for, as the registry names it.
            asked: the answer's WWW-Authenticate.
            used: the header that was not enough.

        Raises:
            Misconfigured: the credentials are wrong or missing, or would have to go where they may not.
            Throttled, Retry, Malformed: as the token service answers.
        """
        challenge = parse_challenge(asked, f"{registry.login_server}/{repository}")
        header = self._renewed(registry, repository, challenge, used)
        self._challenges[(registry, repository)] = challenge
        return header

    def _renewed(self, registry: RegistryRule, repository: str, challenge: Challenge, used: str) -> str:
        return self._tokens.renew((registry, repository), used, lambda: self._granted(registry, repository, challenge))

    def _granted(self, registry: RegistryRule, repository: str, challenge: Challenge) -> Token:
        doing = f"getting a token for {registry.login_server}/{repository}"
        if challenge.scheme == "basic":
            return self._grants.basic(registry, doing)
        try:
            realm = parse_url(challenge.realm, server_of(registry), private=registry.private)
        except Refused as error:
            raise refused(doing, error) from error
        scope = _scope(registry, repository, challenge.scope)
        grant = Grant(registry=registry, realm=realm, service=challenge.service, scope=scope, doing=doing)
        if registry.credentials:
            return self._grants.by_password(grant)
        return self._grants.by_identity(grant) if registry.is_azure else self._grants.to_anyone(grant)


def _scope(registry: RegistryRule, repository: str, asked: str) -> str:
    """What to ask for: what the registry named, if it is no more than reading; both rights to read of an Azure one."""
    own = f"repository:{repository}:pull"
    if registry.is_azure:
        return f"{own},metadata_read"
    actions = asked.rpartition(":")[2].split(",") if ":" in asked else ()
    return asked if asked and " " not in asked and _READING.issuperset(actions) else own
