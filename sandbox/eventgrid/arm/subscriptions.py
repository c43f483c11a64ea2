"""Event subscriptions in ARM: created only after their endpoint has agreed.

Source: Microsoft.EventGrid 2022-06-15, `EventSubscriptions`, `TopicEventSubscriptions`, `SystemTopicEventSubscriptions`
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sandbox.arm.operations import Operations
from sandbox.eventgrid.arm.scopes import CHILDREN, EXTENSION, Scope, Scopes
from sandbox.eventgrid.arm.topics import ARM_VERSIONS
from sandbox.eventgrid.destinations import StorageQueue
from sandbox.eventgrid.filters import Filter, invalid
from sandbox.eventgrid.subscription import Properties, PutBody, Subscription, properties_of
from sandbox.eventgrid.validation import Validation
from sandbox.store import Collection
from sandbox.web import Call, Fault, Surface, json_answer

_NAME = re.compile(r"[A-Za-z0-9-]{3,64}")


class Subscriptions:
    """All event subscriptions.

    Args:
        account: the name of the only storage account for queues and dead letters.
        on_delete: called with the id of each deleted subscription.
    """

    def __init__(
        self, file: Path, validation: Validation, account: str, on_delete: Callable[[str], Awaitable[None]]
    ) -> None:
        self._subscriptions = Collection(file, Subscription)
        self._validation, self._account, self._on_delete = validation, account, on_delete
        self._changing: dict[str, tuple[Subscription, str]] = {}

    def get(self, subscription_id: str) -> Subscription | None:
        """The subscription with an ARM id, or None."""
        return self._subscriptions.get(subscription_id)

    def of_source(self, source: str) -> Iterator[Subscription]:
        """The unexpired subscriptions to a resource's events."""
        now = datetime.now(UTC)
        for subscription in self._subscriptions.values():
            if subscription.source.lower() == source.lower() and not subscription.expired(now):
                yield subscription

    async def forget(self, scope_id: str) -> None:
        """Delete the subscriptions of a resource that was deleted."""
        for subscription in self._subscriptions.values(f"{scope_id}/"):
            await self._delete(subscription.id)

    async def _delete(self, subscription_id: str) -> bool:
        existed = self._subscriptions.remove(subscription_id) is not None
        if existed:
            await self._on_delete(subscription_id)
        return existed

    def mount(self, arm: Surface, operations: Operations, scopes: Scopes) -> None:
        """Add the operations on event subscriptions to the ARM surface, in their three path formats."""
        handlers = _Handlers(self, operations, scopes)
        for collection in (*CHILDREN, EXTENSION):
            one = collection + "/{name}"
            arm.operation("GET", collection, versions=ARM_VERSIONS)(handlers.list)
            arm.operation("PUT", one, versions=ARM_VERSIONS)(handlers.put)
            arm.operation("PATCH", one, versions=ARM_VERSIONS)(handlers.patch)
            arm.operation("GET", one, versions=ARM_VERSIONS)(handlers.get)
            arm.operation("DELETE", one, versions=ARM_VERSIONS)(handlers.delete)
            arm.operation("POST", one + "/getFullUrl", versions=ARM_VERSIONS)(handlers.get_full_url)
            arm.operation("POST", one + "/getDeliveryAttributes", versions=ARM_VERSIONS)(handlers.get_attributes)

    def check(self, subscription: Subscription, scope: Scope) -> None:
        """Reject a subscription that is invalid or does not match its topic.

        Raises:
            Fault: 400 that names the field.
        """
        subscription.check(self._account)
        if scope.schema == "CloudEventSchemaV1_0" and subscription.schema != scope.schema:
            raise invalid("eventDeliverySchema must be CloudEventSchemaV1_0, as the topic's inputSchema is")

    async def change(self, subscription: Subscription, state: str) -> None:
        """Store a new or changed subscription once its endpoint has agreed; the old one stays in effect until then.

        Raises:
            Fault: "Url validation" if it does not agree.
        """
        key = subscription.id.lower()
        entry = self._changing[key] = (subscription, state)
        try:
            await self._validation.handshake(subscription)
            self._subscriptions.put(subscription.id, subscription)
        finally:
            if self._changing.get(key) is entry:
                del self._changing[key]

    async def remove(self, subscription_id: str) -> bool:
        """Delete a subscription; False if it did not exist."""
        return await self._delete(subscription_id)

    def shown(self, subscription_id: str) -> dict[str, Any] | None:
        """A subscription as an ARM response body, even if still being created; None if it does not exist."""
        subscription = self.get(subscription_id)
        changing = self._changing.get(subscription_id.lower())
        if changing:
            return changing[0].answer(changing[1])
        return subscription.answer() if subscription else None

    def list_below(self, prefix: str) -> list[dict[str, Any]]:
        """The subscriptions of one collection, as ARM response bodies."""
        return [subscription.answer() for subscription in self._subscriptions.values(prefix)]


