"""Lists of the event subscriptions of a subscription or a resource group, by the region of what they are on.

Source: Microsoft.EventGrid 2022-06-15, `EventSubscriptions_ListRegional…` and `EventSubscriptions_ListGlobal…`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from sandbox.arm.body import region
from sandbox.arm.query import only
from sandbox.arm.surface import ResourceId, ResourceIndex
from sandbox.eventgrid.arm.subscriptions import Subscriptions
from sandbox.eventgrid.arm.topics import ARM_VERSIONS
from sandbox.web import Call, Surface, json_answer

_SUBSCRIPTION = "/subscriptions/{subscription}"
_SCOPES = (_SUBSCRIPTION, _SUBSCRIPTION + "/resourceGroups/{group}")
_TYPES = ("", "/topicTypes/{topic_type}")


class SubscriptionLists:
    """The lists. `index` has the resources that event subscriptions are on, with their locations."""

    def __init__(self, subscriptions: Subscriptions, index: ResourceIndex) -> None:
        self._subscriptions, self._index = subscriptions, index

    def mount(self, arm: Surface) -> None:
        """Add the operations to the ARM surface."""
        for scope in _SCOPES:
            for kind in _TYPES:
                provider = f"{scope}/providers/Microsoft.EventGrid"
                regional = f"{provider}/locations/{{location}}{kind}/eventSubscriptions"
                arm.operation("GET", regional, versions=ARM_VERSIONS)(self._list_region)
                arm.operation("GET", f"{provider}{kind}/eventSubscriptions", versions=ARM_VERSIONS)(self._list_global)

    async def _list_region(self, call: Call) -> web.StreamResponse:
        """The event subscriptions on resources of a region: on all, on those of a group, on those of one topic type."""
        only(call)
        return json_answer({"value": list(self._in_region(call))})

    async def _list_global(self, call: Call) -> web.StreamResponse:
        """The event subscriptions on what has no region, as resource groups: none, because it has no events here."""
        only(call)
        return json_answer({"value": []})

    def _in_region(self, call: Call) -> Iterator[dict[str, Any]]:
        location, wanted = region(unquote(call.params["location"])), call.params.get("topic_type", "").lower()
        for resource in self._index.list(group=call.params.get("group")):
            kind = ResourceId.parse(resource["id"]).type.replace("/", ".").lower()
            if resource.get("location") == location and wanted in ("", kind):
                for subscription in self._subscriptions.of_source(resource["id"]):
                    yield subscription.answer()
