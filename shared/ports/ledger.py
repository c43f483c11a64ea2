"""The durable record of everything, and the queue that brings records up again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from shared.domain.record import Look, Record


class Keyed(Protocol):
    """A record with its place in the ledger."""

    @property
    def partition(self) -> str:
        """What it belongs to: a gate or an app."""
        ...

    @property
    def row(self) -> str:
        """Which one it is."""
        ...


R = TypeVar("R", bound=Keyed)


class Stored(msgspec.Struct, Generic[R], frozen=True):
    """A record as it was read or written, with the ETag that a later write must match."""

    record: R
    etag: str


class Page(msgspec.Struct, frozen=True):
    """Some records of a list as they read in lists, the newest first, and where the next page begins ("": nowhere)."""

    items: list[dict[str, Any]]
    token: str = ""


class Ledger(Protocol):
    """The durable record of everything."""

    def insert(self, record: R) -> Stored[R] | None:
        """Store a new record; None where one with its key is there already."""
        ...

    def load(self, kind: type[R], partition: str, row: str) -> Stored[R] | None:
        """A record, or None."""
        ...

    def save(self, stored: Stored[R], record: R) -> Stored[R]:
        """Replace a record that nobody changed since `stored` was read.

        Raises:
            Conflict: somebody did.
        """
        ...

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""
        ...

    def page(self, kind: type[Record], partition: str, limit: int, token: str) -> Page:
        """A page of a partition's records, the newest first: one query, however many there are.

        Raises:
            Malformed: the token is none of this ledger's.
        """
        ...


class WorkQueue(Protocol):
    """Brings records up again."""

    def send(self, look: Look, wait_seconds: float) -> None:
        """Queue a look, hidden for a time (whole seconds, rounded up)."""
        ...

    def check(self) -> None:
        """See whether the queue can be used; nothing is sent."""
        ...
