"""What token services give: a token to anyone, for a password, or for the app's identity.

Sources: https://distribution.github.io/distribution/spec/auth/token/,
https://distribution.github.io/distribution/spec/auth/oauth/ and
https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

import msgspec

from shared.adapters.azure_errors import translated
from shared.adapters.oci.refusals import refusal
from shared.adapters.oci.targets import Target, server_of
from shared.adapters.oci.tokens import Token
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


class Credentials(Protocol):
    """What is needed of `shared.ports.Secrets` here."""

    def of(self, registry: RegistryRule) -> tuple[str, str]:
        """User and password of a registry."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What is asked of which token service, for which registry; `doing` begins the sentence of an error."""

    registry: RegistryRule
    realm: Target
    service: str
    scope: str
    doing: str

    @property
    def query(self) -> dict[str, str]:
        """The parameters that every way of asking has."""
        return {name: value for name, value in (("service", self.service), ("scope", self.scope)) if value}


@dataclass(frozen=True, slots=True)
class _Password:
    header: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class _Answer(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None


class Grants:
    """Asks token services. Redirects are not followed: what is sent to them is for them alone."""

    def __init__(self, transport: Transport, secrets: Credentials, credential: Callable[[], TokenCredential]) -> None:
        self._transport, self._secrets, self._credential = transport, secrets, credential

    def basic(self, registry: RegistryRule, doing: str) -> Token:
        """The password itself, for a registry that takes it instead of a token."""
        if not registry.credentials:
            raise Misconfigured(f"{doing}: it wants a user and a password: name credentials on its rule")
        return Token(self._password(registry).header, _LONGEST_SECONDS)

    def to_anyone(self, grant: Grant) -> Token:
        """A token for what is public."""
        remedy = "see that the repository is there, and name credentials on the registry's rule if it is not public"
        return _token(self._ask(_asked(grant), remedy), grant)

    def by_password(self, grant: Grant) -> Token:
        """A token for the user of the registry's rule.

        Raises:
            Misconfigured: the password is wrong, or the token service is not surely the registry's.
        """
        registry, server = grant.registry, server_of(grant.registry)
        if not belongs(grant.realm.host, server.host):
            raise Misconfigured(
                f"{grant.doing}: it sends the credentials to {grant.realm.server}, which does not surely belong to "
                f"{server.host}. Nothing was sent there. Ask whoever runs the registry for a token service under its "
                "own domain"
            )
        password = self._password(registry)
        request = _asked(grant, {"Authorization": password.header}, password.secrets)
        return _token(self._ask(request, f"set the secrets {registry.credentials}-user and -password right"), grant)

    def by_identity(self, grant: Grant) -> Token:
        """A token of an Azure registry for the app's identity, which no other host gets to see.

        Raises:
            Misconfigured: the identity may not pull, or would have to go elsewhere.
        """
        server = server_of(grant.registry)
        if grant.realm.origin != server.origin:
            where = grant.realm.server
            raise Misconfigured(f"{grant.doing}: it sends the app's identity to {where}, which is not the registry")
        with translated(grant.doing):
            entra = self._credential().get_token(_ENTRA_SCOPE).token
        exchange = {"grant_type": "access_token", "service": grant.service, "access_token": entra}
        answer = self._post(grant, server.at("/oauth2/exchange"), exchange, entra)
        refresh = _usable(answer.refresh_token, grant)
        form = grant.query | {"grant_type": "refresh_token", "refresh_token": refresh}
        return _token(self._post(grant, grant.realm, form, refresh), grant)

    def _post(self, grant: Grant, target: Target, form: Mapping[str, str], secret: str) -> _Answer:
        request = Request(
            doing=grant.doing,
            target=target,
            method="POST",
            headers=_FORM,
            body=urlencode(form).encode(),
            private=grant.registry.private,
            secrets=(secret,),
        )
        return self._ask(request, "give the app AcrPull (Container Registry Repository Reader) on the registry")

    def _ask(self, request: Request, remedy: str) -> _Answer:
        answer = self._transport.send(request)
        if answer.status != 200:
            raise refusal(answer, request, remedy)
        try:
            return msgspec.json.decode(answer.body, type=_Answer)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):  # their text may hold a piece of a token
            raise Malformed("token", f"{request.doing}: {request.target.server} answers with no token") from None

    def _password(self, registry: RegistryRule) -> _Password:
        user, password = self._secrets.of(registry)
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        return _Password(f"Basic {encoded}", (password, encoded))


def _asked(grant: Grant, headers: Mapping[str, str] | None = None, secrets: tuple[str, ...] = ()) -> Request:
    path = grant.realm.path
    target = grant.realm.at(f"{path}{'&' if '?' in path else '?'}{urlencode(grant.query)}")
    private = grant.registry.private
    return Request(doing=grant.doing, target=target, headers=headers or {}, private=private, secrets=secrets)


def _token(answer: _Answer, grant: Grant) -> Token:
    value = _usable(answer.token or answer.access_token, grant)
    said = answer.expires_in if answer.expires_in is not None and answer.expires_in > 0 else _UNSAID_SECONDS
    return Token(f"Bearer {value}", min(_LONGEST_SECONDS, said))


def _usable(value: str | None, grant: Grant) -> str:
    if not value or len(value) > _TOKEN_LIMIT or not _TOKEN.fullmatch(value):
        raise Malformed("token", f"{grant.doing}: {grant.realm.server} answers with nothing that can be a token")
    return value
