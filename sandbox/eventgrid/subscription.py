"""Event subscriptions: the filter, destination, delivery schema and retry policy for the events of a source.

Source: Microsoft.EventGrid 2022-06-15, `EventSubscription`
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from sandbox.arm.body import Body, ResourceBody
from sandbox.eventgrid.destinations import Destination, StorageBlob, StorageQueue, WebHook, shown
from sandbox.eventgrid.event import Schema, render_time
from sandbox.eventgrid.filters import Filter, invalid


class RetryPolicy(Body, frozen=True, omit_defaults=False):
    """When Event Grid abandons an event: at the limit that is reached first."""

    max_delivery_attempts: Annotated[int, msgspec.Meta(ge=1, le=30)] = 30
    event_time_to_live_in_minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 1440


class _Identity(Body, frozen=True):
    type: Literal["SystemAssigned", "UserAssigned"]
    user_assigned_identity: str | None = None


class _Delivery(Body, frozen=True):
    identity: _Identity
    destination: Destination


class _DeadLetter(Body, frozen=True):
    identity: _Identity
    dead_letter_destination: StorageBlob


class Properties(Body, frozen=True):
    """The properties of a subscription; in the body of a PATCH, those to be changed (None: unchanged)."""

    destination: Destination | None = None
    delivery_with_resource_identity: _Delivery | None = None
    filter: Filter | None = None
    labels: list[str] | None = None
    expiration_time_utc: datetime | None = None
    event_delivery_schema: Schema | None = None
    retry_policy: RetryPolicy | None = None
    dead_letter_destination: StorageBlob | None = None
    dead_letter_with_resource_identity: _DeadLetter | None = None


class PutProperties(Properties, frozen=True):
    """The properties of a PUT; `topic` and `provisioningState` are read only and ignored."""

    topic: str | None = None
    provisioning_state: str | None = None


class PutBody(ResourceBody, frozen=True):
    """The body of a PUT; `id`, `name`, `type` and `systemData` are read only and ignored."""

    properties: PutProperties


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """A stored subscription.

    `source` is the id of the resource its events come from (a registry, a custom topic), `topic` the id it was created
    under: the same, or the system topic's.
    """

    id: str
    name: str
    type: str
    source: str
    topic: str
    properties: Properties

    @property
    def destination(self) -> Destination:
        """The destination of its events."""
        own, by_identity = self.properties.destination, self.properties.delivery_with_resource_identity
        destination = own or (by_identity.destination if by_identity else None)
        if destination is None:
            raise invalid("properties.destination is missing")
        return destination

    @property
    def dead_letters(self) -> StorageBlob | None:
        """The destination of undeliverable events; with None they are dropped."""
        by_identity = self.properties.dead_letter_with_resource_identity
        own = self.properties.dead_letter_destination
        return own or (by_identity.dead_letter_destination if by_identity else None)

    @property
    def filter(self) -> Filter:
        """The filter of its events."""
        return self.properties.filter or Filter()

    @property
    def schema(self) -> Schema:
        """The schema its events are delivered in."""
        return self.properties.event_delivery_schema or "EventGridSchema"

    @property
    def retry(self) -> RetryPolicy:
        """The limits after which an event is abandoned."""
        return self.properties.retry_policy or RetryPolicy()

    @property
    def batch(self) -> tuple[int, int]:
        """The maximum number of events and of bytes in one delivery; a single event may be larger."""
        if isinstance(self.destination, StorageQueue):
            return 1, 0
        limits = self.destination.properties
        return limits.max_events_per_batch, limits.preferred_batch_size_in_kilobytes * 1024

    def expired(self, now: datetime) -> bool:
        """Whether its expiration time has passed."""
        limit = self.properties.expiration_time_utc
        return limit is not None and _utc(limit) <= now

    def check(self, account: str) -> None:
        """Reject properties that are invalid or contradict each other.

        Args:
            account: the name of the only storage account.

        Raises:
            Fault: 400 that names the field.
        """
        properties = self.properties
        if properties.destination and properties.delivery_with_resource_identity:
            raise invalid("properties has both destination and deliveryWithResourceIdentity")
        self.destination.check()
        self.filter.check()
        if self.expired(datetime.now(UTC)):
            raise invalid("properties.expirationTimeUtc lies in the past")
        used = [self.destination] if isinstance(self.destination, StorageQueue) else []
        for store in (*used, self.dead_letters):
            if store is not None and store.account != account:
                raise invalid(f"there is no storage account '{store.account}' in the sandbox, only '{account}'")

    def changed(self, change: Properties) -> Subscription:
        """Return the subscription after a PATCH; a webhook without a URL (responses omit it) keeps its current one."""
        fields = {name: getattr(change, name) for name in Properties.__struct_fields__}
        given = {name: value for name, value in fields.items() if value is not None}
        for one, other in (
            ("destination", "delivery_with_resource_identity"),
            ("dead_letter_destination", "dead_letter_with_resource_identity"),
        ):
            given |= {other: None} if one in given else {one: None} if other in given else {}
        if isinstance(change.destination, WebHook) and isinstance(self.destination, WebHook):
            given["destination"] = change.destination.completed(self.destination)
        return msgspec.structs.replace(self, properties=msgspec.structs.replace(self.properties, **given))

    def answer(self, state: str = "Succeeded") -> dict[str, Any]:
        """The subscription as an ARM response body, without secrets."""
        properties = self.properties
        body: dict[str, Any] = msgspec.to_builtins(properties)
        if properties.destination:
            body["destination"] = shown(properties.destination)
        if properties.delivery_with_resource_identity:
            body["deliveryWithResourceIdentity"]["destination"] = shown(self.destination)
        if properties.expiration_time_utc:
            body["expirationTimeUtc"] = render_time(_utc(properties.expiration_time_utc))
        body |= {
            "topic": self.topic,
            "provisioningState": state,
            "labels": properties.labels or [],
            "eventDeliverySchema": self.schema,
            "filter": msgspec.to_builtins(self.filter),
            "retryPolicy": msgspec.to_builtins(self.retry),
        }
        return {"id": self.id, "name": self.name, "type": self.type, "properties": body}

    @property
    def full_url(self) -> str | None:
        """The webhook's URL with its secrets; None for other destinations."""
        destination = self.destination
        return destination.properties.endpoint_url if isinstance(destination, WebHook) else None


def properties_of(body: PutProperties) -> Properties:
    """The properties of a PUT, without its read-only ones."""
    return Properties(**{name: getattr(body, name) for name in Properties.__struct_fields__})


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)
