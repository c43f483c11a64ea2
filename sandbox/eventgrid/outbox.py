"""Accepted events that are not delivered yet, each in a small file, so that they survive a restart."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from sandbox.eventgrid.event import Event

log = logging.getLogger(__name__)


class Pending(msgspec.Struct, kw_only=True):
    """An event to be delivered to one subscription.

    `due` is the time of the next attempt; `given_up` is the reason why delivery was abandoned and the event now waits
    for dead-lettering ("" while delivery is still attempted).
    """

    key: str
    subscription: str
    topic: str
    event: Event
    published: datetime
    due: datetime
    attempts: int = 0
    outcome: str = ""
    attempted: datetime | None = None
    given_up: str = ""
    given_up_at: datetime | None = None


class Outbox:
    """A folder of pending events. Files are written atomically: under a temporary name, then renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def new_key() -> str:
        """Return a key for a new pending event."""
        return uuid.uuid4().hex

    def save(self, pending: Pending) -> None:
        """Store the event until it is removed."""
        temporary = self._folder / f"{pending.key}.new"
        temporary.write_bytes(msgspec.json.encode(pending))
        temporary.replace(self._folder / f"{pending.key}.json")

    def remove(self, pending: Pending) -> None:
        """Delete an event that was delivered or dropped."""
        (self._folder / f"{pending.key}.json").unlink(missing_ok=True)

    def load(self) -> Iterator[Pending]:
        """The events that an earlier run left undelivered, oldest first."""
        found = []
        for file in self._folder.glob("*.json"):
            try:
                found.append(msgspec.json.decode(file.read_bytes(), type=Pending))
            except msgspec.DecodeError as error:
                log.warning("Skipped %s, which is not a pending event: %s", file.name, error)
        return iter(sorted(found, key=lambda pending: pending.published))
