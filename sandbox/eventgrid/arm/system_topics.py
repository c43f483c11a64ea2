"""System topics: the named place where the events of one Azure resource are subscribed to.

Source: Microsoft.EventGrid 2022-06-15, `SystemTopics`
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceId
from sandbox.eventgrid.arm.topics import ARM_VERSIONS
from sandbox.eventgrid.identity import Identity, shown_identity
from sandbox.instance import SUBSCRIPTION
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

SOURCE_TYPES: Mapping[str, str] = {"microsoft.containerregistry/registries": "Microsoft.ContainerRegistry.Registries"}
EVENT_TYPES = tuple(
    f"Microsoft.ContainerRegistry.{name}" for name in ("ImagePushed", "ImageDeleted", "ChartPushed", "ChartDeleted")
)
_ALL = "/subscriptions/{subscription}/providers/Microsoft.EventGrid/systemTopics"
_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.EventGrid/systemTopics"
_ONE = _GROUP + "/{name}"


class SystemTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A system topic as it is kept."""

    id: str
    name: str
    location: str
    tags: dict[str, str]
    source: str
    topic_type: str
    metric_resource_id: str
    identity: Identity | None = None

    def answer(self) -> dict[str, Any]:
        """The topic as ARM answers it."""
        return {
            "id": self.id,
            "name": self.name,
            "type": "Microsoft.EventGrid/systemTopics",
            "location": self.location,
            "tags": self.tags,
            "properties": {
                "provisioningState": "Succeeded",
                "source": self.source,
                "topicType": self.topic_type,
                "metricResourceId": self.metric_resource_id,
            },
        } | shown_identity(self.identity, self.id)


class _Properties(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    source: str = ""
    topic_type: str = ""
    provisioning_state: str | None = None
    metric_resource_id: str | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    location: str
    properties: _Properties
    tags: dict[str, str] | None = None
    identity: Identity | None = None
    id: str | None = None
    name: str | None = None
    type: str | None = None


class _Patch(msgspec.Struct, forbid_unknown_fields=True):
    tags: dict[str, str] | None = None
    identity: Identity | None = None


class SystemTopics:
    """The system topics of the subscription.

    Args:
        exists: whether there is a resource of that id.
        on_delete: is told the id of each topic that goes.
    """

    def __init__(self, file: Path, exists: Callable[[str], bool], on_delete: Callable[[str], Awaitable[None]]) -> None:
        self._topics, self._exists, self._on_delete = Collection(file, SystemTopic), exists, on_delete

    def get(self, topic_id: str) -> SystemTopic | None:
        """The system topic of an ARM id, or None."""
        return self._topics.get(topic_id)

    def answers(self) -> Iterator[dict[str, Any]]:
        """All of them, as ARM answers them."""
        return (topic.answer() for topic in self._topics.values())

    async def delete(self, topic_id: str) -> None:
        """Delete a system topic and the subscriptions made under it."""
        if self._topics.remove(topic_id):
            await self._on_delete(topic_id)

    async def forget_source(self, source: str) -> None:
        """Delete the system topic of a resource that is gone."""
        for topic in self._topics.values():
            if topic.source.lower() == source.lower():
                await self.delete(topic.id)

    def mount(self, arm: Surface, operations: Operations) -> None:
        """Add the operations on system topics to the ARM surface."""
        for method, pattern, handler in (
            ("GET", _ALL, self._list),
            ("GET", _GROUP, self._list),
            ("PUT", _ONE, self._put),
            ("GET", _ONE, self._get),
            ("PATCH", _ONE, self._patch),
        ):
            arm.operation(method, pattern, versions=ARM_VERSIONS)(handler)

        @arm.operation("DELETE", _ONE, versions=ARM_VERSIONS)
        async def delete_system_topic(call: Call) -> web.StreamResponse:
            """Delete a system topic and its event subscriptions."""
            if self._topics.get(_id(call)) is None:
                return web.Response(status=204)
            return operations.accept(call, "Microsoft.EventGrid", self.delete(_id(call)))

    async def _list(self, call: Call) -> web.StreamResponse:
        """The system topics of the subscription or of a group."""
        group = call.params.get("group")
        scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/" + (f"{group}/" if group else "")
        return json_answer({"value": [topic.answer() for topic in self._topics.values(scope)]})

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a system topic for a resource, or replace its tags."""
        body, old = await call.body(_Body), self._topics.get(_id(call))
        source = self._check_source(body.properties)
        if old and old.source.lower() != source.lower():
            raise Fault(400, "InvalidRequest", "The source of a system topic cannot be changed.")
        twin = next((topic for topic in self._topics.values() if topic.source.lower() == source.lower()), None)
        if twin and twin is not old:
            message = f"Only one system topic is allowed per source. '{source}' has '{twin.name}'."
            raise Fault(400, "InvalidRequest", message)
        topic = SystemTopic(
            id=old.id if old else _id(call),
            name=old.name if old else call.params["name"],
            location=body.location.lower().replace(" ", ""),
            tags=body.tags or {},
            source=source,
            topic_type=SOURCE_TYPES[ResourceId.parse(source).type.lower()],
            metric_resource_id=old.metric_resource_id if old else str(uuid.uuid4()),
            identity=body.identity,
        )
        return json_answer(self._topics.put(topic.id, topic).answer(), 200 if old else 201)

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

    async def _get(self, call: Call) -> web.StreamResponse:
        """One system topic."""
        return json_answer(self._require(call).answer())

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a system topic's tags and identity."""
        topic, body = self._require(call), await call.body(_Patch)
        changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not None}
        return json_answer(self._topics.put(topic.id, msgspec.structs.replace(topic, **changes)).answer())

    def _require(self, call: Call) -> SystemTopic:
        topic = self._topics.get(_id(call))
        if topic is None:
            message = f"The Resource 'Microsoft.EventGrid/systemTopics/{call.params['name']}' was not found."
            raise Fault(404, "ResourceNotFound", message)
        return topic


def _id(call: Call) -> str:
    return str(ResourceId(call.params["group"], "Microsoft.EventGrid", "systemTopics", call.params["name"]))
