"""The path and API versions of ACR Tasks operations, and the registry of a request."""

from __future__ import annotations

from sandbox.arm.surface import ResourceId
from sandbox.tasks.ports import Registries, Registry
from sandbox.web import Call, Fault

REGISTRY = (
    "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.ContainerRegistry/registries/{registry}"
)
# Sent by azure-mgmt-containerregistrytasks 1.0 and `az` 2.91, and by azure-mgmt-containerregistry 14 and older `az`.
VERSIONS = ("2025-03-01-preview", "2019-06-01-preview", "2019-04-01", "2018-09-01")


def registry_of(call: Call, registries: Registries) -> Registry:
    """The registry in a request's path.

    Raises:
        Fault: 404 ResourceNotFound if its group has no registry of that name.
    """
    name, group = call.params["registry"], call.params["group"]
    registry = registries.find(name)
    if registry is None or ResourceId.parse(registry.id).group.lower() != group.lower():
        message = f"The resource 'Microsoft.ContainerRegistry/registries/{name}' under '{group}' was not found."
        raise Fault(404, "ResourceNotFound", message)
    return registry


def refuse_pool(agent_pool: str | None) -> None:
    """Refuse agent pools, which the sandbox does not support.

    Raises:
        Fault: 400 that names it.
    """
    if agent_pool:
        raise Fault(400, "AgentPoolNotFound", f"The sandbox has no agent pools, so no '{agent_pool}'.")
