"""The network rules of a registry: the clients that may reach its content.

Source: https://learn.microsoft.com/azure/container-registry/container-registry-access-selected-networks
"""

from __future__ import annotations

import ipaddress

from sandbox.registry.records import RegistryRecord


def restricts(record: RegistryRecord) -> bool:
    """Whether not everybody may reach a registry."""
    rules = record.settings.get("networkRuleSet", {})
    return rules.get("defaultAction", "Allow") != "Allow" or _is_closed(record)


def may_reach(record: RegistryRecord, address: str) -> bool:
    """Whether a client with an IP address may reach a registry: no rule restricts it, or a rule names the address.

    The rules have no effect while public access is disabled; then only private endpoints admit clients, and the
    sandbox has none.
    """
    if not restricts(record):
        return True
    if _is_closed(record):
        return False
    try:
        client = ipaddress.ip_address(address)
    except ValueError:
        return False
    rules = record.settings.get("networkRuleSet", {}).get("ipRules", [])
    return any(client in ipaddress.ip_network(rule["value"]) for rule in rules)


def _is_closed(record: RegistryRecord) -> bool:
    return bool(record.settings.get("publicNetworkAccess", "Enabled") == "Disabled")
