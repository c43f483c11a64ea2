"""Topic types: the Azure resources that emit events in the sandbox, and their event types.

Source: Microsoft.EventGrid 2022-06-15, `TopicTypes`
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox.eventgrid.arm.system_topics import EVENT_TYPES
from sandbox.eventgrid.arm.topics import ARM_VERSIONS
from sandbox.instance import LOCATION
from sandbox.web import Call, Fault, Surface, json_answer

_NAME = "Microsoft.ContainerRegistry.Registries"
_PATH = "/providers/Microsoft.EventGrid/topicTypes"


def mount_topic_types(arm: Surface) -> None:
    """Add the topic types to the ARM surface."""

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
