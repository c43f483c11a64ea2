"""The inputs of a request: the caller, the body, decoded to the type of its schema, and the query."""

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import azure.functions as func
import msgspec

from functions.web.responses import Forbidden
from shared.domain.errors import Malformed, Misconfigured
from shared.domain.record import Moment
from shared.interface import Role
from shared.interface.bodies import ReasonRequest
from shared.ports import ListFilter
from shared.queries.records import PAGE_LIMIT
from shared.settings import is_behind_sign_in, platform_signs_in

_ACTOR_LIMIT = 100
_LOOPBACK = frozenset(("127.0.0.1", "::1", "localhost"))


class _Claim(msgspec.Struct, frozen=True):
    typ: str = ""
    val: str = ""


class _Principal(msgspec.Struct, frozen=True):
    """The principal of App Service Authentication.

    Source: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
    """

    claims: tuple[_Claim, ...] = ()
    role_typ: str = "roles"


def actor_of(req: func.HttpRequest, role: Role) -> str:
    """The name of the caller, to be recorded.

    With App Service Authentication it is the signed-in person, who must have the role. Without, the host has checked a
    function key, which does not identify a person: a name in `X-Basegate-Actor` is recorded as a claim.

    Raises:
        Forbidden: nobody is signed in, or the role is missing.
        Misconfigured: sign-in is required but switched off, so that anybody could send its headers.
    """
    if not platform_signs_in():
        claimed = req.headers.get("X-Basegate-Actor", "").strip()[:_ACTOR_LIMIT]
        return f"{claimed} (by key)" if claimed.isprintable() and claimed else "a holder of the key"
    if not is_behind_sign_in():
        raise Misconfigured(
            "BASEGATE_SIGN_IN is easy-auth, and App Service Authentication is off",
            remedy="switch it on, or set BASEGATE_SIGN_IN to keys",
        )
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
    except (binascii.Error, ValueError, RecursionError) as error:
        raise Forbidden("nobody is signed in") from error


def require_own_site(req: func.HttpRequest) -> None:
    """Refuse cross-site requests (`Forbidden`), which a browser sends with the cookies of a signed-in person.

    Source: https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    """
    if req.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("cross-site requests are refused")


def require_https(req: func.HttpRequest) -> None:
    """Refuse pages over plain HTTP (`Forbidden`), except on loopback: they have data, and their requests the key.

    App Service ends TLS before the app, and forwards the scheme:
    https://learn.microsoft.com/azure/app-service/overview-tls
    """
    asked = urlsplit(req.url)
    scheme = req.headers.get("X-Forwarded-Proto", asked.scheme).rpartition(",")[2].strip()
    if scheme != "https" and asked.hostname not in _LOOPBACK:
        raise Forbidden("the board requires https")


BODY_LIMIT_BYTES = 16 * 1024

_KEY = frozenset(("code", "clientid"))
"""The query parameters of a function key.
Source: https://learn.microsoft.com/azure/azure-functions/function-keys-how-to#use-access-keys"""

_FIELD = re.compile(r"field `(?P<name>[^`]+)`|at `\$\.(?P<path>\w+)")

B = TypeVar("B", bound=ReasonRequest)


def read_body(req: func.HttpRequest, kind: type[B]) -> B:
    """The fields of a call: from its JSON body, or without one from its query. The reason may always be in the query.

    A body must have the content type of JSON, which the form of another site cannot send.

    Raises:
        Malformed: names the field that is missing, unknown or invalid.
    """
    raw, said = req.get_body(), req.headers.get("Content-Type", "")
    if (raw or said) and said.partition(";")[0].strip().lower() != "application/json":
        raise Malformed("Content-Type", "must be application/json")
    if len(raw) > BODY_LIMIT_BYTES:
        raise Malformed("body", f"is larger than {BODY_LIMIT_BYTES} bytes")
    query = {name: value for name, value in req.params.items() if name.lower() not in _KEY and name != "dry_run"}
    if not raw.strip():
        return _converted(query, kind, strict=False)
    require_known(req, ("dry_run", "reason"))
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed("body", f"is not a JSON object: {error}") from error
    except RecursionError:
        raise Malformed("body", "is nested too deeply") from None
    if "reason" in query:
        fields.setdefault("reason", query["reason"])
    return _converted(fields, kind, strict=True)


def _converted(fields: dict[str, Any], kind: type[B], *, strict: bool) -> B:
    try:
        return msgspec.convert(fields, kind, strict=strict)
    except msgspec.ValidationError as error:
        match = _FIELD.search(str(error))
        name = (match["name"] or match["path"]) if match else "body"
        raise Malformed(name, str(error).partition(" - at ")[0]) from error


def require_known(req: func.HttpRequest, names: Collection[str]) -> None:
    """Refuse query parameters other than these and a function key: `Malformed` names an unknown one."""
    if unknown := [name for name in req.params if name not in names and name.lower() not in _KEY]:
        known = f"known parameters: {', '.join(names)}" if names else "it has none"
        raise Malformed(unknown[0][:80], f"is not a parameter of this call; {known}")


def flag(req: func.HttpRequest, name: str) -> bool:
    """A boolean of the query; false if it is missing. Raises `Malformed` if it is neither `true` nor `false`."""
    text = str(req.params.get(name, "false"))
    if text not in ("true", "false"):
        raise Malformed(name, f"must be true or false, not {text[:40]!r}")
    return text == "true"


def page_of(req: func.HttpRequest, states: Iterable[str] = ()) -> dict[str, Any]:
    """The `limit`, the `token` and the filter (`only`) of a list with these states. Raises `Malformed`."""
    only = ListFilter(state=_state(req, tuple(states)), since=_moment(req, "since"), until=_moment(req, "until"))
    return {"limit": _limit(req), "token": req.params.get("token", ""), "only": only}


def _limit(req: func.HttpRequest) -> int:
    text = req.params.get("limit", str(PAGE_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= PAGE_LIMIT):
        raise Malformed("limit", f"must be a number from 1 to {PAGE_LIMIT}")
    return int(text)


def _state(req: func.HttpRequest, states: tuple[str, ...]) -> str:
    state = req.params.get("state")
    if state is not None and state not in states:
        known = f"must be one of {', '.join(states)}" if states else "this list has no states"
        raise Malformed("state", f"{known}, not {state[:40]!r}")
    return state or ""


def _moment(req: func.HttpRequest, name: str) -> datetime | None:
    text = req.params.get(name)
    if text is None:
        return None
    try:
        return msgspec.convert(text, Moment)
    except msgspec.ValidationError:
        hint = " (a + in a URL is written %2B)" if " " in text else ""
        problem = f"{text[:40]!r} is not an RFC 3339 time with an offset, like 2026-03-01T12:00:00Z{hint}"
        raise Malformed(name, problem) from None
