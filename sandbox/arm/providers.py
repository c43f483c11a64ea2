"""Resource providers: clients check whether one is registered before they use it, and register it if not.

Source: https://learn.microsoft.com/rest/api/resources/providers
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.arm.groups import RESOURCE_VERSIONS
from sandbox.arm.query import only
from sandbox.instance import SUBSCRIPTION
from sandbox.web import Call, Fault, Surface, json_answer

_TYPES = {
    "Microsoft.Authorization": ("roleAssignments", "roleDefinitions"),
    "Microsoft.ContainerInstance": ("containerGroups",),
    "Microsoft.ContainerRegistry": ("registries", "registries/tasks", "registries/runs"),
    "Microsoft.EventGrid": ("systemTopics", "eventSubscriptions"),
    "Microsoft.KeyVault": ("vaults", "deletedVaults"),
    "Microsoft.ManagedIdentity": ("userAssignedIdentities",),
    "Microsoft.Resources": ("subscriptions", "resourceGroups"),
    "Microsoft.Storage": ("storageAccounts",),
    "Microsoft.Web": ("sites",),
}
_SCOPE = "/subscriptions/{subscription}/providers"


def mount_providers(arm: Surface) -> None:
    """Add the resource providers to the ARM surface; all that the sandbox supports are registered from the start."""

    @arm.operation("GET", _SCOPE, versions=RESOURCE_VERSIONS)
    async def list_providers(call: Call) -> web.StreamResponse:
        """The resource providers of the subscription."""
        only(call, "$expand")
        return json_answer({"value": [_provider(namespace) for namespace in _TYPES]})

    @arm.operation("GET", _SCOPE + "/{namespace}", versions=RESOURCE_VERSIONS)
    async def get_provider(call: Call) -> web.StreamResponse:
        """One resource provider."""
        only(call, "$expand")
        return json_answer(_provider(call.params["namespace"]))

    @arm.operation("POST", _SCOPE + "/{namespace}/register", versions=RESOURCE_VERSIONS)
    async def register_provider(call: Call) -> web.StreamResponse:
        """Register a resource provider (it already is)."""
        return json_answer(_provider(call.params["namespace"]))


def _provider(requested: str) -> dict[str, Any]:
    namespace = next((name for name in _TYPES if name.lower() == requested.lower()), None)
    if namespace is None:
        known = ", ".join(_TYPES)
        message = f"The sandbox has no resource provider '{requested}'. Known: {known}."
        raise Fault(404, "InvalidResourceNamespace", message)
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/providers/{namespace}",
        "namespace": namespace,
        "registrationPolicy": "RegistrationRequired",
        "registrationState": "Registered",
        "resourceTypes": [{"resourceType": kind, "locations": [], "apiVersions": []} for kind in _TYPES[namespace]],
    }
