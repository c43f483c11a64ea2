"""System topics: the resources under which the events of an Azure resource are subscribed to.

Source: Microsoft.EventGrid 2022-06-15, `SystemTopics`
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from sandbox.arm.body import Body, ResourceBody, region
from sandbox.arm.resource import Resources
from sandbox.arm.surface import ResourceId
from sandbox.eventgrid.arm.topics import ARM_VERSIONS, AnyTopic, Identity
from sandbox.web import Call, Fault

SOURCE_TYPES: Mapping[str, str] = {"microsoft.containerregistry/registries": "Microsoft.ContainerRegistry.Registries"}
EVENT_TYPES = tuple(
    f"Microsoft.ContainerRegistry.{name}" for name in ("ImagePushed", "ImageDeleted", "ChartPushed", "ChartDeleted")
)


class SystemTopic(AnyTopic, frozen=True, kw_only=True):
    """A stored system topic."""

    source: str
    topic_type: str

    def answer(self) -> dict[str, Any]:
        """The topic as an ARM response body."""
        body = super().answer()
        body["properties"] |= {"source": self.source, "topicType": self.topic_type}
        return body


class _Properties(Body, frozen=True):
    source: str = ""
    topic_type: str = ""
    provisioning_state: str | None = None
    metric_resource_id: str | None = None


class _Patch(ResourceBody, frozen=True):
    tags: dict[str, str] | None = None
    identity: Identity | None = None


class _Body(_Patch, frozen=True, kw_only=True):
    location: str
    properties: _Properties


class SystemTopics(Resources[SystemTopic]):
    """The system topics of the subscription.

    Args:
        exists: whether a resource with that id exists.
        on_delete: called with the id of each deleted topic.
    """

    provider, kind, noun, versions = "Microsoft.EventGrid", "systemTopics", "system topic", ARM_VERSIONS
    goes_along = " and its event subscriptions"

    def __init__(self, file: Path, exists: Callable[[str], bool], on_delete: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(file, SystemTopic, on_delete)
        self._exists = exists

    async def forget_source(self, source: str) -> None:
        """Delete the system topic of a resource that was deleted."""
        for topic in self._records.values():
            if topic.source.lower() == source.lower():
                await self.delete(topic.id)

    async def _make(self, call: Call, old: SystemTopic | None) -> SystemTopic:
        """Create a system topic for a resource, or replace its tags."""
        body = await call.body(_Body)
        source = self._check_source(body.properties)
        if old and old.source.lower() != source.lower():
            raise Fault(400, "InvalidRequest", "The source of a system topic cannot be changed.")
        existing = next((topic for topic in self._records.values() if topic.source.lower() == source.lower()), None)
        if existing and existing is not old:
            message = f"Only one system topic is allowed per source. '{source}' has '{existing.name}'."
            raise Fault(400, "InvalidRequest", message)
        return SystemTopic(
            id=old.id if old else self._id(call),
            location=region(body.location),
            tags=body.tags or {},
            source=source,
            topic_type=SOURCE_TYPES[ResourceId.parse(source).type.lower()],
            metric_resource_id=old.metric_resource_id if old else str(uuid.uuid4()),
            identity=body.identity,
        )

    async def _change(self, call: Call) -> dict[str, Any]:
        """Change a system topic's tags and identity."""
        body = await call.body(_Patch)
        return {"tags": body.tags, "identity": body.identity}

    def _check_source(self, properties: _Properties) -> str:
        kind = SOURCE_TYPES.get(ResourceId.parse(properties.source).type.lower())
        if kind is None or kind.lower() != properties.topic_type.lower():
            message = (
                f"The topic type '{properties.topic_type}' does not fit the source '{properties.source}'. The sandbox "
                f"knows: {', '.join(SOURCE_TYPES.values())}."
            )
            raise Fault(400, "InvalidRequest", message)
        if not self._exists(properties.source):
            raise Fault(404, "ResourceNotFound", f"The source '{properties.source}' was not found.")
        return properties.source
