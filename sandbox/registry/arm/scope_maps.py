"""The Azure Resource Manager operations on scope maps: named lists of actions on repositories.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-token-based-repository-permissions
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.arm.operations import Operations, nothing
from sandbox.registry.accounts import Accounts
from sandbox.registry.arm.bodies import ScopeMapBody
from sandbox.registry.arm.properties import child_body
from sandbox.registry.arm.registries import CHILD_NAME, REGISTRY, RegistryControl
from sandbox.registry.records import API_VERSIONS, PROVIDER, RegistryRecord, ScopeMapRecord, now
from sandbox.registry.rights import SYSTEM_SCOPE_MAPS, Rights
from sandbox.web import Call, Fault, Handler, Surface, json_answer

_SCOPE_MAP = REGISTRY + "/scopeMaps/{map}"


class ScopeMapControl:
    """PUT, GET, PATCH, DELETE and list of scope maps; those of the system always exist and cannot be changed."""

    def __init__(self, control: RegistryControl, accounts: Accounts, operations: Operations) -> None:
        self._control, self._accounts, self._operations = control, accounts, operations

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        operations: list[tuple[str, str, Handler]] = [
            ("GET", REGISTRY + "/scopeMaps", self._list),
            ("GET", _SCOPE_MAP, self._get),
            ("PUT", _SCOPE_MAP, self._put),
            ("PATCH", _SCOPE_MAP, self._put),
            ("DELETE", _SCOPE_MAP, self._delete),
        ]
        for method, pattern, handler in operations:
            arm.operation(method, pattern, versions=API_VERSIONS)(handler)

    def require(self, record: RegistryRecord, name: str) -> ScopeMapRecord:
        """A scope map of a registry.

        Raises:
            Fault: 404 ScopeMapNotFound.
        """
        found = self._accounts.scope_map(record.name, name)
        if found is None:
            raise Fault(404, "ScopeMapNotFound", f"The registry '{record.name}' has no scope map '{name}'.")
        return found

    async def _list(self, call: Call) -> web.StreamResponse:
        """The scope maps of a registry, including the system scope maps."""
        record = self._control.require(call)
        system = (self._accounts.scope_map(record.name, name) for name in SYSTEM_SCOPE_MAPS)
        custom = self._accounts.scope_maps.values(f"{record.name}/")
        return json_answer({"value": [_body(record, m) for m in (*system, *custom) if m]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One scope map."""
        record = self._control.require(call)
        return json_answer(_body(record, self.require(record, call.params["map"])))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create or change a scope map."""
        record, name = self._control.require(call), call.params["map"]
        given = (await call.body(ScopeMapBody)).properties
        if name in SYSTEM_SCOPE_MAPS:
            raise Fault(400, "SystemScopeMapUpdateNotAllowed", f"The scope map '{name}' is managed by the system.")
        known = self._accounts.scope_map(record.name, name)
        if call.request.method == "PATCH":
            known = self.require(record, name)
        elif given.actions is None or not CHILD_NAME.fullmatch(name):
            raise Fault(400, "InvalidScopeMap", f"The scope map '{name}' needs actions and a name of 5 to 50 letters.")
        changed = ScopeMapRecord(
            registry=record.name,
            name=known.name if known else name,
            actions=given.actions if given.actions is not None else known.actions if known else (),
            created=known.created if known else now(),
            description=given.description if given.description is not None else known.description if known else None,
        )
        Rights.of_scope_map(changed.actions)
        self._accounts.scope_maps.put(f"{record.name}/{name}", changed)
        return json_answer(_body(record, changed), 200 if known else 201)

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Delete a scope map that no token uses."""
        record, name = self._control.require(call), call.params["map"]
        if self._accounts.scope_map(record.name, name) is None:
            return web.Response(status=204)
        users = [t.name for t in self._accounts.tokens.values(f"{record.name}/") if t.scope_map.lower() == name.lower()]
        if name in SYSTEM_SCOPE_MAPS or users:
            reason = f"tokens use it: {', '.join(users)}" if users else "it is managed by the system"
            raise Fault(409, "ScopeMapInUse", f"The scope map '{name}' cannot be deleted: {reason}.")
        self._accounts.scope_maps.remove(f"{record.name}/{name}")
        return self._operations.accept(call, PROVIDER, nothing())


def _body(record: RegistryRecord, scope_map: ScopeMapRecord) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "actions": scope_map.actions,
        "creationDate": scope_map.created,
        "description": scope_map.description,
        "provisioningState": "Succeeded",
        "type": scope_map.type,
    }
    return child_body(record, "scopeMaps", scope_map.name, properties)
