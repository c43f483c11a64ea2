"""The queries about principals that `az` sends to Microsoft Graph before it assigns a role or creates a vault.

Source: https://learn.microsoft.com/graph/api/serviceprincipal-list and .../directoryobject-getbyids
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.query import only
from sandbox.entra import Issuer
from sandbox.identity import SYSTEM_CLIENT_ID, SYSTEM_PRINCIPAL_ID
from sandbox.web import Call, Fault, Surface, json_answer

_AUDIENCES = ("https://graph.microsoft.com",)
_BY_NAME = re.compile(r"servicePrincipalNames/any\(c:\s*c eq '([^']*)'\)")
# `az login --identity` knows its identity only by this name, and looks it up in the directory.
_SYSTEM_NAMES = (SYSTEM_CLIENT_ID, "systemAssignedIdentity")


class _Ids(msgspec.Struct, forbid_unknown_fields=True):
    ids: list[str]
    types: list[str] = []


class Directory:
    """The service principals of managed identities, the only principals here.

    Args:
        issuer: validates the tokens.
        principal_of: returns the principal id for a user-assigned identity's client id, or None.
    """

    def __init__(self, issuer: Issuer, principal_of: Callable[[str], str | None]) -> None:
        self._issuer, self._principal_of = issuer, principal_of

    def surface(self) -> Surface:
        """The surface `graph.microsoft.com`."""
        surface = Surface("Microsoft Graph", r"graph\.microsoft\.com", authorize=self._authorize)
        surface.operation("GET", "/v1.0/me")(self._get_me)
        surface.operation("GET", "/v1.0/users")(self._list_users)
        surface.operation("GET", "/v1.0/servicePrincipals")(self._list_service_principals)
        surface.operation("POST", "/v1.0/directoryObjects/getByIds")(self._get_by_ids)
        return surface

    def _authorize(self, request: web.BaseRequest, host: str, params: Mapping[str, str]) -> Mapping[str, Any]:
        return self._issuer.bearer(request.headers.get("Authorization", ""), _AUDIENCES)

    async def _get_me(self, call: Call) -> web.StreamResponse:
        """The signed-in user; a sandbox never has one."""
        raise Fault(400, "BadRequest", "/me request is only valid with delegated authentication flow.")

    async def _list_users(self, call: Call) -> web.StreamResponse:
        """The users of the directory; a sandbox has none."""
        only(call, "$filter")
        return json_answer({"value": []})

    async def _list_service_principals(self, call: Call) -> web.StreamResponse:
        """The service principal with a name or client id."""
        only(call, "$filter")
        text = call.query.get("$filter", "")
        match = _BY_NAME.fullmatch(text)
        if not match:
            message = f"The sandbox supports the filter servicePrincipalNames/any(c:c eq '…') only, not \"{text}\"."
            raise Fault(400, "Request_UnsupportedQuery", message)
        principal = SYSTEM_PRINCIPAL_ID if match[1] in _SYSTEM_NAMES else self._principal_of(match[1])
        return json_answer({"value": [_service_principal(principal)] if principal else []})

    async def _get_by_ids(self, call: Call) -> web.StreamResponse:
        """The objects with these ids: each is the service principal of a managed identity, the only kind here."""
        body = await call.body(_Ids)
        return json_answer({"value": [_service_principal(principal) for principal in body.ids]})


def _service_principal(principal_id: str) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.servicePrincipal",
        "id": principal_id,
        "displayName": principal_id,
        "servicePrincipalType": "ManagedIdentity",
    }
