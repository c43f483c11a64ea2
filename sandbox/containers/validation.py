"""Validation of container group definitions and changes: what Azure rejects, and what the sandbox does not support."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from sandbox.arm.body import region
from sandbox.arm.surface import ResourceIndex
from sandbox.containers.shapes import Address, Container, ContainerProperties, GroupBody, Identity, Properties
from sandbox.web import Fault

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/:@]{0,511}")
_MOST_CONTAINERS = 60

_GROUP_NOT_HERE = (
    "volumes", "init_containers", "diagnostics", "subnet_ids", "dns_config", "encryption_properties", "extensions",
    "confidential_compute_properties", "container_group_profile", "standby_pool_profile", "identity_acls",
)  # fmt: skip
_CONTAINER_NOT_HERE = ("volume_mounts", "liveness_probe", "readiness_probe", "security_context", "config_map")
_ADDRESS_NOT_HERE = ("dns_name_label_reuse_policy",)
_NOT_HERE = (
    (GroupBody, ("zones",)),
    (Properties, _GROUP_NOT_HERE),
    (ContainerProperties, _CONTAINER_NOT_HERE),
    (Address, _ADDRESS_NOT_HERE),
)


def validate(name: str, body: GroupBody, index: ResourceIndex) -> Properties:
    """Validate a definition; return it without the fields that a client cannot set.

    Raises:
        Fault: 400 that names the first invalid field.
    """
    region(body.location)
    if not _NAME.fullmatch(name):
        raise Fault(400, "InvalidContainerGroupName", f"The container group name '{name}' is invalid. {_NAME_RULE}")
    _refuse(body, ("zones",), "")
    properties = body.properties
    _refuse(properties, _GROUP_NOT_HERE, "properties.")
    _check_platform(properties)
    _check_containers(name, properties.containers)
    _check_address(properties.ip_address)
    _check_credentials(properties, body.identity)
    _check_identities(body.identity, index)
    return _without_ignored(properties)


_NAME_RULE = "It takes 1 to 63 lower-case letters, digits and dashes, and neither begins nor ends with a dash."


def refused_fields() -> Iterator[str]:
    """The fields of a definition that are refused by name."""
    for shape, fields in _NOT_HERE:
        yield from (_wire(shape, field) for field in fields)


def _wire(shape: type[msgspec.Struct], field: str) -> str:
    """The name of a field in JSON."""
    return next(known.encode_name for known in msgspec.structs.fields(shape) if known.name == field)


def _refuse(shape: msgspec.Struct, fields: Iterable[str], where: str) -> None:
    for field in fields:
        if _asks(getattr(shape, field)):
            name = where + _wire(type(shape), field)
            message = f"'{name}' is a part of Azure Container Instances that the sandbox does not have."
            raise Fault(400, "NotInSandbox", message)


def _asks(value: object) -> bool:
    # `az container create` always sends `"configMap": {"keyValuePairs": {}}`, which requests nothing.
    return any(map(_asks, value.values())) if isinstance(value, dict) else bool(value)


def _check_platform(properties: Properties) -> None:
    if properties.os_type != "Linux":
        raise Fault(400, "NotInSandbox", f"osType '{properties.os_type}': the sandbox runs Linux containers only.")
    if properties.sku != "Standard" or properties.priority != "Regular":
        raise Fault(400, "NotInSandbox", "The sandbox has the sku 'Standard' and the priority 'Regular' only.")


def _check_containers(group: str, containers: tuple[Container, ...]) -> None:
    if not 0 < len(containers) <= _MOST_CONTAINERS:
        message = f"The container group '{group}' must have 1 to {_MOST_CONTAINERS} containers."
        raise Fault(400, "InvalidContainerCount", message)
    names = [container.name for container in containers]
    for container in containers:
        if not _NAME.fullmatch(container.name):
            message = f"The container name '{container.name}' is invalid. {_NAME_RULE}"
            raise Fault(400, "InvalidContainerName", message)
        if names.count(container.name) > 1:
            message = f"The container name '{container.name}' appears more than once in container group '{group}'."
            raise Fault(400, "DuplicateContainerName", message)
        _check_container(container)


def _check_container(container: Container) -> None:
    properties, where = container.properties, f"containers['{container.name}'].properties."
    _refuse(properties, _CONTAINER_NOT_HERE, where)
    requests, limits = properties.resources.requests, properties.resources.limits
    _refuse(requests, ("gpu",), where + "resources.requests.")
    if limits:
        _refuse(limits, ("gpu",), where + "resources.limits.")
    if requests.cpu <= 0 or requests.memory_gb <= 0:
        message = f"The requests cpu and memoryInGB of container '{container.name}' must be greater than 0."
        raise Fault(400, "InvalidResourceRequests", message)
    if not _IMAGE.fullmatch(properties.image):
        message = f"The image '{properties.image}' of container '{container.name}' is not an image reference."
        raise Fault(400, "InvalidImageName", message)
    for variable in properties.environment_variables:
        if not _VARIABLE.fullmatch(variable.name):
            message = f"The environment variable name '{variable.name}' in container '{container.name}' is invalid."
            raise Fault(400, "InvalidEnvironmentVariableName", message)
        if variable.value is not None and variable.secure_value is not None:
            message = f"The environment variable '{variable.name}' has both a value and a secureValue."
            raise Fault(400, "InvalidEnvironmentVariable", message)


def _check_address(address: Address | None) -> None:
    if address is None:
        return
    _refuse(address, _ADDRESS_NOT_HERE, "properties.ipAddress.")
    if address.type == "Private":
        raise Fault(400, "NotInSandbox", "ipAddress.type 'Private' needs a virtual network; the sandbox has none.")
    if not address.ports:
        raise Fault(400, "MissingIpAddressPorts", "The ports in the ipAddress of the container group cannot be empty.")
    if any(not 0 < port.port < 65536 for port in address.ports):
        raise Fault(400, "InvalidPort", "A port of the ipAddress is not between 1 and 65535.")
    if address.dns_name_label and not _NAME.fullmatch(address.dns_name_label):
        raise Fault(400, "InvalidDnsNameLabel", f"The DNS name label '{address.dns_name_label}' is invalid.")


def _check_credentials(properties: Properties, identity: Identity | None) -> None:
    assigned = {key.lower() for key in identity.user_assigned_identities} if identity else set()
    for credential in properties.image_registry_credentials:
        server = credential.server
        _refuse(credential, ("identity_url",), f"imageRegistryCredentials['{server}'].")
        if credential.identity:
            if credential.identity.lower() not in assigned:
                # A system-assigned identity cannot pull: it exists only after the group, which exists after the pull.
                message = (
                    f"The identity '{credential.identity}' in imageRegistryCredentials for '{server}' is not a "
                    "user-assigned identity of the container group."
                )
                raise Fault(400, "InvalidImageRegistryCredentialIdentity", message)
        elif not credential.username or not credential.password:
            message = f"The username or password in imageRegistryCredentials for '{server}' is empty."
            raise Fault(400, "InvalidImageRegistryCredential", message)


def _check_identities(identity: Identity | None, index: ResourceIndex) -> None:
    known = set(_identity_ids(index))
    for resource in identity.user_assigned_identities if identity else ():
        if resource.lower() not in known:
            raise Fault(400, "FailedIdentityOperation", f"The user-assigned identity '{resource}' was not found.")


def _identity_ids(index: ResourceIndex) -> Iterator[str]:
    for resource in index.list("Microsoft.ManagedIdentity/userAssignedIdentities"):
        yield resource["id"].lower()


def _without_ignored(properties: Properties) -> Properties:
    replace = msgspec.structs.replace
    containers = tuple(
        replace(container, properties=replace(container.properties, instance_view=None))
        for container in properties.containers
    )
    address = properties.ip_address and replace(properties.ip_address, ip=None, fqdn=None)
    ignored = dict.fromkeys((
        "provisioning_state", "instance_view", "is_custom_provisioning_timeout",
        "provisioning_timeout_in_seconds", "is_created_from_standby_pool",
    ))  # fmt: skip
    nothing = dict.fromkeys(_GROUP_NOT_HERE)
    return replace(properties, containers=containers, ip_address=address, **ignored, **nothing)


def require_updatable(name: str, old: Properties, new: Properties) -> None:
    """Accept only changes that Azure makes in place: images, commands, variables, credentials, the DNS label.

    Raises:
        Fault: 400 InvalidContainerGroupUpdate, with Azure's message and the changed properties.
    """
    before, after = _fixed(old), _fixed(new)
    changed = [field for field in before if before[field] != after[field]]
    if changed:
        message = (
            f"The updates on container group '{name}' are invalid. If you are going to update the os type, restart "
            "policy, network profile, CPU, memory or GPU resources for a container group, you must delete it first and "
            f"then create a new one. (Changed: {', '.join(changed)}.)"
        )
        raise Fault(400, "InvalidContainerGroupUpdate", message)


def _fixed(properties: Properties) -> dict[str, object]:
    return {
        "osType": properties.os_type,
        "restartPolicy": properties.restart_policy,
        "sku": properties.sku,
        "priority": properties.priority,
        "ipAddress ports or type": _exposed(properties.ip_address),
        "containers' CPU or memory": {c.name: c.properties.resources for c in properties.containers},
    }


def _exposed(address: Address | None) -> object:
    return address and (address.type, {(port.port, port.protocol) for port in address.ports})
