"""A registry's properties: their ARM representation, and which of a request are stored, applied or refused."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from sandbox.instance import TENANT
from sandbox.registry.arm.bodies import Policies, RegistryProperties
from sandbox.registry.network import restricts
from sandbox.registry.records import PROVIDER, RegistryRecord
from sandbox.web import Fault

_EFFECTIVE = ("adminUserEnabled", "anonymousPullEnabled")
_MERGED = ("networkRuleSet", "policies")
_READ_ONLY = (
    "creationDate",
    "dataEndpointHostNames",
    "loginServer",
    "privateEndpointConnections",
    "provisioningState",
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
        "networkRuleSet": {"defaultAction": "Allow", "ipRules": []} | record.settings.get("networkRuleSet", {}),
        "policies": _policies(record),
        "encryption": {"status": "disabled"},
        "dataEndpointEnabled": False,
        "dataEndpointHostNames": [],
        "privateEndpointConnections": [],
        "publicNetworkAccess": "Enabled",
        "networkRuleBypassOptions": "AzureServices",
        "zoneRedundancy": "Disabled",
        "metadataSearch": "Disabled",
        "roleAssignmentMode": "LegacyRegistryPermissions",
    }
    stored = {name: value for name, value in record.settings.items() if name not in _MERGED}
    body = {
        "id": record.id,
        "name": record.name,
        "type": f"{PROVIDER}/registries",
        "location": record.location,
        "tags": record.tags,
        "sku": {"name": record.sku, "tier": record.sku},
        "properties": properties | stored,
    }
    return body | {"identity": _identity(record, record.identity)} if record.identity else body


def _identity(record: RegistryRecord, stored: dict[str, Any]) -> dict[str, Any]:
    """The managed identities of a registry; a system-assigned one has a principal."""
    if "SystemAssigned" not in str(stored.get("type")):
        return stored
    return stored | {"principalId": str(uuid.uuid5(uuid.NAMESPACE_URL, record.id.lower())), "tenantId": TENANT}


def _policies(record: RegistryRecord) -> dict[str, Any]:
    """Every policy: Azure's defaults, with what was stored of each.

    Source: example `RegistryGet` of Microsoft.ContainerRegistry 2023-11-01-preview
    """
    defaults: dict[str, dict[str, Any]] = {
        "quarantinePolicy": {"status": "disabled"},
        "trustPolicy": {"type": "Notary", "status": "disabled"},
        "retentionPolicy": {"days": 7, "lastUpdatedTime": record.created, "status": "disabled"},
        "exportPolicy": {"status": "enabled"},
        "azureADAuthenticationAsArmPolicy": {"status": "enabled"},
        "softDeletePolicy": {"retentionDays": 7, "lastUpdatedTime": record.created, "status": "disabled"},
    }
    stored = record.settings.get("policies", {})
    return {name: default | (stored.get(name) or {}) for name, default in defaults.items()}


def child_body(record: RegistryRecord, kind: str, name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The ARM representation of a scope map or token of a registry."""
    type_ = f"{PROVIDER}/registries/{kind}"
    return {"id": f"{record.id}/{kind}/{name}", "name": name, "type": type_, "properties": properties}


def with_properties(record: RegistryRecord, properties: RegistryProperties) -> RegistryRecord:
    """The record with the properties of a request; policies and network rules are merged with those that are stored.

    Raises:
        Fault: 400 that names the properties that the sandbox's registries do not support, or that need another SKU.
    """
    _refuse_unbuilt(properties)
    given = {name: value for name, value in msgspec.to_builtins(properties).items() if name not in _READ_ONLY}
    settings = record.settings | {name: value for name, value in given.items() if name not in _EFFECTIVE}
    settings |= {name: record.settings.get(name, {}) | given.get(name, {}) for name in _MERGED}
    changed = msgspec.structs.replace(
        record,
        settings=settings,
        admin_user_enabled=given.get("adminUserEnabled", record.admin_user_enabled),
        anonymous_pull_enabled=given.get("anonymousPullEnabled", record.anonymous_pull_enabled),
    )
    _check_sku(changed)
    return changed


def _check_sku(record: RegistryRecord) -> None:
    if record.anonymous_pull_enabled and record.sku == "Basic":
        raise Fault(400, "InvalidParameter", "Anonymous pull needs the SKU Standard or Premium.")
    if record.sku != "Premium" and restricts(record):
        raise Fault(400, "InvalidParameter", "networkRuleSet and publicNetworkAccess need the SKU Premium.")


def _refuse_unbuilt(properties: RegistryProperties) -> None:
    # A property that would change how a registry behaves, but is not implemented here, must not return 200.
    policies = msgspec.to_builtins(properties.policies or Policies())
    unsupported = [f"policies.{name}" for name, policy in policies.items() if _differs(name, policy)]
    if properties.network_rule_set and properties.network_rule_set.virtual_network_rules:
        unsupported.append("networkRuleSet.virtualNetworkRules")
    if (properties.encryption or {}).get("status", "disabled") != "disabled":
        unsupported.append("encryption.status")
    if unsupported:
        raise Fault(400, "NotInSandbox", f"The sandbox's registries cannot do this: {', '.join(unsupported)}.")


def _differs(name: str, policy: Any) -> bool:
    """Whether a policy asks for what the registries here do not do."""
    usual = "enabled" if name in ("exportPolicy", "azureADAuthenticationAsArmPolicy") else "disabled"
    return str(policy.get("status") or usual).lower() != usual


def identity_of(requested: dict[str, Any] | None) -> dict[str, Any] | None:
    """The managed identity of a request; `None` removes it."""
    if requested is None or str(requested.get("type", "None")) == "None":
        return None
    return requested
