"""Scope maps, tokens and their passwords as Azure Resource Manager sees them.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-token-based-repository-permissions
"""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.operations import Operations
from sandbox.registry.accounts import Accounts, password_digest
from sandbox.registry.control import REGISTRY, RegistryControl
from sandbox.registry.records import (
    API_VERSIONS,
    PROVIDER,
    PasswordRecord,
    RegistryRecord,
    ScopeMapRecord,
    TokenRecord,
    now,
    timestamp,
)
from sandbox.registry.rights import SYSTEM_SCOPE_MAPS, Rights
from sandbox.registry.shapes import GenerateCredentials, ScopeMapBody, TokenBody, TokenProperties
from sandbox.web import Call, Fault, Handler, Surface, json_answer

_SCOPE_MAP = REGISTRY + "/scopeMaps/{map}"
_TOKEN = REGISTRY + "/tokens/{token}"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{4,49}")
_CHILD = re.compile(r"/(scopeMaps|tokens)/([^/]+)", re.IGNORECASE)


class TokenControl:
    """PUT, GET, PATCH, DELETE and lists of scope maps and tokens, and generateCredentials."""

    def __init__(self, control: RegistryControl, accounts: Accounts, operations: Operations) -> None:
        self._control, self._accounts, self._operations = control, accounts, operations

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        operations: list[tuple[str, str, Handler]] = [
            ("GET", REGISTRY + "/scopeMaps", self._list_scope_maps),
            ("GET", _SCOPE_MAP, self._get_scope_map),
            ("PUT", _SCOPE_MAP, self._put_scope_map),
            ("PATCH", _SCOPE_MAP, self._put_scope_map),
            ("DELETE", _SCOPE_MAP, self._delete_scope_map),
            ("GET", REGISTRY + "/tokens", self._list_tokens),
            ("GET", _TOKEN, self._get_token),
            ("PUT", _TOKEN, self._put_token),
            ("PATCH", _TOKEN, self._put_token),
            ("DELETE", _TOKEN, self._delete_token),
            ("POST", REGISTRY + "/generateCredentials", self._generate),
        ]
        for method, pattern, handler in operations:
            arm.operation(method, pattern, versions=API_VERSIONS)(handler)

    async def _list_scope_maps(self, call: Call) -> web.StreamResponse:
        """The scope maps of a registry, those that every registry has included."""
        record = self._control.require(call)
        system = (self._accounts.scope_map(record.name, name) for name in SYSTEM_SCOPE_MAPS)
        custom = self._accounts.scope_maps.values(f"{record.name}/")
        return json_answer({"value": [_scope_map_body(record, m) for m in (*system, *custom) if m]})

    async def _get_scope_map(self, call: Call) -> web.StreamResponse:
        """One scope map."""
        record = self._control.require(call)
        return json_answer(_scope_map_body(record, self._scope_map(record, call.params["map"])))

    async def _put_scope_map(self, call: Call) -> web.StreamResponse:
        """Create or change a scope map."""
        record, name = self._control.require(call), call.params["map"]
        asked = (await call.body(ScopeMapBody)).properties
        known = self._accounts.scope_map(record.name, name)
        if known and known.type != "UserDefined":
            raise Fault(400, "SystemScopeMapUpdateNotAllowed", f"The scope map '{name}' is managed by the system.")
        if call.request.method == "PATCH":
            known = self._scope_map(record, name)
        elif asked.actions is None or not _NAME.fullmatch(name):
            raise Fault(400, "InvalidScopeMap", f"The scope map '{name}' needs actions and a name of 5 to 50 letters.")
        actions = asked.actions if asked.actions is not None else known.actions if known else ()
        Rights.of_scope_map(actions)
        description = asked.description if asked.description is not None else known.description if known else None
        changed = ScopeMapRecord(
            registry=record.name,
            name=name,
            actions=actions,
            created=known.created if known else now(),
            description=description,
        )
        self._accounts.scope_maps.put(f"{record.name}/{name}", changed)
        return json_answer(_scope_map_body(record, changed), 200 if known else 201)

    async def _delete_scope_map(self, call: Call) -> web.StreamResponse:
        """Delete a scope map that no token uses."""
        record, name = self._control.require(call), call.params["map"]
        if self._accounts.scope_map(record.name, name) is None:
            return web.Response(status=204)
        users = [t.name for t in self._accounts.tokens.values(f"{record.name}/") if t.scope_map.lower() == name.lower()]
        if name in SYSTEM_SCOPE_MAPS or users:
            reason = f"tokens use it: {', '.join(users)}" if users else "it is managed by the system"
            raise Fault(409, "ScopeMapInUse", f"The scope map '{name}' cannot be deleted: {reason}.")
        self._accounts.scope_maps.remove(f"{record.name}/{name}")
        return self._operations.accept(call, PROVIDER, _nothing())

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
        asked = (await call.body(TokenBody)).properties
        known = self._accounts.tokens.get(f"{record.name}/{name}")
        if call.request.method == "PATCH":
            known = self._token(record, name)
        elif not asked.scope_map_id or not _NAME.fullmatch(name):
            raise Fault(400, "InvalidToken", f"The token '{name}' needs a scopeMapId and a name of 5 to 50 characters.")
        scope_map = known.scope_map if known else ""
        if asked.scope_map_id:
            scope_map = self._scope_map(record, _child(record, "scopeMaps", asked.scope_map_id)).name
        token = TokenRecord(
            registry=record.name,
            name=known.name if known else name,
            scope_map=scope_map,
            created=known.created if known else now(),
            status=asked.status or (known.status if known else "enabled"),
            passwords=_kept(known, asked),
        )
        self._accounts.tokens.put(f"{record.name}/{name}", token)
        return json_answer(_token_body(record, token), 200 if known else 201)

    async def _delete_token(self, call: Call) -> web.StreamResponse:
        """Delete a token; its passwords are worth nothing from now on."""
        record, name = self._control.require(call), call.params["token"]
        if self._accounts.tokens.remove(f"{record.name}/{name}") is None:
            return web.Response(status=204)
        return self._operations.accept(call, PROVIDER, _nothing())

    async def _generate(self, call: Call) -> web.StreamResponse:
        """Generate one or both passwords of a token; they are shown this once."""
        record, asked = self._control.require(call), await call.body(GenerateCredentials)
        token = self._token(record, _child(record, "tokens", asked.token_id))
        expiry = _expiry(asked.expiry)
        passwords = {password.name: password for password in token.passwords}
        shown = []
        for name in (asked.name,) if asked.name else ("password1", "password2"):
            value = secrets.token_urlsafe(39)
            made = PasswordRecord(name=name, digest=password_digest(value), created=now(), expiry=expiry)
            passwords[name] = made
            shown.append(_password_body(made) | {"value": value})
        token = msgspec.structs.replace(token, passwords=tuple(passwords[name] for name in sorted(passwords)))
        self._accounts.tokens.put(f"{record.name}/{token.name}", token)
        return json_answer({"username": token.name, "passwords": shown})

    def _scope_map(self, record: RegistryRecord, name: str) -> ScopeMapRecord:
        found = self._accounts.scope_map(record.name, name)
        if found is None:
            raise Fault(404, "ScopeMapNotFound", f"The registry '{record.name}' has no scope map '{name}'.")
        return found

    def _token(self, record: RegistryRecord, name: str) -> TokenRecord:
        found = self._accounts.tokens.get(f"{record.name}/{name}")
        if found is None:
            raise Fault(404, "TokenNotFound", f"The registry '{record.name}' has no token '{name}'.")
        return found


