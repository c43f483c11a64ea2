"""The Azure Resource Manager operations on the registries of a subscription.

Source: Azure REST API specification, Microsoft.ContainerRegistry/registries.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.body import region
from sandbox.registry.accounts import new_password
from sandbox.registry.arm.bodies import NameCheck, RegenerateCredential, RegistryBody, RegistryChange
from sandbox.registry.arm.properties import child_body, identity_of, registry_body, with_properties
from sandbox.registry.records import API_VERSIONS, PROVIDER, RegistryRecord, now
from sandbox.store import Collection
from sandbox.web import Call, Fault, Handler, Surface, json_answer

GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/" + PROVIDER
REGISTRY = GROUP + "/registries/{registry}"
_SUBSCRIPTION = "/subscriptions/{subscription}/providers/" + PROVIDER

_PRIVATE_LINK = "registry"
CHILD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{4,49}")
_NAME = re.compile(r"[A-Za-z0-9]{5,50}")


class RegistryControl:
    """PUT, GET, PATCH, DELETE and lists of registries, and their admin user.

    Args:
        records: the existing registries.
        check: raises a `Fault` if what a registry has is too much for its SKU; called before a record is stored.
        opened: called with every new or changed record after it is stored.
        closed: called with a record that was deleted.
    """

    def __init__(
        self,
        records: Collection[RegistryRecord],
        check: Callable[[RegistryRecord], None],
        opened: Callable[[RegistryRecord], Awaitable[None]],
        closed: Callable[[RegistryRecord], Awaitable[None]],
    ) -> None:
        self._records, self._check, self._opened, self._closed = records, check, opened, closed

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        operations: list[tuple[str, str, Handler]] = [
            ("POST", _SUBSCRIPTION + "/checkNameAvailability", self._check_name),
            ("GET", _SUBSCRIPTION + "/registries", self._list),
            ("GET", GROUP + "/registries", self._list),
            ("GET", REGISTRY, self._get),
            ("PUT", REGISTRY, self._put),
            ("PATCH", REGISTRY, self._patch),
            ("DELETE", REGISTRY, self._delete),
            ("GET", REGISTRY + "/privateEndpointConnections", self._list_private_endpoints),
            ("GET", REGISTRY + "/privateLinkResources", self._list_private_links),
            ("GET", REGISTRY + "/privateLinkResources/{link}", self._get_private_link),
            ("POST", REGISTRY + "/listCredentials", self._list_credentials),
            ("POST", REGISTRY + "/regenerateCredential", self._regenerate_credential),
        ]
        for method, pattern, handler in operations:
            arm.operation(method, pattern, versions=API_VERSIONS)(handler)

    def require(self, call: Call) -> RegistryRecord:
        """The registry in a call's path.

        Raises:
            Fault: 404 ResourceNotFound.
        """
        name, group = call.params["registry"], call.params["group"]
        record = self._records.get(name)
        if record is None or record.group.lower() != group.lower():
            message = (
                f"The Resource '{PROVIDER}/registries/{name}' under resource group '{group}' was not found. "
                "For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            )
            raise Fault(404, "ResourceNotFound", message)
        return record

    async def _check_name(self, call: Call) -> web.StreamResponse:
        """Whether a registry name is valid and available."""
        name = (await call.body(NameCheck)).name
        reason, message = self._objection(name)
        body: dict[str, Any] = {"nameAvailable": not reason}
        if reason:
            body |= {"reason": reason, "message": message}
        return json_answer(body)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The registries of the subscription, or of a resource group."""
        group = call.params.get("group", "").lower()
        found = [r for r in self._records.values() if not group or r.group.lower() == group]
        return json_answer({"value": [registry_body(record) for record in found]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One registry."""
        return json_answer(registry_body(self.require(call)))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a registry, or replace its settings."""
        body, name = await call.body(RegistryBody), call.params["registry"]
        known = self._records.get(name)
        if known is None or known.group.lower() != call.params["group"].lower():
            reason, message = self._objection(name)
            if reason:
                code = "AlreadyInUse" if reason == "AlreadyExists" else "InvalidResourceName"
                raise Fault(409 if known else 400, code, message)
        record = RegistryRecord(
            name=known.name if known else name,
            group=known.group if known else call.params["group"],
            location=region(body.location),
            sku=body.sku.name,
            created=known.created if known else now(),
            tags=body.tags or {},
            identity=identity_of(body.identity),
            admin_passwords=known.admin_passwords if known else (new_password(), new_password()),
        )
        return await self._store(with_properties(record, body.properties), 200 if known else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a registry's settings."""
        record, change = self.require(call), await call.body(RegistryChange)
        if change.location and region(change.location) != record.location:
            raise Fault(400, "InvalidParameter", f"The location of '{record.name}' cannot be changed.")
        if change.sku:
            record = msgspec.structs.replace(record, sku=change.sku.name)
        if change.tags is not None:
            record = msgspec.structs.replace(record, tags=change.tags)
        if change.identity is not None:
            record = msgspec.structs.replace(record, identity=identity_of(change.identity))
        return await self._store(with_properties(record, change.properties), 200)

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Delete a registry with its content, tokens and scope maps."""
        try:
            record = self.require(call)
        except Fault:
            return web.Response(status=204)
        self._records.remove(record.name)
        await self._closed(record)
        return web.Response(status=200)

    async def _list_private_endpoints(self, call: Call) -> web.StreamResponse:
        """The private endpoints of a registry: always empty, because the sandbox has no virtual networks."""
        self.require(call)
        return json_answer({"value": []})

    async def _list_private_links(self, call: Call) -> web.StreamResponse:
        """What a private endpoint could connect to: the registry."""
        return json_answer({"value": [_private_link(self.require(call))]})

    async def _get_private_link(self, call: Call) -> web.StreamResponse:
        """One of the things that a private endpoint could connect to."""
        record, name = self.require(call), call.params["link"]
        if name.lower() != _PRIVATE_LINK:
            raise Fault(404, "ResourceNotFound", f"'{record.name}' has no private link resource '{name}'.")
        return json_answer(_private_link(record))

    async def _list_credentials(self, call: Call) -> web.StreamResponse:
        """The admin user's name and passwords, if that user is enabled."""
        return json_answer(_credentials(self._with_admin(call)))

    async def _regenerate_credential(self, call: Call) -> web.StreamResponse:
        """Generate one of the admin user's passwords anew; the old one becomes invalid."""
        record, name = self._with_admin(call), (await call.body(RegenerateCredential)).name
        first, second = record.admin_passwords
        fresh = new_password()
        passwords = (fresh, second) if name == "password" else (first, fresh)
        record = self._records.put(record.name, msgspec.structs.replace(record, admin_passwords=passwords))
        return json_answer(_credentials(record))

    def _with_admin(self, call: Call) -> RegistryRecord:
        record = self.require(call)
        if not record.admin_user_enabled:
            message = "Please enable the admin user of the registry first: az acr update -n {} --admin-enabled true."
            raise Fault(400, "UnAuthorizedForCredentialOperations", message.format(record.name))
        return record

    async def _store(self, record: RegistryRecord, status: int) -> web.Response:
        self._check(record)
        self._records.put(record.name, record)
        await self._opened(record)
        return json_answer(registry_body(record), status)

    def _objection(self, name: str) -> tuple[str, str]:
        if not _NAME.fullmatch(name):
            return "Invalid", f"The registry name '{name}' is invalid: 5 to 50 letters and digits are allowed."
        if self._records.get(name):
            return "AlreadyExists", f"The registry {name} is already in use."
        return "", ""


def _private_link(record: RegistryRecord) -> dict[str, Any]:
    properties = {
        "groupId": _PRIVATE_LINK,
        "requiredMembers": [_PRIVATE_LINK, f"{_PRIVATE_LINK}_data_{record.location}"],
        "requiredZoneNames": ["privatelink.azurecr.io"],
    }
    return child_body(record, "privateLinkResources", _PRIVATE_LINK, properties)


def _credentials(record: RegistryRecord) -> dict[str, Any]:
    names = ("password", "password2")
    passwords = [{"name": n, "value": v} for n, v in zip(names, record.admin_passwords, strict=True)]
    return {"username": record.name, "passwords": passwords}
