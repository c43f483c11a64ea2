"""Custom topics: where a company publishes events of its own.

Source: Microsoft.EventGrid 2022-06-15, `Topics`
"""

from __future__ import annotations

import base64
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from aiohttp import web

from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceId
from sandbox.eventgrid.event import Schema
from sandbox.eventgrid.identity import Identity, shown_identity
from sandbox.instance import SUBSCRIPTION
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

ARM_VERSIONS = ("2020-06-01", "2021-10-15-preview", "2021-12-01", "2022-06-15", "2025-02-15")
_NAME = re.compile(r"[A-Za-z0-9-]{3,50}")
_ALL = "/subscriptions/{subscription}/providers/Microsoft.EventGrid/topics"
_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.EventGrid/topics"
_ONE = _GROUP + "/{name}"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A custom topic as it is kept, its two keys (base64 of 32 bytes) included."""

    id: str
    name: str
    location: str
    tags: dict[str, str]
    input_schema: Schema
    public_network_access: str
    disable_local_auth: bool
    metric_resource_id: str
    key1: str
    key2: str
    sku: str = "Basic"
    identity: Identity | None = None

    @property
    def host(self) -> str:
        """The host name of its endpoint."""
        return f"{self.name}.{self.location}-1.eventgrid.azure.net".lower()

    @property
    def endpoint(self) -> str:
        """Where events are published."""
        return f"https://{self.host}/api/events"

    def answer(self) -> dict[str, Any]:
        """The topic as ARM answers it; never its keys."""
        return {
            "id": self.id,
            "name": self.name,
            "type": "Microsoft.EventGrid/topics",
            "location": self.location,
            "tags": self.tags,
            "sku": {"name": self.sku},
            "kind": "Azure",
            "properties": {
                "provisioningState": "Succeeded",
                "endpoint": self.endpoint,
                "inputSchema": self.input_schema,
                "metricResourceId": self.metric_resource_id,
                "publicNetworkAccess": self.public_network_access,
                "disableLocalAuth": self.disable_local_auth,
            },
        } | shown_identity(self.identity, self.id)


class _Sku(msgspec.Struct, forbid_unknown_fields=True):
    name: Literal["Basic"] = "Basic"


class _Properties(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    input_schema: Schema | None = None
    public_network_access: Literal["Enabled", "Disabled"] | None = None
    disable_local_auth: bool | None = None
    provisioning_state: str | None = None
    endpoint: str | None = None
    metric_resource_id: str | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    location: str | None = None
    tags: dict[str, str] | None = None
    properties: _Properties = msgspec.field(default_factory=_Properties)
    sku: _Sku | None = None
    identity: Identity | None = None
    kind: Literal["Azure"] | None = None
    id: str | None = None
    name: str | None = None
    type: str | None = None


class _KeyName(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    key_name: Literal["key1", "key2"]


class Topics:
    """The custom topics of the subscription. `on_delete` is told the id of each one that goes."""

    def __init__(self, file: Path, on_delete: Callable[[str], Awaitable[None]]) -> None:
        self._topics, self._on_delete = Collection(file, Topic), on_delete

    def get(self, topic_id: str) -> Topic | None:
        """The topic of an ARM id, or None."""
        return self._topics.get(topic_id)

    def by_host(self, host: str) -> Topic | None:
        """The topic of an endpoint's host name, or None."""
        return next((topic for topic in self._topics.values() if topic.host == host), None)

    def answers(self) -> Iterator[dict[str, Any]]:
        """All of them, as ARM answers them."""
        return (topic.answer() for topic in self._topics.values())

    async def delete(self, topic_id: str) -> None:
        """Delete a topic and what hangs on it."""
        if self._topics.remove(topic_id):
            await self._on_delete(topic_id)

    def mount(self, arm: Surface, operations: Operations) -> None:
        """Add the operations on topics to the ARM surface."""
        for method, pattern, handler in (
            ("GET", _ALL, self._list),
            ("GET", _GROUP, self._list),
            ("PUT", _ONE, self._put),
            ("GET", _ONE, self._get),
            ("PATCH", _ONE, self._patch),
            ("POST", _ONE + "/listKeys", self._list_keys),
            ("POST", _ONE + "/regenerateKey", self._regenerate_key),
        ):
            arm.operation(method, pattern, versions=ARM_VERSIONS)(handler)

        @arm.operation("DELETE", _ONE, versions=ARM_VERSIONS)
        async def delete_topic(call: Call) -> web.StreamResponse:
            """Delete a custom topic and its event subscriptions."""
            if self._topics.get(_id(call)) is None:
                return web.Response(status=204)
            return operations.accept(call, "Microsoft.EventGrid", self.delete(_id(call)))

    async def _list(self, call: Call) -> web.StreamResponse:
        """The custom topics of the subscription or of a group."""
        group = call.params.get("group")
        scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/" + (f"{group}/" if group else "")
        return json_answer({"value": [topic.answer() for topic in self._topics.values(scope)]})

    async def _put(self, call: Call) -> web.StreamResponse:
        """Create a custom topic, or replace its settings."""
        name, body = call.params["name"], await call.body(_Body)
        if not _NAME.fullmatch(name):
            raise Fault(400, "InvalidRequest", f"The topic name '{name}' must be 3-50 letters, digits and '-'.")
        if not body.location:
            raise Fault(400, "LocationRequired", "The location property is required for this definition.")
        old, asked = self._topics.get(_id(call)), body.properties
        location = body.location.lower().replace(" ", "")
        schema = asked.input_schema or "EventGridSchema"
        if old and (old.location, old.input_schema) != (location, schema):
            raise Fault(400, "InvalidRequest", "The location and properties.inputSchema of a topic cannot be changed.")
        topic = Topic(
            id=old.id if old else _id(call),
            name=old.name if old else name,
            location=location,
            tags=body.tags or {},
            input_schema=schema,
            public_network_access=asked.public_network_access or "Enabled",
            disable_local_auth=bool(asked.disable_local_auth),
            metric_resource_id=old.metric_resource_id if old else str(uuid.uuid4()),
            key1=old.key1 if old else _new_key(),
            key2=old.key2 if old else _new_key(),
            identity=body.identity,
        )
        other = self.by_host(topic.host)
        if other and other.id.lower() != topic.id.lower():
            raise Fault(409, "Conflict", f"A topic '{name}' exists in {location} already; its endpoint must be unique.")
        return json_answer(self._topics.put(topic.id, topic).answer(), 201)

    async def _get(self, call: Call) -> web.StreamResponse:
        """One custom topic."""
        return json_answer(self._require(call).answer())

    async def _patch(self, call: Call) -> web.StreamResponse:
        """Change a custom topic's tags and access."""
        topic, body = self._require(call), await call.body(_Body)
        if body.location or body.properties.input_schema:
            raise Fault(400, "InvalidRequest", "The location and properties.inputSchema of a topic cannot be changed.")
        asked = {
            "tags": body.tags,
            "identity": body.identity,
            "public_network_access": body.properties.public_network_access,
            "disable_local_auth": body.properties.disable_local_auth,
        }
        changes = {name: value for name, value in asked.items() if value is not None}
        return json_answer(self._topics.put(topic.id, msgspec.structs.replace(topic, **changes)).answer())

    async def _list_keys(self, call: Call) -> web.StreamResponse:
        """The two keys of a custom topic."""
        topic = self._require(call)
        return json_answer({"key1": topic.key1, "key2": topic.key2})

    async def _regenerate_key(self, call: Call) -> web.StreamResponse:
        """Make one of a custom topic's keys anew; the old one is refused from then on."""
        topic, body = self._require(call), await call.body(_KeyName)
        topic = self._topics.put(topic.id, msgspec.structs.replace(topic, **{body.key_name: _new_key()}))
        return json_answer({"key1": topic.key1, "key2": topic.key2})

    def _require(self, call: Call) -> Topic:
        topic = self._topics.get(_id(call))
        if topic is None:
            message = f"The Resource 'Microsoft.EventGrid/topics/{call.params['name']}' was not found."
            raise Fault(404, "ResourceNotFound", message)
        return topic


def _id(call: Call) -> str:
    return str(ResourceId(call.params["group"], "Microsoft.EventGrid", "topics", call.params["name"]))


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
