"""Events that were accepted and not yet delivered: one small file each, so that they survive a restart."""

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
    """One event on its way to one subscription.

    `due` is when it is tried next; `given_up` says why it will not be delivered any more and now waits to be
    written to the dead letters ("" while it is still tried).
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
    """A folder of pending events. A file is whole or absent: it is written beside its place and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @staticmethod
    def new_key() -> str:
        """A key for one more pending event."""
        return uuid.uuid4().hex

    def save(self, pending: Pending) -> None:
        """Keep the event until it is removed."""
        beside = self._folder / f"{pending.key}.new"
        beside.write_bytes(msgspec.json.encode(pending))
        beside.replace(self._folder / f"{pending.key}.json")

    def remove(self, pending: Pending) -> None:
        """Forget an event that is delivered or dropped."""
        (self._folder / f"{pending.key}.json").unlink(missing_ok=True)

    def load(self) -> Iterator[Pending]:
        """What an earlier run left undelivered, the oldest first."""
        found = []
        for file in self._folder.glob("*.json"):
            try:
                found.append(msgspec.json.decode(file.read_bytes(), type=Pending))
            except msgspec.DecodeError as error:
                log.warning("Left %s aside, it is no pending event: %s", file.name, error)
        return iter(sorted(found, key=lambda pending: pending.published))
