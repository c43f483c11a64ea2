"""The Azure Resource Manager operations on tokens: users of one registry, with passwords that are returned once.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-token-based-repository-permissions
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.operations import Operations, nothing
from sandbox.registry.accounts import Accounts, new_password, password_digest
from sandbox.registry.arm.bodies import GenerateCredentials, TokenBody, TokenProperties
from sandbox.registry.arm.properties import child_body
from sandbox.registry.arm.registries import CHILD_NAME, REGISTRY, RegistryControl
from sandbox.registry.arm.scope_maps import ScopeMapControl
from sandbox.registry.records import (
    API_VERSIONS,
    PROVIDER,
    PasswordRecord,
    RegistryRecord,
    TokenRecord,
    now,
    timestamp,
)
from sandbox.web import Call, Fault, Handler, Surface, json_answer

_TOKEN = REGISTRY + "/tokens/{token}"
_CHILD = re.compile(r"/(scopeMaps|tokens)/([^/]+)", re.IGNORECASE)


class TokenControl:
    """PUT, GET, PATCH, DELETE and list of tokens, and generateCredentials."""

    def __init__(
        self, control: RegistryControl, scope_maps: ScopeMapControl, accounts: Accounts, operations: Operations
    ) -> None:
        self._control, self._scope_maps = control, scope_maps
        self._accounts, self._operations = accounts, operations

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        operations: list[tuple[str, str, Handler]] = [
            ("GET", REGISTRY + "/tokens", self._list_tokens),
            ("GET", _TOKEN, self._get_token),
            ("PUT", _TOKEN, self._put_token),
            ("PATCH", _TOKEN, self._put_token),
            ("DELETE", _TOKEN, self._delete_token),
            ("POST", REGISTRY + "/generateCredentials", self._generate),
        ]
        for method, pattern, handler in operations:
            arm.operation(method, pattern, versions=API_VERSIONS)(handler)

    async def _list_tokens(self, call: Call) -> web.StreamResponse:
        """The tokens of a registry."""
        record = self._control.require(call)
        return json_answer({"value": [_token_body(record, t) for t in self._accounts.tokens.values(f"{record.name}/")]})

    async def _get_token(self, call: Call) -> web.StreamResponse:
        """One token, without its passwords."""
        record = self._control.require(call)
        return json_answer(_token_body(record, self._token(record, call.params["token"])))

    async def _put_token(self, call: Call) -> web.StreamResponse:
        """Create or change a token."""
        record, name = self._control.require(call), call.params["token"]
        requested = (await call.body(TokenBody)).properties
        known = self._accounts.tokens.get(f"{record.name}/{name}")
        if call.request.method == "PATCH":
            known = self._token(record, name)
        elif not requested.scope_map_id or not CHILD_NAME.fullmatch(name):
            raise Fault(400, "InvalidToken", f"The token '{name}' needs a scopeMapId and a name of 5 to 50 characters.")
        scope_map = known.scope_map if known else ""
        if requested.scope_map_id:
            scope_map = self._scope_maps.require(record, _child(record, "scopeMaps", requested.scope_map_id)).name
        token = TokenRecord(
            registry=record.name,
            name=known.name if known else name,
            scope_map=scope_map,
            created=known.created if known else now(),
            status=requested.status or (known.status if known else "enabled"),
            passwords=_kept(known, requested),
        )
        self._accounts.tokens.put(f"{record.name}/{name}", token)
        return json_answer(_token_body(record, token), 200 if known else 201)

    async def _delete_token(self, call: Call) -> web.StreamResponse:
        """Delete a token; its passwords become invalid."""
        record, name = self._control.require(call), call.params["token"]
        if self._accounts.tokens.remove(f"{record.name}/{name}") is None:
            return web.Response(status=204)
        return self._operations.accept(call, PROVIDER, nothing())

    async def _generate(self, call: Call) -> web.StreamResponse:
        """Generate one or both passwords of a token; only this response contains them."""
        record, requested = self._control.require(call), await call.body(GenerateCredentials)
        token = self._token(record, _child(record, "tokens", requested.token_id))
        expiry = _expiry(requested.expiry)
        passwords = {password.name: password for password in token.passwords}
        shown = []
        for name in (requested.name,) if requested.name else ("password1", "password2"):
            value = new_password()
            created = PasswordRecord(name=name, digest=password_digest(value), created=now(), expiry=expiry)
            passwords[name] = created
            shown.append(_password_body(created) | {"value": value})
        token = msgspec.structs.replace(token, passwords=tuple(passwords[name] for name in sorted(passwords)))
        self._accounts.tokens.put(f"{record.name}/{token.name}", token)
        return json_answer({"username": token.name, "passwords": shown})

    def _token(self, record: RegistryRecord, name: str) -> TokenRecord:
        found = self._accounts.tokens.get(f"{record.name}/{name}")
        if found is None:
            raise Fault(404, "TokenNotFound", f"The registry '{record.name}' has no token '{name}'.")
        return found


def _token_body(record: RegistryRecord, token: TokenRecord) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "creationDate": token.created,
        "credentials": {"passwords": [_password_body(password) for password in token.passwords]},
        "provisioningState": "Succeeded",
        "scopeMapId": f"{record.id}/scopeMaps/{token.scope_map}",
        "status": token.status,
    }
    return child_body(record, "tokens", token.name, properties)


def _password_body(password: PasswordRecord) -> dict[str, Any]:
    body = {"name": password.name, "creationTime": password.created}
    return body | {"expiry": password.expiry} if password.expiry else body


def _kept(known: TokenRecord | None, requested: TokenProperties) -> tuple[PasswordRecord, ...]:
    if known is None:
        return ()
    if requested.credentials is None:
        return known.passwords
    names = {password.name for password in requested.credentials.passwords}
    return tuple(password for password in known.passwords if password.name in names)


def _child(record: RegistryRecord, kind: str, resource_id: str) -> str:
    prefix, rest = resource_id[: len(record.id)], resource_id[len(record.id) :]
    match = _CHILD.fullmatch(rest)
    if prefix.lower() != record.id.lower() or not match or match[1].lower() != kind.lower():
        raise Fault(400, "InvalidResourceId", f"'{resource_id}' is not the id of one of the {kind} of '{record.name}'.")
    return match[2]


def _expiry(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Fault(400, "InvalidExpiry", f"The expiry '{text}' is no date-time.") from error
    return timestamp(moment)
