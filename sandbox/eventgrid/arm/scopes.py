"""Scopes of event subscriptions, and their three path formats in ARM.

- `{resource}/providers/Microsoft.EventGrid/eventSubscriptions/{name}`: a registry or a custom topic;
- `…/Microsoft.EventGrid/topics/{topic}/eventSubscriptions/{name}`;
- `…/Microsoft.EventGrid/systemTopics/{topic}/eventSubscriptions/{name}`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sandbox.arm.surface import ResourceId
from sandbox.eventgrid.arm.system_topics import EVENT_TYPES, SOURCE_TYPES, SystemTopics
from sandbox.eventgrid.arm.topics import Topics
from sandbox.eventgrid.event import Schema
from sandbox.web import Call, Fault

_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers"
EXTENSION = _GROUP + "/{provider}/{kind}/{resource}/providers/Microsoft.EventGrid/eventSubscriptions"
CHILDREN = (
    _GROUP + "/Microsoft.EventGrid/topics/{resource}/eventSubscriptions",
    _GROUP + "/Microsoft.EventGrid/systemTopics/{resource}/eventSubscriptions",
)


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope that a subscription is created in.

    `topic` is the id of the scope's resource, `source` that of the resource the events come from, `prefix` the
    subscription collection with its slash, `type` their resource type, `schema` the schema events are published in,
    `event_types` the default event types (none for a custom topic: any).
    """

    topic: str
    source: str
    prefix: str
    type: str
    schema: Schema
    event_types: tuple[str, ...]


class Scopes:
    """Finds the scope in a request's path.

    Args:
        exists: whether a resource with that id exists.
    """

    def __init__(self, topics: Topics, system_topics: SystemTopics, exists: Callable[[str], bool]) -> None:
        self._topics, self._system_topics, self._exists = topics, system_topics, exists

    def find(self, call: Call) -> Scope:
        """Return the scope of a request.

        Raises:
            Fault: 404 if the resource does not exist, 400 if it has no events.
        """
        params = call.params
        extension = "provider" in params
        path = call.request.rel_url.raw_path.lower()
        kind = params.get("kind") or ("systemTopics" if "/systemtopics/" in path else "topics")
        resource = ResourceId(params["group"], params.get("provider", "Microsoft.EventGrid"), kind, params["resource"])
        prefix = f"{resource}/providers/Microsoft.EventGrid/eventSubscriptions/"
        if resource.type.lower() == "microsoft.eventgrid/systemtopics" and not extension:
            return self._system(resource)
        if resource.type.lower() == "microsoft.eventgrid/topics":
            return self._custom(resource, extension, prefix)
        if resource.type.lower() not in SOURCE_TYPES:
            known = ", ".join((*SOURCE_TYPES, "microsoft.eventgrid/topics"))
            message = f"Event subscriptions on '{resource.type}' are not supported in the sandbox. Known: {known}."
            raise Fault(400, "InvalidRequest", message)
        if not self._exists(str(resource)):
            raise _missing(resource)
        kind = "Microsoft.EventGrid/eventSubscriptions"
        return Scope(str(resource), str(resource), prefix, kind, "EventGridSchema", EVENT_TYPES)

    def _system(self, resource: ResourceId) -> Scope:
        topic = self._system_topics.get(str(resource))
        if topic is None:
            raise _missing(resource)
        kind = "Microsoft.EventGrid/systemTopics/eventSubscriptions"
        return Scope(topic.id, topic.source, f"{topic.id}/eventSubscriptions/", kind, "EventGridSchema", EVENT_TYPES)

    def _custom(self, resource: ResourceId, extension: bool, prefix: str) -> Scope:
        topic = self._topics.get(str(resource))
        if topic is None:
            raise _missing(resource)
        if extension:
            return Scope(topic.id, topic.id, prefix, "Microsoft.EventGrid/eventSubscriptions", topic.input_schema, ())
        kind = "Microsoft.EventGrid/topics/eventSubscriptions"
        return Scope(topic.id, topic.id, f"{topic.id}/eventSubscriptions/", kind, topic.input_schema, ())


def _missing(resource: ResourceId) -> Fault:
    message = f"The Resource '{resource.type}/{resource.name}' under resource group '{resource.group}' was not found."
    return Fault(404, "ResourceNotFound", message)
