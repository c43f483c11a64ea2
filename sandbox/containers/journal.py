"""The events of a container, as shown in `instanceView.events`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

_MOST_EVENTS = 50

EventName = Literal["Pulling", "Pulled", "Created", "Started", "Killing", "Failed", "BackOff"]


@dataclass(slots=True)
class _Event:
    name: EventName
    message: str
    first: str
    last: str
    count: int = 1


class Journal:
    """Events in order of first occurrence; a repeated event only increments its count."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], _Event] = {}

    def note(self, name: EventName, message: str) -> None:
        """Record an event. The oldest is removed if there are more than fifty."""
        moment = written(datetime.now(UTC))
        known = self._events.get((name, message))
        if known:
            known.count, known.last = known.count + 1, moment
            return
        self._events[name, message] = _Event(name, message, moment, moment)
        if len(self._events) > _MOST_EVENTS:
            del self._events[next(iter(self._events))]

    def view(self) -> list[dict[str, Any]]:
        """The events as Azure shows them."""
        return [
            {
                "name": event.name,
                "message": event.message,
                "type": "Warning" if event.name in ("Failed", "BackOff") else "Normal",
                "count": event.count,
                "firstTimestamp": event.first,
                "lastTimestamp": event.last,
            }
            for event in self._events.values()
        ]


def written(moment: datetime | None) -> str:
    """Format a time the way Azure does; "" for None."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else ""
