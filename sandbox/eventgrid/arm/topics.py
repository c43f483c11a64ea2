"""Custom topics, to which companies publish their own events.

Source: Microsoft.EventGrid 2022-06-15, `Topics`
"""

from __future__ import annotations

import base64
import ipaddress
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from sandbox.arm.body import Body, ResourceBody, region
from sandbox.arm.operations import Operations
from sandbox.arm.resource import Record, Resources
from sandbox.eventgrid.event import Schema
from sandbox.instance import TENANT
from sandbox.web import Call, Fault, Surface, json_answer

ARM_VERSIONS = ("2020-06-01", "2021-10-15-preview", "2021-12-01", "2022-06-15", "2025-02-15")
_NAME = re.compile(r"[A-Za-z0-9-]{3,50}")
_IDENTITIES = uuid.UUID("6f1d1c5e-6a0c-4a6f-9a51-0d6f5b8b6a11")


class Identity(Body, frozen=True, omit_defaults=False):
    """The managed identities of a topic; `principalId` and `tenantId` are read-only and ignored."""

    type: Literal["None", "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"] = "None"
    user_assigned_identities: dict[str, dict[str, str]] | None = None
    principal_id: str | None = None
    tenant_id: str | None = None


class AnyTopic(Record, frozen=True, kw_only=True):
    """The common properties of custom and system topics."""

    metric_resource_id: str
    identity: Identity | None = None

    def answer(self) -> dict[str, Any]:
        """The topic as an ARM response body."""
        properties = {"provisioningState": "Succeeded", "metricResourceId": self.metric_resource_id}
        body = super().answer() | {"properties": properties}
        if self.identity and self.identity.type != "None":
            body["identity"] = self._shown(self.identity)
        return body

    def _shown(self, identity: Identity) -> dict[str, Any]:
        shown: dict[str, Any] = {"type": identity.type}
        if identity.type.startswith("SystemAssigned"):
            shown |= {"principalId": str(uuid.uuid5(_IDENTITIES, self.id.lower())), "tenantId": TENANT}
        if identity.user_assigned_identities:
            shown["userAssignedIdentities"] = identity.user_assigned_identities
        return shown


class InboundIpRule(Body, frozen=True, omit_defaults=False):
    """An IPv4 address or range whose clients may publish to a topic."""

    ip_mask: str
    action: Literal["Allow"] = "Allow"

    def __post_init__(self) -> None:
        try:
            ipaddress.IPv4Network(self.ip_mask)
        except ValueError as error:
            raise ValueError(f"'{self.ip_mask}' is no IPv4 address or range: {error}") from error


class Topic(AnyTopic, frozen=True, kw_only=True):
    """A stored custom topic, including its two keys (base64 of 32 bytes)."""

    input_schema: Schema
    public_network_access: str
    disable_local_auth: bool
    key1: str
    key2: str
    sku: str = "Basic"
    inbound_ip_rules: tuple[InboundIpRule, ...] = ()

    @property
    def host(self) -> str:
        """The host name of its endpoint."""
        return f"{self.name}.{self.location}-1.eventgrid.azure.net".lower()

    @property
    def endpoint(self) -> str:
        """The URL that events are published to."""
        return f"https://{self.host}/api/events"

    def accepts_from(self, address: str) -> bool:
        """Whether a client with an IP address may publish: public access is enabled, and no rule or one allows it.

        Source: https://learn.microsoft.com/azure/event-grid/configure-firewall
        """
        if self.public_network_access == "Disabled":
            return False
        if not self.inbound_ip_rules:
            return True
        try:
            client = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(client in ipaddress.ip_network(rule.ip_mask) for rule in self.inbound_ip_rules)

    def answer(self) -> dict[str, Any]:
        """The topic as an ARM response body, without its keys."""
        body = super().answer() | {"sku": {"name": self.sku}, "kind": "Azure"}
        body["properties"] |= {
            "endpoint": self.endpoint,
            "inputSchema": self.input_schema,
            "publicNetworkAccess": self.public_network_access,
            "inboundIpRules": self.inbound_ip_rules,
            "disableLocalAuth": self.disable_local_auth,
        }
        return body


class _Sku(Body, frozen=True):
    name: Literal["Basic"] = "Basic"


