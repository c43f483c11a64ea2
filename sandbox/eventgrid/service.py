"""The Event Grid service: topics and subscriptions in ARM, publishing, delivery."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import msgspec
from aiohttp import web

from sandbox.arm.operations import Operations
from sandbox.arm.surface import ResourceId, ResourceIndex
from sandbox.entra import Issuer
from sandbox.eventgrid.arm.regions import SubscriptionLists
from sandbox.eventgrid.arm.scopes import Scopes
from sandbox.eventgrid.arm.subscriptions import Subscriptions
from sandbox.eventgrid.arm.system_topics import SystemTopics
from sandbox.eventgrid.arm.topic_types import mount_topic_types
from sandbox.eventgrid.arm.topics import Topics
from sandbox.eventgrid.deadletters import Storage
from sandbox.eventgrid.delivery import Delivery
from sandbox.eventgrid.event import Event, render
from sandbox.eventgrid.outbox import Outbox
from sandbox.eventgrid.publishing import Publishing
from sandbox.eventgrid.sending import FunctionKeys, Sender
from sandbox.eventgrid.validation import Validation
from sandbox.instance import Instance, Settings
from sandbox.web import Call, Surface, json_answer


class EventGrid:
    """Azure Event Grid for one instance.

    Args:
        instance: stores topics, subscriptions and undelivered events in its folder `eventgrid`.
        settings: `time_scale` divides the delays of delivery; `storage_account` holds queues and dead letters.
        issuer: validates the tokens of publishers and signs those of deliveries.
        outside: opens a client that reaches the sandbox by real host names (`Gateway.outside`).
        storage: stores dead letters.
        functions: provides the system keys of function apps.
    """

    def __init__(
        self,
        instance: Instance,
        settings: Settings,
        issuer: Issuer,
        outside: Callable[[], aiohttp.ClientSession],
        *,
        storage: Storage,
        functions: FunctionKeys,
    ) -> None:
        folder = instance.folder("eventgrid")
        self._index = ResourceIndex()
        self._sender = Sender(outside, issuer, functions)
        self._validation = Validation(self._sender, settings.time_scale)
        self._subscriptions = Subscriptions(
            folder / "subscriptions.json", self._validation, settings.storage_account, self._forget_events
        )
        self._outbox = Outbox(instance.folder("eventgrid", "pending"))
        self._delivery = Delivery(self._subscriptions.get, self._outbox, self._sender, storage, settings.time_scale)
        self._topics = Topics(folder / "topics.json", self._subscriptions.forget)
        self._system_topics = SystemTopics(folder / "system-topics.json", self._exists, self._subscriptions.forget)
        self._publishing = Publishing(self._topics, issuer, self.publish)

    def mount(self, arm: Surface, operations: Operations, index: ResourceIndex) -> None:
        """Register the ARM operations, and the topics in the index; sources are looked up in the same index."""
        self._index = index
        index.register("Microsoft.EventGrid/topics", self._topics.responses)
        index.register("Microsoft.EventGrid/systemTopics", self._system_topics.responses)
        mount_topic_types(arm, self._exists)
        self._topics.mount(arm, operations)
        self._system_topics.mount(arm, operations)
        self._subscriptions.mount(arm, operations, Scopes(self._topics, self._system_topics, self._exists))
        SubscriptionLists(self._subscriptions, index).mount(arm)

    def surface(self) -> Surface:
        """The endpoints of custom topics, and the validation URL that webhooks may call."""
        surface = self._publishing.surface()
        self._validation.mount(surface)
        return surface

    def mount_control(self, local: Surface) -> None:
        """Add the sandbox's control operations: fault injection and event counts."""
        self._delivery.faults.mount(local)

        @local.operation("GET", "/eventgrid/counts")
        async def get_counts(call: Call) -> web.StreamResponse:
            """The numbers of events that were published, delivered, lost, dead-lettered, or are waiting."""
            counts = msgspec.to_builtins(self._delivery.counts)
            return json_answer(counts | {"waiting": self._delivery.waiting})

    async def start(self) -> None:
        """Start deliveries, including those that an earlier run left pending."""
        await self._sender.start()
        await self._delivery.start()

    async def stop(self) -> None:
        """Stop deliveries; undelivered events stay in the outbox."""
        await self._delivery.stop()
        await self._sender.stop()

    async def publish(self, source_id: str, events: list[Event]) -> None:
        """Deliver a resource's events to all subscriptions that match; they are stored when this returns."""
        subscriptions = list(self._subscriptions.of_source(source_id))
        self._delivery.counts.published += len(events)
        for event in events:
            # Filters apply to the schema the event was published in, not to the one it is delivered in.
            published = render(
                event, source_id, "CloudEventSchemaV1_0" if "source" in event.attributes else "EventGridSchema"
            )
            for subscription in subscriptions:
                if subscription.filter.matches(published):
                    self._delivery.accept(subscription, source_id, event)

    async def forget(self, resource_id: str) -> None:
        """Delete the subscriptions and the system topic of a resource (a registry) that was deleted."""
        await self._subscriptions.forget(resource_id)
        await self._system_topics.forget_source(resource_id)

    async def delete_group(self, group: str) -> None:
        """Delete the topics of a resource group that is being deleted."""
        await self._topics.delete_group(group)
        await self._system_topics.delete_group(group)

    def _exists(self, resource_id: str) -> bool:
        kind = ResourceId.parse(resource_id).type
        return any(str(resource["id"]).lower() == resource_id.lower() for resource in self._index.list(kind))

    async def _forget_events(self, subscription_id: str) -> None:
        await self._delivery.forget(subscription_id)
