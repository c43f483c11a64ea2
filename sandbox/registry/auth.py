"""Token authentication of a registry: challenge, `/oauth2/exchange`, `/oauth2/token`, and the check of tokens.

Source: https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md and
https://distribution.github.io/distribution/spec/auth/oauth/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qs

from aiohttp import web

from sandbox.entra import Issuer
from sandbox.registry.accounts import ANYONE, REFRESH_TOKEN_USER, Accounts, unauthorized
from sandbox.registry.registry import Registry
from sandbox.registry.rights import CATALOGS, Principal, Rights
from sandbox.web import Call, Fault, Surface, json_answer

_ACCESS_SECONDS = 75 * 60
_REFRESH_SECONDS = 3 * 60 * 60

Form = Mapping[str, Sequence[str]]


class RegistryAuth:
    """Issues and checks the tokens of every registry.

    Args:
        issuer: signs the tokens; the audience of a registry's tokens is its service name.
        accounts: authenticates the users.
        find: returns the registry of a host name; raises `Fault` if it does not exist.
    """

    def __init__(self, issuer: Issuer, accounts: Accounts, find: Callable[[str], Registry]) -> None:
        self._issuer, self._accounts, self._find = issuer, accounts, find

    def mount(self, surface: Surface, path: str = "/oauth2/token") -> None:
        """Add the token operations to a surface."""
        surface.operation("GET", path)(self._get_token)
        surface.operation("POST", path)(self._post_token)

    def mount_exchange(self, surface: Surface) -> None:
        """Add the exchange of Entra access tokens, which only Azure registries support."""
        surface.operation("POST", "/oauth2/exchange")(self._exchange)

    def authorize(self, call: Call, registry: Registry, repository: str = "", *actions: str) -> Principal:
        """The caller, if it may perform all `actions` on `repository`, or read it if it is one of `CATALOGS`.

        Raises:
            Fault: 401 with the challenge: the token service to use, and the scope to request; 403 if the registry's
                network rules do not admit the client. A caller without credentials gets the challenge regardless.
        """
        caller = self._caller(call, registry)
        if caller:
            _check_network(call, registry)
        if caller and repository in CATALOGS:
            granted = caller.rights.lists(repository)
        else:
            granted = caller is not None and set(actions) <= caller.rights.allowed(repository)
        if caller is None or not granted:
            raise unauthorized(
                "authentication required, visit https://aka.ms/acr/authorization for more information.",
                {"WWW-Authenticate": _challenge(registry, repository, actions, known=caller is not None)},
            )
        return caller

    def _caller(self, call: Call, registry: Registry) -> Principal | None:
        scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            return self._authenticate(registry, *_basic(value))
        if scheme.lower() != "bearer":
            return None
        try:
            claims = self._issuer.read(value, (registry.realm.service,))
        except Fault:
            return None  # an expired token leads to a challenge, so that the client requests a new one
        if claims.get("grant_type") != "access_token":
            return None
        return Principal(claims["sub"], Rights.of_access(claims["access"]), "")

    def _authenticate(self, registry: Registry, user: str, password: str) -> Principal:
        if user != REFRESH_TOKEN_USER:
            return self._accounts.authenticate(registry.name, user, password)
        try:
            return self._resume(registry, password)
        except Fault:
            return self._accounts.entra(password)

    def _resume(self, registry: Registry, refresh_token: str) -> Principal:
        try:
            claims = self._issuer.read(refresh_token, (registry.realm.service,))
        except Fault as fault:
            raise unauthorized(fault.message) from fault
        if claims.get("grant_type") != "refresh_token":
            raise unauthorized("authentication required: this is not a refresh token")
        return self._accounts.resume(registry.name, claims["subject"])

    async def _get_token(self, call: Call) -> web.StreamResponse:
        """An access token for a user name and password (Basic), or an anonymous one if anonymous pull is enabled."""
        form = {name: call.request.query.getall(name) for name in call.request.query}
        scheme, _, value = call.request.headers.get("Authorization", "").partition(" ")
        registry = self._service(call, form)
        principal = self._authenticate(registry, *_basic(value)) if scheme.lower() == "basic" else _anyone(registry)
        return self._token_answer(registry, principal, form)

    async def _post_token(self, call: Call) -> web.StreamResponse:
        """An access token for a refresh token or for a user name and password."""
        form = parse_qs((await call.request.read()).decode(errors="replace"))
        registry = self._service(call, form)
        grant = _one(form, "grant_type") or "refresh_token"
        if grant == "refresh_token":
            principal = self._resume(registry, _one(form, "refresh_token"))
        elif grant == "password" and _one(form, "username"):
            principal = self._authenticate(registry, _one(form, "username"), _one(form, "password"))
        elif grant == "password":
            principal = _anyone(registry)
        else:
            raise Fault(400, "UNSUPPORTED", f"the grant_type '{grant}' is not known here")
        return self._token_answer(registry, principal, form)

    async def _exchange(self, call: Call) -> web.StreamResponse:
        """Exchange an Entra access token for a refresh token of the registry."""
        form = parse_qs((await call.request.read()).decode(errors="replace"))
        registry = self._service(call, form)
        grant = _one(form, "grant_type")
        if grant not in ("access_token", "access_token_refresh_token"):
            raise Fault(400, "UNSUPPORTED", f"the grant_type '{grant}' is not known here")
        principal = self._accounts.entra(_one(form, "access_token"))
        return json_answer({"refresh_token": self._refresh_token(registry, principal)})

    def _service(self, call: Call, form: Form) -> Registry:
        registry = self._find(call.host)
        _check_network(call, registry)
        service = _one(form, "service")
        if service and service != registry.realm.service:
            raise Fault(400, "UNSUPPORTED", f"the service '{service}' is not this one, '{registry.realm.service}'")
        return registry

    def _token_answer(self, registry: Registry, principal: Principal, form: Form) -> web.Response:
        scopes = " ".join(form.get("scope", ())).split()
        token = self._issuer.issue(
            registry.realm.service,
            life_seconds=_ACCESS_SECONDS,
            sub=principal.name,
            grant_type="access_token",
            access=list(principal.rights.narrowed(scopes)),
        )
        body = {"access_token": token, "token": token, "expires_in": _ACCESS_SECONDS}
        if _one(form, "offline_token") == "true" or _one(form, "access_type") == "offline":
            body["refresh_token"] = self._refresh_token(registry, principal)
        return json_answer(body)

    def _refresh_token(self, registry: Registry, principal: Principal) -> str:
        service = registry.realm.service
        return self._issuer.issue(
            service, life_seconds=_REFRESH_SECONDS, grant_type="refresh_token", subject=principal.subject
        )


def _check_network(call: Call, registry: Registry) -> None:
    """Refuse a client that the network rules do not admit; the message is Azure's (docker/build-push-action#1214)."""
    address = call.request.remote or ""
    if not registry.allows(address):
        message = (
            f"client with IP '{address}' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."
        )
        raise Fault(403, "DENIED", message)


def _challenge(registry: Registry, repository: str, actions: Sequence[str], *, known: bool) -> str:
    challenge = f'Bearer realm="{registry.realm.url}",service="{registry.realm.service}"'
    if repository in CATALOGS:
        challenge += f',scope="{repository}:*"'
    elif repository:
        challenge += f',scope="repository:{repository}:{",".join(actions)}"'
    return challenge + (',error="insufficient_scope"' if known else "")


def _anyone(registry: Registry) -> Principal:
    if not registry.anonymous_pull:
        raise unauthorized("authentication required: anonymous pull is not enabled")
    return ANYONE


def _basic(value: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise unauthorized("the Authorization header is not readable") from error
    return user, password


def _one(form: Form, name: str) -> str:
    values = form.get(name) or ("",)
    return values[-1]
