"""The Azure Resource Manager operations on replications: replicas of a registry in other regions.

There is one store, so a replica has the registry's content at once. What differs is what is told: every push and delete
is announced once more for each replica, later, with its region.
Source: https://learn.microsoft.com/azure/container-registry/container-registry-geo-replication
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.body import region
from sandbox.arm.operations import Operations, nothing
from sandbox.registry.arm.bodies import ReplicationBody, ReplicationChange
from sandbox.registry.arm.properties import child_body
from sandbox.registry.arm.registries import REGISTRY, RegistryControl
from sandbox.registry.records import API_VERSIONS, PROVIDER, RegistryRecord, ReplicationRecord, now
from sandbox.store import Collection
from sandbox.web import Call, Fault, Handler, Surface, json_answer

_NAME = re.compile(r"[A-Za-z0-9]{5,50}")
_REPLICATION = REGISTRY + "/replications/{replication}"


class ReplicationControl:
    """PUT, GET, PATCH, DELETE and list of replications. The registry's own region is one as soon as it has another."""

    def __init__(
        self, control: RegistryControl, records: Collection[ReplicationRecord], operations: Operations
    ) -> None:
        self._control, self._records, self._operations = control, records, operations

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        operations: list[tuple[str, str, Handler]] = [
            ("GET", REGISTRY + "/replications", self._list),
            ("GET", _REPLICATION, self._get),
            ("PUT", _REPLICATION, self._put),
            ("PATCH", _REPLICATION, self._patch),
            ("DELETE", _REPLICATION, self._delete),
        ]
        for method, pattern, handler in operations:
            arm.operation(method, pattern, versions=API_VERSIONS)(handler)

    async def _list(self, call: Call) -> web.StreamResponse:
        """The replications of a registry; with the first, its own region is one of them."""
        record = self._control.require(call)
        return json_answer({"value": [_body(record, one) for one in self._all(record)]})

    async def _get(self, call: Call) -> web.StreamResponse:
        """One replication."""
        return json_answer(_body(*self._require(call)))

    async def _put(self, call: Call) -> web.StreamResponse:
        """Replicate a registry to another region, or change how."""
        record, name = self._control.require(call), call.params["replication"]
        body = await call.body(ReplicationBody)
        if record.sku != "Premium":
            raise Fault(400, "FeatureNotSupported", f"Replications need the SKU Premium; '{record.name}' has not.")
        if not _NAME.fullmatch(name):
            message = f"The replication name '{name}' is invalid: 5 to 50 letters and digits."
            raise Fault(400, "InvalidParameter", message)
        location = region(body.location)
        known = self._records.get(f"{record.name}/{name}")
        taken = [record.location, *(one.location for one in self._records.values(f"{record.name}/") if one != known)]
        if known and known.location != location:
            raise Fault(400, "InvalidParameter", f"The replication '{name}' is in '{known.location}', and stays there.")
        home = name.lower() == record.location
        if home or location in taken:
            there = record.location if home else location
            raise Fault(409, "ReplicationAlreadyExists", f"The registry '{record.name}' is in '{there}' already.")
        fresh = ReplicationRecord(registry=record.name, name=name, location=location, created=now())
        made = _changed(known or fresh, body)
        self._records.put(f"{record.name}/{name}", made)
        return json_answer(_body(record, made), 200 if known else 201)

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a replication's tags, or whether its region is routed to."""
        record, replication = self._require(call)
        if replication.name == record.location:
            message = f"The sandbox keeps no tags and no settings of the registry's own region '{record.location}'."
            raise Fault(400, "NotInSandbox", message)
        changed = _changed(replication, await call.body(ReplicationChange))
        return json_answer(_body(record, self._records.put(f"{record.name}/{replication.name}", changed)))

    async def _delete(self, call: Call) -> web.StreamResponse:
        """Delete a replication; the registry's own region stays."""
        record, name = self._control.require(call), call.params["replication"]
        if name.lower() == record.location:
            message = f"The replication '{name}' is the registry's own region, which cannot be deleted."
            raise Fault(400, "HomeReplicationCannotBeDeleted", message)  # the code of Azure/acr#294
        if self._records.remove(f"{record.name}/{name}") is None:
            return web.Response(status=204)
        return self._operations.accept(call, PROVIDER, nothing())

    def _all(self, record: RegistryRecord) -> Iterator[ReplicationRecord]:
        others = list(self._records.values(f"{record.name}/"))
        if others:
            home = record.location
            yield ReplicationRecord(registry=record.name, name=home, location=home, created=record.created)
        yield from others

    def _require(self, call: Call) -> tuple[RegistryRecord, ReplicationRecord]:
        record, name = self._control.require(call), call.params["replication"]
        found = next((one for one in self._all(record) if one.name.lower() == name.lower()), None)
        if found is None:
            raise Fault(404, "ReplicationNotFound", f"The registry '{record.name}' has no replication '{name}'.")
        return record, found


def _changed(replication: ReplicationRecord, change: ReplicationChange) -> ReplicationRecord:
    given: dict[str, Any] = {
        "tags": change.tags,
        "region_endpoint_enabled": change.properties.region_endpoint_enabled,
        "zone_redundancy": change.properties.zone_redundancy,
    }
    return msgspec.structs.replace(replication, **{name: value for name, value in given.items() if value is not None})


def _body(record: RegistryRecord, replication: ReplicationRecord) -> dict[str, Any]:
    status = {"displayStatus": "Ready", "message": "The replication is ready.", "timestamp": replication.created}
    properties = {
        "provisioningState": "Succeeded",
        "status": status,
        "regionEndpointEnabled": replication.region_endpoint_enabled,
        "zoneRedundancy": replication.zone_redundancy,
    }
    body = child_body(record, "replications", replication.name, properties)
    return body | {"location": replication.location, "tags": replication.tags}
