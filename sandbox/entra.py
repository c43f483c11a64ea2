"""Access tokens: issued by the identity endpoint and the login endpoints, validated by every service."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jwt

from sandbox.instance import TENANT
from sandbox.private import stored_text
from sandbox.web import Fault

ARM_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
VAULT_AUDIENCES = ("https://vault.azure.net",)
STORAGE_AUDIENCES = ("https://storage.azure.com",)
EVENTGRID_AUDIENCES = ("https://eventgrid.azure.net",)
REGISTRY_AUDIENCES = ("https://containerregistry.azure.net", *ARM_AUDIENCES)

_LIFE_SECONDS = 86_400


class Issuer:
    """Signs and verifies the tokens of one instance; the key is in its state folder."""

    def __init__(self, folder: Path) -> None:
        self._key = stored_text(folder / "token.key", _secret)
        self.identity_header = stored_text(folder / "identity-header", _secret)

    def issue(self, audience: str, *, life_seconds: int = _LIFE_SECONDS, **claims: Any) -> str:
        """A token for an audience (a resource URL without `/.default`), valid from now."""
        now = int(time.time())
        standard = {
            "aud": audience.rstrip("/"),
            "iss": f"https://sts.windows.net/{TENANT}/",
            "tid": TENANT,
            "iat": now,
            "nbf": now - 300,
            "exp": now + life_seconds,
        }
        return jwt.encode(standard | claims, self._key, algorithm="HS256")

    def read(self, token: str, audiences: Iterable[str]) -> Mapping[str, Any]:
        """The claims of a token that this instance issued for one of the audiences.

        Raises:
            Fault: 401 InvalidAuthenticationToken with the reason: expired, foreign, or for another audience.
        """
        try:
            return dict(jwt.decode(token, self._key, algorithms=["HS256"], audience=list(audiences)))
        except jwt.PyJWTError as error:
            message = f"The access token is not valid here: {error}. Get one from this sandbox's identity endpoint."
            raise Fault(401, "InvalidAuthenticationToken", message) from error

    def bearer(self, authorization: str, audiences: Iterable[str]) -> Mapping[str, Any]:
        """The claims of an `Authorization: Bearer` header.

        Raises:
            Fault: 401 if the header is missing or of another scheme, or the token is not valid.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Fault(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
        return self.read(token, audiences)


def _secret() -> str:
    return secrets.token_urlsafe(32)