async def _nothing() -> None:
    """What is left to do of a deletion that is done."""


def _scope_map_body(record: RegistryRecord, scope_map: ScopeMapRecord) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "actions": scope_map.actions,
        "creationDate": scope_map.created,
        "description": scope_map.description,
        "provisioningState": "Succeeded",
        "type": scope_map.type,
    }
    return _body(record, "scopeMaps", scope_map.name, properties)


def _token_body(record: RegistryRecord, token: TokenRecord) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "creationDate": token.created,
        "credentials": {"passwords": [_password_body(password) for password in token.passwords]},
        "provisioningState": "Succeeded",
        "scopeMapId": f"{record.id}/scopeMaps/{token.scope_map}",
        "status": token.status,
    }
    return _body(record, "tokens", token.name, properties)


def _body(record: RegistryRecord, kind: str, name: str, properties: dict[str, Any]) -> dict[str, Any]:
    type_ = f"{PROVIDER}/registries/{kind}"
    return {"id": f"{record.id}/{kind}/{name}", "name": name, "type": type_, "properties": properties}


def _password_body(password: PasswordRecord) -> dict[str, Any]:
    body = {"name": password.name, "creationTime": password.created}
    return body | {"expiry": password.expiry} if password.expiry else body


def _kept(known: TokenRecord | None, asked: TokenProperties) -> tuple[PasswordRecord, ...]:
    if known is None:
        return ()
    if asked.credentials is None:
        return known.passwords
    names = {password.name for password in asked.credentials.passwords}
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
