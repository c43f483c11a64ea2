"""Who asks: a holder of a function key, or a person whom App Service Authentication has signed in.

Source: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import binascii
from enum import StrEnum

import azure.functions as func
import msgspec

from functions.web.answers import Forbidden
from shared.settings import trusts_sign_in

_ACTOR_LIMIT = 100


class Role(StrEnum):
    """App roles; each includes those before it."""

    READER = "Basegate.Reader"
    OPERATOR = "Basegate.Operator"
    APPROVER = "Basegate.Approver"


class _Claim(msgspec.Struct, frozen=True):
    typ: str = ""
    val: str = ""


class _Principal(msgspec.Struct, frozen=True):
    """Whom App Service has signed in."""

    claims: tuple[_Claim, ...] = ()
    role_typ: str = "roles"


def auth_level() -> func.AuthLevel:
    """What the host checks before a function runs: a key, unless sign-in stands in front and the roles decide."""
    return func.AuthLevel.ANONYMOUS if trusts_sign_in() else func.AuthLevel.FUNCTION


def actor_of(req: func.HttpRequest, role: Role) -> str:
    """The name to record for whoever asks.

    With sign-in trusted, the signed-in person, who must have the role. Without, the host has checked a function
    key, which says nothing about a person: a name in `X-Basegate-Actor` is taken down as what it is, a claim.

    Raises:
        Forbidden: nobody is signed in, or the role is missing.
    """
    if not trusts_sign_in():
        claimed = req.headers.get("X-Basegate-Actor", "").strip()[:_ACTOR_LIMIT]
        return f"{claimed} (by key)" if claimed.isprintable() and claimed else "a holder of the key"
    principal = _principal(req)
    roles = {claim.val for claim in principal.claims if claim.typ == principal.role_typ}
    including = list(Role)[list(Role).index(role) :]
    if roles.isdisjoint(one.value for one in including):
        raise Forbidden(f"this needs the app role {role.value}")
    return str(req.headers.get("X-MS-CLIENT-PRINCIPAL-NAME", "someone signed in"))[:_ACTOR_LIMIT]


def _principal(req: func.HttpRequest) -> _Principal:
    try:
        content = base64.b64decode(req.headers.get("X-MS-CLIENT-PRINCIPAL", ""))
        return msgspec.json.decode(content, type=_Principal)
    except (binascii.Error, ValueError, RecursionError) as error:  # whatever is no principal is nobody's
        raise Forbidden("nobody is signed in") from error
