"""Which changes of a running group are made in place, and which need a group deleted and made anew.

Source: https://learn.microsoft.com/azure/container-instances/container-instances-update
"""

from __future__ import annotations

from sandbox.containers.shapes import Address, Properties
from sandbox.web import Fault


def require_updatable(name: str, old: Properties, new: Properties) -> None:
    """Let a change pass that Azure makes in place: images, commands, variables, credentials, the DNS label.

    Raises:
        Fault: 400 InvalidContainerGroupUpdate, in Azure's words and with the property that is to blame.
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
