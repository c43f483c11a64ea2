"""Registry accounts: tokens with scope maps, the admin user, issued logins, Entra principals, anonymous clients."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sandbox.entra import REGISTRY_AUDIENCES, Issuer
from sandbox.registry.records import PasswordRecord, RegistryRecord, ScopeMapRecord, TokenRecord
from sandbox.registry.rights import ANONYMOUS_PULL, EVERYTHING, SYSTEM_SCOPE_MAPS, Principal, Rights
from sandbox.store import Collection
from sandbox.web import Fault

# With this user name the password is a refresh token; `az acr login` passes it to docker.
REFRESH_TOKEN_USER = str(uuid.UUID(int=0))

_HUB = "hub"
_MOST_LOGINS = 2000

ANYONE = Principal("", ANONYMOUS_PULL, "anyone")


@dataclass(frozen=True, slots=True)
class _Login:
    password: str
    principal: Principal


class Accounts:
    """The users of all registries. A registry is identified by its name, the Docker Hub stand-in by `hub`."""

    def __init__(self, folder: Path, issuer: Issuer, registries: Collection[RegistryRecord]) -> None:
        self._issuer, self._registries = issuer, registries
        self.scope_maps = Collection(folder / "scope-maps.json", ScopeMapRecord)
        self.tokens = Collection(folder / "tokens.json", TokenRecord)
        self._logins: dict[tuple[str, str], _Login] = {}

    def issue(self, registry: str, actor: str, repositories: Mapping[str, Sequence[str]] | None) -> tuple[str, str]:
        """Create a user name and password for one registry; None means every repository.

        They are valid until the sandbox stops; above a limit, the oldest are discarded.
        """
        user, password = f"login-{secrets.token_hex(4)}", new_password()
        principal = Principal(actor, Rights.of_repositories(repositories), f"login:{user}")
        self._logins[registry.lower(), user] = _Login(password, principal)
        while len(self._logins) > _MOST_LOGINS:
            del self._logins[next(iter(self._logins))]
        return user, password

    def authenticate(self, registry: str, user: str, password: str) -> Principal:
        """The principal of a user name and password.

        Raises:
            Fault: 401 UNAUTHORIZED, the same for an unknown user and a wrong password.
        """
        principal = self._login(registry, user, password)
        principal = principal or self._token(registry, user, password) or self._admin(registry, user, password)
        if principal is None and registry == _HUB and user:
            principal = _hub_user(user)
        if principal is None:
            raise unauthorized("authentication required: the user name or password is wrong, disabled or expired")
        return principal

    def entra(self, access_token: str) -> Principal:
        """The principal of an Entra access token (for a registry or for ARM); registries grant it every right.

        Raises:
            Fault: 401 UNAUTHORIZED.
        """
        try:
            claims = self._issuer.read(access_token, REGISTRY_AUDIENCES)
        except Fault as fault:
            raise unauthorized(fault.message) from fault
        return _entra(claims.get("oid", claims.get("sub", "")))

    def resume(self, registry: str, subject: str) -> Principal:
        """The principal that a refresh token was issued to, with its current rights.

        Raises:
            Fault: 401 UNAUTHORIZED if that user no longer exists or is disabled.
        """
        kind, _, name = subject.partition(":")
        if kind == "entra":
            return _entra(name)
        if kind == _HUB:
            return _hub_user(name)
        if kind == "login" and (login := self._logins.get((registry.lower(), name))):
            return login.principal
        token = self.tokens.get(f"{registry}/{name}")
        if kind == "token" and token and token.status == "enabled":
            return Principal(token.name, self._scope_map_rights(token), subject)
        record = self._registries.get(registry)
        if kind == "admin" and record and record.admin_user_enabled:
            return Principal(record.name, EVERYTHING, subject)
        raise unauthorized("authentication required: the refresh token's user is gone")

    def scope_map(self, registry: str, name: str) -> ScopeMapRecord | None:
        """A scope map of a registry, including the system scope maps."""
        if name in SYSTEM_SCOPE_MAPS:
            record = self._registries.get(registry)
            description, actions = SYSTEM_SCOPE_MAPS[name]
            created = record.created if record else ""
            return ScopeMapRecord(
                registry=registry, name=name, actions=actions, created=created, description=description,
                type="SystemManaged",
            )  # fmt: skip
        return self.scope_maps.get(f"{registry}/{name}")

    def forget(self, registry: str) -> None:
        """Remove the tokens and scope maps of a deleted registry."""
        for token in list(self.tokens.values(f"{registry}/")):
            self.tokens.remove(f"{registry}/{token.name}")
        for scope_map in list(self.scope_maps.values(f"{registry}/")):
            self.scope_maps.remove(f"{registry}/{scope_map.name}")

    def _login(self, registry: str, user: str, password: str) -> Principal | None:
        login = self._logins.get((registry.lower(), user))
        return login.principal if login and hmac.compare_digest(login.password, password) else None

    def _token(self, registry: str, user: str, password: str) -> Principal | None:
        token = self.tokens.get(f"{registry}/{user}")
        if token is None or token.status != "enabled":
            return None
        digest = password_digest(password)
        if not any(hmac.compare_digest(p.digest, digest) and not _expired(p) for p in token.passwords):
            return None
        return Principal(token.name, self._scope_map_rights(token), f"token:{token.name}")

    def _admin(self, registry: str, user: str, password: str) -> Principal | None:
        record = self._registries.get(registry)
        if record is None or not record.admin_user_enabled or user.lower() != record.name.lower():
            return None
        right = any(hmac.compare_digest(known, password) for known in record.admin_passwords)
        return Principal(record.name, EVERYTHING, f"admin:{record.name}") if right else None

    def _scope_map_rights(self, token: TokenRecord) -> Rights:
        scope_map = self.scope_map(token.registry, token.scope_map)
        return Rights.of_scope_map(scope_map.actions) if scope_map else Rights(())


def new_password() -> str:
    """A password of 52 letters and digits. One that began with a dash would be an option to a command line."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(52))


def password_digest(password: str) -> str:
    """The SHA-256 of a token's password, which is stored in its place."""
    return hashlib.sha256(password.encode()).hexdigest()


def unauthorized(message: str, headers: Mapping[str, Any] | None = None) -> Fault:
    """The registry's 401 response."""
    return Fault(401, "UNAUTHORIZED", message, headers)


def _hub_user(name: str) -> Principal:
    # Docker Hub's users are not known here. Any user name with any password may pull, like an anonymous client.
    return Principal(name, ANONYMOUS_PULL, f"{_HUB}:{name}")


def _entra(name: str) -> Principal:
    return Principal(name, EVERYTHING, f"entra:{name}")


def _expired(password: PasswordRecord) -> bool:
    return password.expiry is not None and datetime.fromisoformat(password.expiry) <= datetime.now(UTC)
