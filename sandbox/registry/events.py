"""Event Grid events for pushes and deletes.

Source: https://learn.microsoft.com/azure/event-grid/event-schema-container-registry
"""

from __future__ import annotations

from typing import Any

from sandbox.eventgrid.event import Event
from sandbox.instance import LOCATION
from sandbox.registry.records import SUFFIX, Push, timestamp

_TYPES = {
    "push": "Microsoft.ContainerRegistry.ImagePushed",
    "delete": "Microsoft.ContainerRegistry.ImageDeleted",
}


def to_event(push: Push, location: str = LOCATION) -> Event:
    """The event of a push or delete; its source is the registry's ARM id.

    The subject of a push by tag is `repository:tag`, otherwise `repository`. `location` is that of the registry; the
    event of a replica has the replica's.
    """
    subject = f"{push.repository}:{push.tag}" if push.tag else push.repository
    return Event(
        id=push.id,
        subject=subject,
        event_type=_TYPES[push.action],
        event_time=push.timestamp,
        data=event_data(push) | {"location": push.replica or location},
        data_version="2.0",
    )


def event_data(push: Push) -> dict[str, Any]:
    """What a webhook is sent, and an event has as its data; a delete has neither tag nor size."""
    target: dict[str, Any] = {"mediaType": push.media_type, "digest": push.digest, "repository": push.repository}
    if push.action == "push":
        target |= {"size": push.size, "length": push.size}
    if push.tag:
        target["tag"] = push.tag
    request = {
        "id": push.request_id,
        "host": push.registry.lower() + SUFFIX,
        "method": push.method,
        "useragent": push.user_agent,
    }
    return {
        "id": push.id,
        "timestamp": timestamp(push.timestamp),
        "action": push.action,
        "target": target,
        "request": request,
    }
