"""Renders a container group like Azure, without passwords and secure values."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from sandbox.arm.surface import ResourceId, ResourceIndex
from sandbox.containers.group import GroupRuntime
from sandbox.containers.shapes import Address, Container, Credential, GroupRecord, Identity, Variable
from sandbox.instance import TENANT

PROVIDER, KIND = "Microsoft.ContainerInstance", "containerGroups"


def id_of(record: GroupRecord) -> str:
    """The group's ARM id."""
    return str(ResourceId(record.group, PROVIDER, KIND, record.name))


def group_view(record: GroupRecord, runtime: GroupRuntime, index: ResourceIndex, *, instance: bool) -> dict[str, Any]:
    """The ARM body; with `instance` also the instance views, which Azure omits from lists."""
    definition = record.properties
    properties: dict[str, Any] = {
        "sku": definition.sku,
        "provisioningState": runtime.provisioning,
        "containers": [_container(c, runtime, instance=instance) for c in definition.containers],
        "initContainers": [],
        "imageRegistryCredentials": [_credential(c) for c in definition.image_registry_credentials],
        "restartPolicy": definition.restart_policy,
        "osType": definition.os_type,
        "isCustomProvisioningTimeout": False,
    }
    if definition.ip_address:
        properties["ipAddress"] = _address(definition.ip_address, runtime.address, record.location)
    if instance:
        properties["instanceView"] = {"events": [], "state": runtime.state(record)}
    body: dict[str, Any] = {
        "id": id_of(record),
        "name": record.name,
        "type": f"{PROVIDER}/{KIND}",
        "location": record.location,
        "tags": record.tags,
        "properties": properties,
    }
    if record.identity and record.identity.type != "None":
        body["identity"] = _identity(record.identity, id_of(record), index)
    return body


def _container(container: Container, runtime: GroupRuntime, *, instance: bool) -> dict[str, Any]:
    definition = container.properties
    properties: dict[str, Any] = {
        "image": definition.image,
        "command": list(definition.command),
        "ports": [{"protocol": port.protocol, "port": port.port} for port in definition.ports],
        "environmentVariables": [_variable(variable) for variable in definition.environment_variables],
        "resources": msgspec.to_builtins(definition.resources),
    }
    running = runtime.containers.get(container.name)
    if instance and running:
        properties["instanceView"] = running.view()
    return {"name": container.name, "properties": properties}


def _variable(variable: Variable) -> dict[str, str]:
    return {"name": variable.name} if variable.value is None else {"name": variable.name, "value": variable.value}


def _credential(credential: Credential) -> dict[str, str]:
    if credential.identity:
        return {"server": credential.server, "identity": credential.identity}
    return {"server": credential.server, "username": credential.username or ""}


def _address(address: Address, ip: str | None, location: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": address.type,
        "ports": [{"protocol": port.protocol, "port": port.port} for port in address.ports],
    }
    if ip:
        shown["ip"] = ip
    if address.dns_name_label:
        shown["dnsNameLabel"] = address.dns_name_label
        shown["fqdn"] = f"{address.dns_name_label}.{location}.azurecontainer.io"
    return shown


def _identity(identity: Identity, group: str, index: ResourceIndex) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": identity.type}
    if "SystemAssigned" in identity.type:
        shown |= {"tenantId": TENANT, "principalId": str(uuid.uuid5(uuid.NAMESPACE_URL, group.lower()))}
    if identity.user_assigned_identities:
        known = {r["id"].lower(): r for r in index.list("Microsoft.ManagedIdentity/userAssignedIdentities")}
        shown["userAssignedIdentities"] = {
            resource: _ids(known.get(resource.lower())) for resource in identity.user_assigned_identities
        }
    return shown


def _ids(identity: Any) -> dict[str, str]:
    properties = identity["properties"] if identity else {}
    return {key: properties[key] for key in ("clientId", "principalId") if key in properties}
