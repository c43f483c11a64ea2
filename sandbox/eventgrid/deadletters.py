"""Dead-lettering: undeliverable events are written as JSON blobs to the subscription's container.

Source: https://learn.microsoft.com/azure/event-grid/manage-event-delivery
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from sandbox.eventgrid.event import render, render_time
from sandbox.eventgrid.outbox import Pending
from sandbox.eventgrid.subscription import Subscription


class Storage(Protocol):
    """Writes blobs to the sandbox's one storage account."""

    async def put_blob(self, container: str, blob: str, data: bytes, metadata: Mapping[str, str]) -> None:
        """Write a block blob.

        Raises:
            Fault: if the container does not exist.
        """


async def write_dead_letters(storage: Storage, subscription: Subscription, batch: Sequence[Pending]) -> None:
    """Write a batch of a subscription's undeliverable events to one blob.

    Its name consists of the subscription's name in upper case and the hour without leading zeros, as in Azure.
    """
    assert subscription.dead_letters
    now = datetime.now(UTC)
    name = f"{subscription.name.upper()}/{now.year}/{now.month}/{now.day}/{now.hour}/{uuid.uuid4()}.json"
    data = msgspec.json.encode([_letter(subscription, pending) for pending in batch])
    await storage.put_blob(subscription.dead_letters.properties.blob_container_name, name, data, {})


def _letter(subscription: Subscription, pending: Pending) -> dict[str, Any]:
    facts = {
        "deadLetterReason": pending.given_up,
        "deliveryAttempts": pending.attempts,
        "lastDeliveryOutcome": pending.outcome,
        "publishTime": render_time(pending.published),
        "lastDeliveryAttemptTime": render_time(pending.attempted or pending.published),
    }
    if subscription.schema == "CloudEventSchemaV1_0":
        facts = {name.lower(): value for name, value in facts.items()}  # CloudEvents attributes are lower case
    return render(pending.event, pending.topic, subscription.schema) | facts