class _Properties(Body, frozen=True):
    input_schema: Schema | None = None
    public_network_access: Literal["Enabled", "Disabled"] | None = None
    disable_local_auth: bool | None = None
    inbound_ip_rules: tuple[InboundIpRule, ...] | None = None
    provisioning_state: str | None = None
    endpoint: str | None = None
    metric_resource_id: str | None = None


class _Body(ResourceBody, frozen=True):
    location: str | None = None
    tags: dict[str, str] | None = None
    properties: _Properties = _Properties()
    sku: _Sku | None = None
    identity: Identity | None = None
    kind: Literal["Azure"] | None = None


class _KeyName(Body, frozen=True):
    key_name: Literal["key1", "key2"]


class Topics(Resources[Topic]):
    """The custom topics of the subscription. `on_delete` is called with the id of each deleted topic."""

    provider, kind, noun, versions = "Microsoft.EventGrid", "topics", "custom topic", ARM_VERSIONS
    goes_along = " and its event subscriptions"
    status_of_change = 201

    def __init__(self, file: Path, on_delete: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(file, Topic, on_delete)

    def by_host(self, host: str) -> Topic | None:
        """The topic with an endpoint's host name, or None."""
        return next((topic for topic in self._records.values() if topic.host == host), None)

    def mount(self, arm: Surface, operations: Operations | None = None) -> None:
        """Add the operations on topics to the ARM surface."""
        super().mount(arm, operations)
        one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.EventGrid/topics/{name}"
        arm.operation("POST", one + "/listKeys", versions=ARM_VERSIONS)(self._list_keys)
        arm.operation("POST", one + "/regenerateKey", versions=ARM_VERSIONS)(self._regenerate_key)

    async def _make(self, call: Call, old: Topic | None) -> Topic:
        """Create a custom topic, or replace its settings."""
        name, body = call.params["name"], await call.body(_Body)
        if not _NAME.fullmatch(name):
            raise Fault(400, "InvalidRequest", f"The topic name '{name}' must be 3-50 letters, digits and '-'.")
        location, requested = region(body.location), body.properties
        schema = requested.input_schema or "EventGridSchema"
        if old and (old.location, old.input_schema) != (location, schema):
            raise _unchangeable()
        topic = Topic(
            id=old.id if old else self._id(call),
            location=location,
            tags=body.tags or {},
            input_schema=schema,
            public_network_access=requested.public_network_access or "Enabled",
            disable_local_auth=bool(requested.disable_local_auth),
            inbound_ip_rules=requested.inbound_ip_rules or (),
            metric_resource_id=old.metric_resource_id if old else str(uuid.uuid4()),
            key1=old.key1 if old else _new_key(),
            key2=old.key2 if old else _new_key(),
            identity=body.identity,
        )
        other = self.by_host(topic.host)
        if other and other.id.lower() != topic.id.lower():
            raise Fault(409, "Conflict", f"A topic '{name}' exists in {location} already; its endpoint must be unique.")
        return topic

    async def _change(self, call: Call) -> dict[str, Any]:
        """Change a custom topic's tags and access."""
        body = await call.body(_Body)
        if body.location or body.properties.input_schema:
            raise _unchangeable()
        return {
            "tags": body.tags,
            "identity": body.identity,
            "public_network_access": body.properties.public_network_access,
            "disable_local_auth": body.properties.disable_local_auth,
            "inbound_ip_rules": body.properties.inbound_ip_rules,
        }

    async def _list_keys(self, call: Call) -> web.StreamResponse:
        """The two keys of a custom topic."""
        topic = self._require(call)
        return json_answer({"key1": topic.key1, "key2": topic.key2})

    async def _regenerate_key(self, call: Call) -> web.StreamResponse:
        """Regenerate one of a custom topic's keys; the old one is rejected from then on."""
        topic, body = self._require(call), await call.body(_KeyName)
        topic = self._keep(topic, **{body.key_name: _new_key()})
        return json_answer({"key1": topic.key1, "key2": topic.key2})


def _unchangeable() -> Fault:
    return Fault(400, "InvalidRequest", "The location and properties.inputSchema of a topic cannot be changed.")


def _new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()
