"""Who the app is to a registry: nobody, a user with a password, or an Azure identity.

Sources: https://distribution.github.io/distribution/spec/auth/token/,
https://distribution.github.io/distribution/spec/auth/oauth/ and
https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

import msgspec

from shared.adapters.oci.addresses import Refused, Target, parse_url, server_of
from shared.adapters.oci.challenge import Challenge, parse_challenge
from shared.adapters.oci.refusals import refusal, refused
from shared.adapters.oci.tokens import Token, TokenCache
from shared.adapters.oci.transport import Request, Transport
from shared.adapters.oci.trust import belongs
from shared.domain.errors import Malformed, Misconfigured
from shared.domain.policy import RegistryRule

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

_ENTRA_SCOPE = "https://containerregistry.azure.net/.default"
_UNSAID_SECONDS = 60.0
_LONGEST_SECONDS = 3600.0
_TOKEN_LIMIT = 32 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_READING = frozenset(("pull", "metadata_read"))


class Credentials(Protocol):
    """What is needed of `shared.ports.Secrets` here."""

    def of(self, registry: RegistryRule) -> tuple[str, str]:
        """User and password of a registry."""
        ...


class _TokenAnswer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None


class Authentication:
    """Gets the Authorization headers of registries, one a repository, and keeps them while they are good."""

    def __init__(self, transport: Transport, secrets: Credentials, credential: Callable[[], TokenCredential]) -> None:
        self._transport, self._secrets, self._credential = transport, secrets, credential
        self._tokens = TokenCache()
        self._challenges: dict[tuple[RegistryRule, str], Challenge] = {}

    def header(self, registry: RegistryRule, repository: str) -> str:
        """The header to send at first: "" before the registry has asked for one."""
        key = (registry, repository)
        if known := self._tokens.get(key):
            return known
        challenge = self._challenges.get(key)
        return self._renewed(registry, repository, challenge, "") if challenge else ""

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
        challenge = parse_challenge(asked, registry.login_server)
        self._challenges[(registry, repository)] = challenge
        return self._renewed(registry, repository, challenge, used)

    def _renewed(self, registry: RegistryRule, repository: str, challenge: Challenge, used: str) -> str:
        return self._tokens.renew((registry, repository), used, lambda: self._fetched(registry, repository, challenge))

    def _fetched(self, registry: RegistryRule, repository: str, challenge: Challenge) -> Token:
        if challenge.scheme == "basic":
            return Token(self._basic(registry)[0], _LONGEST_SECONDS)
        doing = f"getting a token for {registry.login_server}/{repository}"
        try:
            realm = parse_url(challenge.realm, server_of(registry), private=registry.private)
        except Refused as error:
            raise refused(doing, error) from error
        query = {"service": challenge.service, "scope": _scope(registry, repository, challenge.scope)}
        if registry.is_azure and not registry.credentials:
            return self._by_identity(registry, realm, query, doing)
        return self._by_password(registry, realm, query, doing)

    def _by_password(self, registry: RegistryRule, realm: Target, query: dict[str, str], doing: str) -> Token:
        joint = "&" if "?" in realm.path else "?"
        target = realm.at(realm.path + joint + urlencode({name: value for name, value in query.items() if value}))
        request = Request(doing=doing, target=target, private=registry.private)
        if not registry.credentials:
            return _token(self._ask(request, "name credentials on its rule: it has no such repository for anyone"))
        _require_trust(registry, realm, doing)
        header, secrets = self._basic(registry)
        request = Request(
            doing=doing, target=target, headers={"Authorization": header}, private=registry.private, secrets=secrets
        )
        return _token(self._ask(request, f"set the secrets {registry.credentials}-user and -password right"))

    def _by_identity(self, registry: RegistryRule, realm: Target, query: dict[str, str], doing: str) -> Token:
        server = server_of(registry)
        if realm.origin != server.origin:
            raise Misconfigured(f"{doing}: it sends the app's identity to {realm.server}, which is not the registry")
        role = "give the app AcrPull (Container Registry Repository Reader) on the registry"
        access_token = self._entra_token(doing)
        service = {"service": query["service"]}
        exchange = service | {"grant_type": "access_token", "access_token": access_token}
        answer = self._post(registry, server.at("/oauth2/exchange"), exchange, access_token, doing, role)
        refresh = _usable(answer.refresh_token, server.server)
        grant = query | {"grant_type": "refresh_token", "refresh_token": refresh}
        return _token(self._post(registry, realm, grant, refresh, doing, role))

    def _post(
        self, registry: RegistryRule, target: Target, form: dict[str, str], secret: str, doing: str, remedy: str
    ) -> _TokenAnswer:
        request = Request(
            doing=doing, target=target, method="POST", headers=_FORM, body=urlencode(form).encode(),
            private=registry.private, secrets=(secret,),
        )  # fmt: skip
        return self._ask(request, remedy)

    def _ask(self, request: Request, remedy: str) -> _TokenAnswer:
        answer = self._transport.send(request)
        if answer.status != 200:
            raise refusal(answer, request, remedy)
        try:
            return msgspec.json.decode(answer.body, type=_TokenAnswer)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):  # their text may hold a piece of a token
            raise Malformed("token", f"{request.doing}: {request.target.server} answers with no token") from None

    def _basic(self, registry: RegistryRule) -> tuple[str, tuple[str, ...]]:
        if not registry.credentials:
            raise Misconfigured(f"{registry.login_server} wants a user and a password: name credentials on its rule")
        user, password = self._secrets.of(registry)
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        return f"Basic {encoded}", (password, encoded)

    def _entra_token(self, doing: str) -> str:
        from shared.adapters.azure_errors import translated

        with translated(doing):
            return self._credential().get_token(_ENTRA_SCOPE).token


def _require_trust(registry: RegistryRule, realm: Target, doing: str) -> None:
    server = server_of(registry)
    if not belongs(realm.host, server.host):
        raise Misconfigured(
            f"{doing}: it sends the credentials to {realm.server}, which does not surely belong to {server.host}. "
            "Nothing was sent there. Ask whoever runs the registry for a token service under its own domain"
        )


def _scope(registry: RegistryRule, repository: str, asked: str) -> str:
    """What to ask for: what the registry named, if it is no more than reading; both rights to read of an Azure one."""
    own = f"repository:{repository}:pull"
    if registry.is_azure:
        return f"{own},metadata_read"
    actions = asked.rpartition(":")[2].split(",") if ":" in asked else ()
    return asked if asked and " " not in asked and _READING.issuperset(actions) else own


def _token(answer: _TokenAnswer) -> Token:
    value = _usable(answer.token or answer.access_token, "token service")
    said = answer.expires_in if answer.expires_in is not None and answer.expires_in > 0 else _UNSAID_SECONDS
    return Token(f"Bearer {value}", min(_LONGEST_SECONDS, said))


def _usable(value: str | None, where: str) -> str:
    if not value or len(value) > _TOKEN_LIMIT or not _TOKEN.fullmatch(value):
        raise Malformed("token", f"the {where} answers with nothing that can be a token")
    return value
