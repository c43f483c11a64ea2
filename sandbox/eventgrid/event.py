"""Events and their two JSON schemas: Event Grid and CloudEvents 1.0.

Sources: https://learn.microsoft.com/azure/event-grid/event-schema,
https://learn.microsoft.com/azure/event-grid/cloud-event-schema
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event, independent of the schema it was published in.

    `attributes` are the CloudEvents attributes that have no field in the Event Grid schema: `source` (if absent, the
    topic's id is used), `datacontenttype`, `dataschema`, `data_base64` and extensions.
    """

    id: str
    subject: str
    event_type: str
    event_time: datetime
    data: Any = None
    data_version: str = ""
    attributes: dict[str, Any] = {}


def render(event: Event, topic: str, schema: Schema) -> dict[str, Any]:
    """Render an event of a topic as the JSON object that is delivered."""
    return _event_grid(event, topic) if schema == "EventGridSchema" else _cloud(event, topic)


def render_time(time: datetime) -> str:
    """Format a time the way Azure does: UTC, seven decimals."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"


def lookup(rendered: dict[str, Any], key: str) -> Any:
    """Return the value of a key of a filter or delivery attribute (`subject`, `data.target.tag`), or None if the event
    has none. Names of the envelope are matched case-insensitively, because filters also use `Subject`.
    """
    first, *rest = key.split(".")
    value = next((v for name, v in rendered.items() if name.lower() == first.lower()), None)
    for name in rest:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _event_grid(event: Event, topic: str) -> dict[str, Any]:
    return {
        "id": event.id,
        "topic": topic,
        "subject": event.subject,
        "eventType": event.event_type,
        "eventTime": render_time(event.event_time),
        "data": event.data,
        "dataVersion": event.data_version,
        "metadataVersion": "1",
    }


def _cloud(event: Event, topic: str) -> dict[str, Any]:
    envelope = {
        "id": event.id,
        "source": topic,
        "subject": event.subject,
        "type": event.event_type,
        "time": render_time(event.event_time),
        "specversion": "1.0",
    }
    if not event.subject:
        del envelope["subject"]
    data = {} if "data_base64" in event.attributes else {"data": event.data}
    return envelope | data | event.attributes
