"""The data plane: `https://<topic>.<region>-1.eventgrid.azure.net/api/events`.

Sources: https://learn.microsoft.com/azure/event-grid/post-to-custom-topic, Event Grid 2018-01-01
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from sandbox.entra import Issuer
from sandbox.eventgrid.arm.topics import Topic, Topics
from sandbox.eventgrid.credentials import authorize
from sandbox.eventgrid.event import Event
from sandbox.eventgrid.validation import VALIDATION_HOST
from sandbox.web import Call, Fault, Surface

Publish = Callable[[str, list[Event]], Awaitable[None]]

_VERSIONS = ("2018-01-01",)
_LIMIT_BYTES = 1024 * 1024
_EXTENSION = re.compile(r"[a-z0-9]{1,20}")
_CLOUD_SINGLE, _CLOUD_BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"

Text = Annotated[str, msgspec.Meta(min_length=1)]


class _GridEvent(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    id: Text
    subject: Text
    event_type: Text
    event_time: datetime
    data: Any = None
    data_version: str = ""
    topic: str | None = None
    metadata_version: Literal["1"] | None = None


class _CloudEvent(msgspec.Struct, rename={"spec_version": "specversion"}, kw_only=True):
    id: Text
    source: Text
    type: Text
    spec_version: Literal["1.0"]
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None


class Publishing:
    """Accepts events for custom topics."""

    def __init__(self, topics: Topics, issuer: Issuer, publish: Publish) -> None:
        self._topics, self._issuer, self._publish = topics, issuer, publish

    def surface(self) -> Surface:
        """The host names of Event Grid, with the endpoints of all custom topics."""
        surface = Surface("Event Grid", rf"([a-z0-9-]+\.[a-z0-9]+-1|{VALIDATION_HOST})\.eventgrid\.azure\.net")
        surface.operation("POST", "/api/events")(self._post)
        surface.operation("OPTIONS", "/api/events")(self._options)
        return surface

    async def _post(self, call: Call) -> web.StreamResponse:
        """Publish events to a custom topic; they are stored before the response and delivered after it."""
        topic = self._require(call)
        authorize(call.request.headers, topic, self._issuer)
        if not topic.accepts_from(call.request.remote or ""):
            message = f"The topic {topic.host} takes no events over the public network from {call.request.remote}."
            raise Fault(403, "Forbidden", message)
        if call.query.get("api-version", _VERSIONS[0]) not in _VERSIONS:
            message = f"The api-version '{call.query['api-version']}' is unknown to the sandbox. Known: {_VERSIONS[0]}."
            raise Fault(400, "BadRequest", message)
        if (call.request.content_length or 0) > _LIMIT_BYTES:
            raise _too_large()
        raw = await call.request.read()
        if len(raw) > _LIMIT_BYTES:
            raise _too_large()
        await self._publish(topic.id, _parse(call.request, raw, topic))
        return web.Response(status=200)

    async def _options(self, call: Call) -> web.StreamResponse:
        """Whether the topic accepts CloudEvents from an origin (it accepts them from any that has a key)."""
        self._require(call)
        origin = call.request.headers.get("WebHook-Request-Origin", "*")
        return web.Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"})

    def _require(self, call: Call) -> Topic:
        topic = self._topics.by_host(call.host)
        if topic is None:
            raise Fault(404, "NotFound", f"There is no topic with the endpoint https://{call.host}/api/events.")
        return topic


def _parse(request: web.BaseRequest, raw: bytes, topic: Topic) -> list[Event]:
    cloud = topic.input_schema == "CloudEventSchemaV1_0"
    schema, content = "CloudEventV10" if cloud else "EventGridEvent", request.content_type
    expected = (_CLOUD_SINGLE, _CLOUD_BATCH) if cloud else ("application/json",)
    if content not in expected:
        message = (
            f"This resource is configured to receive event in '{schema}' schema. "
            f"The Content-Type must be one of {', '.join(expected)}, not '{content}'."
        )
        raise Fault(400 if cloud or content in (_CLOUD_SINGLE, _CLOUD_BATCH) else 415, "BadRequest", message)
    try:
        if not cloud:
            return [_from_grid(event, topic) for event in msgspec.json.decode(raw, type=list[_GridEvent])]
        if content == _CLOUD_BATCH:
            return [_from_cloud(event) for event in msgspec.json.decode(raw, type=list[dict[str, Any]])]
        return [_from_cloud(msgspec.json.decode(raw, type=dict[str, Any]))]
    except (ValueError, RecursionError) as error:  # of msgspec, or of bytes that are not UTF-8
        message = (
            f"This resource is configured to receive event in '{schema}' schema. "
            f"The JSON received does not conform to the expected schema: {error}."
        )
        raise Fault(400, "BadRequest", message) from error


def _from_grid(event: _GridEvent, topic: Topic) -> Event:
    if event.topic and event.topic.lower() != topic.id.lower():
        raise Fault(400, "BadRequest", f"The event's topic '{event.topic}' is not this topic's id, {topic.id}.")
    return Event(
        id=event.id,
        subject=event.subject,
        event_type=event.event_type,
        event_time=_aware(event.event_time),
        data=event.data,
        data_version=event.data_version,
    )


def _from_cloud(plain: dict[str, Any]) -> Event:
    event = msgspec.convert(plain, _CloudEvent)
    known = {"id", "type", "specversion", "subject", "time", "data"}
    attributes = {name: value for name, value in plain.items() if name not in known and value is not None}
    for name, value in attributes.items():
        if name == "data_base64":
            if "data" in plain and plain["data"] is not None:
                raise Fault(400, "BadRequest", "A CloudEvent has either data or data_base64, not both.")
        elif not _EXTENSION.fullmatch(name) or not isinstance(value, str | int | bool | float):
            raise Fault(400, "BadRequest", f"'{name}' is no CloudEvents attribute: a-z and 0-9, with a simple value.")
    return Event(
        id=event.id,
        subject=event.subject or "",
        event_type=event.type,
        event_time=_aware(event.time or datetime.now(UTC)),
        data=plain.get("data"),
        attributes=attributes,
    )


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _too_large() -> Fault:
    return Fault(413, "PayloadTooLarge", "The maximum size (1048576 bytes) of a request has been exceeded.")