class _Handlers:
    """The handlers of the operations, one for all path formats of the scope."""

    def __init__(self, subscriptions: Subscriptions, operations: Operations, scopes: Scopes) -> None:
        self._subscriptions, self._operations, self._scopes = subscriptions, operations, scopes

    async def list(self, call: Call) -> web.StreamResponse:
        """The event subscriptions of a resource."""
        return json_answer({"value": self._subscriptions.list_below(self._scopes.find(call).prefix)})

    async def put(self, call: Call) -> web.StreamResponse:
        """Create or replace an event subscription, after the validation handshake with its endpoint."""
        scope, name, body = self._scopes.find(call), call.params["name"], await call.body(PutBody)
        if not _NAME.fullmatch(name):
            raise Fault(400, "InvalidRequest", f"The name '{name}' must be 3-64 letters, digits and '-'.")
        old = self._subscriptions.get(scope.prefix + name)
        subscription = Subscription(
            id=old.id if old else scope.prefix + name,
            name=old.name if old else name,
            type=scope.type,
            source=scope.source,
            topic=scope.topic,
            properties=_with_defaults(properties_of(body.properties), scope),
        )
        return self._accept(call, subscription, scope, "Updating" if old else "Creating")

    async def patch(self, call: Call) -> web.StreamResponse:
        """Change an event subscription."""
        scope, change = self._scopes.find(call), await call.body(Properties)
        subscription = self._require(call, scope).changed(change)
        return self._accept(call, subscription, scope, "Updating")

    async def get(self, call: Call) -> web.StreamResponse:
        """One event subscription."""
        shown = self._subscriptions.shown(self._scopes.find(call).prefix + call.params["name"])
        if shown is None:
            raise _missing(call)
        return json_answer(shown)

    async def delete(self, call: Call) -> web.StreamResponse:
        """Delete an event subscription and its undelivered events."""
        existed = await self._subscriptions.remove(self._scopes.find(call).prefix + call.params["name"])
        return web.Response(status=200 if existed else 204)

    async def get_full_url(self, call: Call) -> web.StreamResponse:
        """The webhook's URL with the secrets of its query."""
        return json_answer({"endpointUrl": self._require(call, self._scopes.find(call)).full_url})

    async def get_attributes(self, call: Call) -> web.StreamResponse:
        """The custom headers of deliveries, with their secrets."""
        destination = self._require(call, self._scopes.find(call)).destination
        mappings = () if isinstance(destination, StorageQueue) else destination.properties.delivery_attribute_mappings
        return json_answer({"value": mappings})

    def _require(self, call: Call, scope: Scope) -> Subscription:
        subscription = self._subscriptions.get(scope.prefix + call.params["name"])
        if subscription is None:
            raise _missing(call)
        return subscription

    def _accept(self, call: Call, subscription: Subscription, scope: Scope, state: str) -> web.StreamResponse:
        self._subscriptions.check(subscription, scope)
        work = self._subscriptions.change(subscription, state)
        return self._operations.accept(call, "Microsoft.EventGrid", work, status=201, body=subscription.answer(state))


def _with_defaults(properties: Properties, scope: Scope) -> Properties:
    requested = properties.filter or Filter()
    if not requested.included_event_types and scope.event_types:
        requested = msgspec.structs.replace(requested, included_event_types=list(scope.event_types))
    schema = properties.event_delivery_schema or scope.schema
    return msgspec.structs.replace(properties, filter=requested, event_delivery_schema=schema)


def _missing(call: Call) -> Fault:
    return Fault(404, "ResourceNotFound", f"The event subscription '{call.params['name']}' was not found.")
