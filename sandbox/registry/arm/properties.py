"""A registry's properties: their ARM representation, and which of a request are stored, applied or refused."""

from __future__ import annotations

from typing import Any

import msgspec

from sandbox.registry.arm.bodies import RegistryProperties
from sandbox.registry.records import PROVIDER, RegistryRecord
from sandbox.web import Fault

_EFFECTIVE = ("admin_user_enabled", "anonymous_pull_enabled")
_READ_ONLY = (
    "creation_date",
    "data_endpoint_host_names",
    "login_server",
    "private_endpoint_connections",
    "provisioning_state",
    "status",
)


def registry_body(record: RegistryRecord) -> dict[str, Any]:
    """The ARM representation of a registry."""
    properties = {
        "loginServer": record.login_server,
        "creationDate": record.created,
        "provisioningState": "Succeeded",
        "adminUserEnabled": record.admin_user_enabled,
        "anonymousPullEnabled": record.anonymous_pull_enabled,
        "networkRuleSet": {"defaultAction": "Allow", "ipRules": []},
        "policies": {},
        "encryption": {"status": "disabled"},
        "dataEndpointEnabled": False,
        "dataEndpointHostNames": [],
        "privateEndpointConnections": [],
        "publicNetworkAccess": "Enabled",
        "networkRuleBypassOptions": "AzureServices",
        "zoneRedundancy": "Disabled",
    }
    body = {
        "id": record.id,
        "name": record.name,
        "type": f"{PROVIDER}/registries",
        "location": record.location,
        "tags": record.tags,
        "sku": {"name": record.sku, "tier": record.sku},
        "properties": properties | record.settings,
    }
    return body | {"identity": record.identity} if record.identity else body


def child_body(record: RegistryRecord, kind: str, name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The ARM representation of a scope map or token of a registry."""
    type_ = f"{PROVIDER}/registries/{kind}"
    return {"id": f"{record.id}/{kind}/{name}", "name": name, "type": type_, "properties": properties}


def with_properties(record: RegistryRecord, properties: RegistryProperties) -> RegistryRecord:
    """The record with the properties of a request.

    Raises:
        Fault: 400 that names the properties that the sandbox's registries do not support.
    """
    _refuse_unbuilt(properties)
    given = {k: v for k, v in msgspec.structs.asdict(properties).items() if v is not None and k not in _READ_ONLY}
    effective = {name: given.pop(name) for name in _EFFECTIVE if name in given}
    if effective.get("anonymous_pull_enabled") and record.sku == "Basic":
        raise Fault(400, "InvalidParameter", "Anonymous pull needs the SKU Standard or Premium.")
    names = {field.name: field.encode_name for field in msgspec.structs.fields(RegistryProperties)}
    settings = record.settings | {names[name]: value for name, value in given.items()}
    return msgspec.structs.replace(record, settings=settings, **effective)


def _refuse_unbuilt(properties: RegistryProperties) -> None:
    # A property that would change how a registry behaves, but is not implemented here, must not return 200.
    unsupported = [f"policies.{name}" for name, policy in (properties.policies or {}).items() if _enabled(name, policy)]
    if (properties.network_rule_set or {}).get("defaultAction", "Allow") != "Allow":
        unsupported.append("networkRuleSet.defaultAction")
    if (properties.encryption or {}).get("status", "disabled") != "disabled":
        unsupported.append("encryption.status")
    if unsupported:
        raise Fault(400, "NotInSandbox", f"The sandbox's registries cannot do this: {', '.join(unsupported)}.")


def _enabled(name: str, policy: Any) -> bool:
    # Every registry here behaves as if these two were enabled.
    usual = name in ("exportPolicy", "azureADAuthenticationAsArmPolicy")
    return isinstance(policy, dict) and policy.get("status") == "enabled" and not usual


def identity_of(requested: dict[str, Any] | None) -> dict[str, Any] | None:
    """The managed identity of a request; `None` removes it."""
    if requested is None or str(requested.get("type", "None")) == "None":
        return None
    return requested
