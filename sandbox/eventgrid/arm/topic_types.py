"""Topic types: the Azure resources that emit events in the sandbox, and their event types.

Source: Microsoft.EventGrid 2022-06-15, `TopicTypes`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from sandbox.arm.surface import ResourceId
from sandbox.eventgrid.arm.system_topics import EVENT_TYPES, SOURCE_TYPES
from sandbox.eventgrid.arm.topics import ARM_VERSIONS
from sandbox.instance import LOCATION
from sandbox.web import Call, Fault, Surface, json_answer

_NAME = "Microsoft.ContainerRegistry.Registries"
_PATH = "/providers/Microsoft.EventGrid/topicTypes"
_RESOURCE = "/subscriptions/{subscription}/resourceGroups/{group}/providers/{provider}/{kind}/{resource}"


def mount_topic_types(arm: Surface, exists: Callable[[str], bool]) -> None:
    """Add the topic types to the ARM surface. `exists` tells whether there is a resource with an id."""

    @arm.operation("GET", _PATH, versions=ARM_VERSIONS)
    async def list_topic_types(call: Call) -> web.StreamResponse:
        """The resources whose events can be subscribed to."""
        return json_answer({"value": [_topic_type()]})

    @arm.operation("GET", _PATH + "/{name}", versions=ARM_VERSIONS)
    async def get_topic_type(call: Call) -> web.StreamResponse:
        """One topic type."""
        _check(call)
        return json_answer(_topic_type())

    @arm.operation("GET", _PATH + "/{name}/eventTypes", versions=ARM_VERSIONS)
    async def list_event_types(call: Call) -> web.StreamResponse:
        """The events of one topic type."""
        _check(call)
        return json_answer({"value": [_event_type(name) for name in EVENT_TYPES]})

    @arm.operation("GET", _RESOURCE + "/providers/Microsoft.EventGrid/eventTypes", versions=ARM_VERSIONS)
    async def list_event_types_of_resource(call: Call) -> web.StreamResponse:
        """The events of one resource."""
        params = call.params
        resource = ResourceId(params["group"], params["provider"], params["kind"], params["resource"])
        if resource.type.lower() not in SOURCE_TYPES:
            known = ", ".join(SOURCE_TYPES)
            message = f"'{resource.type}' has no event types in the sandbox. Known: {known}."
            raise Fault(400, "InvalidRequest", message)
        if not exists(str(resource)):
            raise Fault(404, "ResourceNotFound", f"The Resource '{resource.type}/{resource.name}' was not found.")
        return json_answer({"value": [_event_type(name) for name in EVENT_TYPES]})


def _check(call: Call) -> None:
    if call.params["name"].lower() != _NAME.lower():
        message = f"The sandbox has no topic type '{call.params['name']}'. Known: {_NAME}."
        raise Fault(404, "ResourceNotFound", message)


def _topic_type() -> dict[str, Any]:
    return {
        "id": f"providers/Microsoft.EventGrid/topicTypes/{_NAME}",
        "name": _NAME,
        "type": "Microsoft.EventGrid/topicTypes",
        "properties": {
            "provider": "Microsoft.ContainerRegistry",
            "displayName": "Container Registry",
            "description": "Microsoft Container Registry service events.",
            "resourceRegionType": "RegionalResource",
            "provisioningState": "Succeeded",
            "supportedLocations": [LOCATION],
        },
    }


def _event_type(name: str) -> dict[str, Any]:
    return {
        "id": f"providers/Microsoft.EventGrid/topicTypes/{_NAME}/eventTypes/{name}",
        "name": name,
        "type": "Microsoft.EventGrid/topicTypes/eventTypes",
        "properties": {"displayName": name.rpartition(".")[2], "isInDefaultSet": True},
    }
