"""Role assignments: a principal, a role and a scope. They are recorded and returned, not enforced.

Source: https://learn.microsoft.com/rest/api/authorization/role-assignments
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.query import only, parse_filter
from sandbox.arm.roles.definitions import find_role
from sandbox.instance import SUBSCRIPTION
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

_VERSIONS = ("2015-07-01", "2018-09-01-preview", "2020-04-01-preview", "2020-10-01-preview", "2022-04-01")
_PATH = "/{scope:rest}/providers/Microsoft.Authorization/roleAssignments"
_FILTERS = ("atScope()", "assignedTo()", "principalId")


class Assignment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One role assignment, as stored and as returned in `properties`."""

    role_definition_id: str
    principal_id: str
    principal_type: str | None
    scope: str
    description: str | None
    condition: str | None
    condition_version: str | None
    created_on: str
    updated_on: str
    created_by: str
    name: str


class _Properties(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    role_definition_id: str
    principal_id: str
    principal_type: str | None = None
    description: str | None = None
    condition: str | None = None
    condition_version: str | None = None
    delegated_managed_identity_resource_id: None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    properties: _Properties


class RoleAssignments:
    """The role assignments of the subscription."""

    def __init__(self, file: Path) -> None:
        self._assignments = Collection(file, Assignment)

    def mount(self, arm: Surface) -> None:
        """Add the role assignment operations to the ARM surface, at every scope."""
        arm.operation("GET", _PATH, versions=_VERSIONS)(self._list)
        arm.operation("PUT", _PATH + "/{name}", versions=_VERSIONS)(self._put)
        arm.operation("GET", _PATH + "/{name}", versions=_VERSIONS)(self._get)
        arm.operation("DELETE", _PATH + "/{name}", versions=_VERSIONS)(self._delete)

    def at_or_above(self, scope: str, principal_id: str) -> Iterator[str]:
        """The names of the roles that a principal has at a scope, directly or inherited."""
        for assignment in self._assignments.values():
            if assignment.principal_id.lower() == principal_id.lower() and _covers(assignment.scope, scope):
                yield find_role(assignment.role_definition_id.rpartition("/")[2])

    async def delete_group(self, group: str) -> None:
        """Remove the assignments at a resource group and below it."""
        scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}"
        for assignment in self._assignments.values():
            if _covers(scope, assignment.scope):
                self._assignments.remove(_key(assignment.scope, assignment.name))

    async def _list(self, call: Call) -> web.StreamResponse:
        """The role assignments at a scope, and above and below it."""
        only(call, "$filter")
        scope = _scope(call)
        filters = parse_filter(call.query.get("$filter", ""), _FILTERS)
        found = [_answer(item) for item in self._assignments.values() if _matches(item, scope, filters)]
        return json_answer({"value": found})

    async def _put(self, call: Call) -> web.StreamResponse:
        """Assign a role."""
        scope, name, body = _scope(call), call.params["name"], (await call.body(_Body)).properties
        find_role(body.role_definition_id.rpartition("/")[2])
        key = _key(scope, name)
        self._refuse_second(body, scope, key)
        now = datetime.now(UTC).isoformat()
        assignment = Assignment(
            role_definition_id=body.role_definition_id,
            principal_id=body.principal_id,
            principal_type=body.principal_type or "ServicePrincipal",
            scope=scope,
            description=body.description,
            condition=body.condition,
            condition_version=body.condition_version,
            created_on=now,
            updated_on=now,
            created_by=str(call.claims.get("oid", "")),
            name=name,
        )
        return json_answer(_answer(self._assignments.put(key, assignment)), 201)

    async def _get(self, call: Call) -> web.StreamResponse:
        """One role assignment."""
        only(call)
        name = call.params["name"]
        assignment = self._assignments.get(_key(_scope(call), name))
        if assignment is None:
            raise Fault(404, "RoleAssignmentNotFound", f"The role assignment '{name}' is not found.")
        return json_answer(_answer(assignment))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Remove a role assignment."""
        assignment = self._assignments.remove(_key(_scope(call), call.params["name"]))
        return web.Response(status=204) if assignment is None else json_answer(_answer(assignment))

    def _refuse_second(self, body: _Properties, scope: str, key: str) -> None:
        for other in self._assignments.values():
            same_role = other.role_definition_id.rpartition("/")[2] == body.role_definition_id.rpartition("/")[2]
            same = same_role and other.principal_id == body.principal_id and other.scope.lower() == scope.lower()
            if same and _key(other.scope, other.name) != key:
                raise Fault(409, "RoleAssignmentExists", f"The role assignment already exists. The ID is {other.name}.")
            if not same and _key(other.scope, other.name) == key:
                message = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
                raise Fault(409, "RoleAssignmentUpdateNotPermitted", message)


def _scope(call: Call) -> str:
    scope = "/" + call.params["scope"]
    if not _covers(f"/subscriptions/{SUBSCRIPTION}", scope):
        raise Fault(404, "SubscriptionNotFound", f"The scope '{scope}' is not in the subscription '{SUBSCRIPTION}'.")
    return scope


def _covers(upper: str, lower: str) -> bool:
    return (lower.lower() + "/").startswith(upper.lower() + "/")


def _matches(assignment: Assignment, scope: str, filters: Mapping[str, str]) -> bool:
    above, below = _covers(assignment.scope, scope), _covers(scope, assignment.scope)
    principal = filters.get("principalId") or filters.get("assignedTo()") or assignment.principal_id
    return (above or (below and "atScope()" not in filters)) and assignment.principal_id.lower() == principal.lower()


def _key(scope: str, name: str) -> str:
    return f"{scope}|{name}"


def _answer(assignment: Assignment) -> dict[str, Any]:
    properties = msgspec.to_builtins(assignment)
    name = properties.pop("name")
    return {
        "id": f"{assignment.scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": properties,
    }
