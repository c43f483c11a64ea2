"""What Event Grid says about a push or a delete.

Source: https://learn.microsoft.com/azure/event-grid/event-schema-container-registry
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.instance import LOCATION
from sandbox.registry.records import SUFFIX, Push, timestamp

_TYPES = {
    "push": "Microsoft.ContainerRegistry.ImagePushed",
    "delete": "Microsoft.ContainerRegistry.ImageDeleted",
}


@dataclass(frozen=True, slots=True)
class RegistryEvent:
    """An Event Grid event without its envelope; `source_id` is the registry's ARM id, the topic."""

    source_id: str
    id: str
    subject: str
    event_type: str
    event_time: datetime
    data: dict[str, Any]
    data_version: str = "2.0"


def to_event(push: Push, registry_id: str, location: str = LOCATION) -> RegistryEvent:
    """The event of a push or delete.

    The subject of a push by tag is `repository:tag`, otherwise `repository`; an event of a delete has neither
    tag nor size.
    """
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
    data = {
        "id": push.id,
        "timestamp": timestamp(push.timestamp),
        "action": push.action,
        "location": location,
        "target": target,
        "request": request,
    }
    subject = f"{push.repository}:{push.tag}" if push.tag else push.repository
    return RegistryEvent(registry_id, push.id, subject, _TYPES[push.action], push.timestamp, data)
