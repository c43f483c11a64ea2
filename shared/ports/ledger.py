"""The durable record of everything, and the queue that brings records up again."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from shared.domain.errors import Busy, Conflict
from shared.domain.hint import Hint
from shared.domain.record import WorkItem


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


class Listed(Keyed, Protocol):
    """A record that a list by time shows."""

    @property
    def time_row(self) -> str:
        """Where it stands in the list; "": nowhere. A record that gets another one leaves a line behind."""
        ...

    def summary(self) -> dict[str, Any]:
        """How it reads there."""
        ...


R = TypeVar("R", bound=Keyed)

RACES = 5
"""How often a change is tried that others make impossible, before its work is put off."""


class Stored(msgspec.Struct, Generic[R], frozen=True):
    """A record as it was read or written, with the ETag that a later write must match."""

    record: R
    etag: str


class Claimed(Stored[R], Generic[R], frozen=True):
    """A record that this worker has just stored, with the claim to its first run: no other worker starts that."""


class Change(msgspec.Struct, frozen=True):
    """One write of a transaction: a new record (`stored` is None), or the replacement of one as it was read."""

    record: Any
    stored: Stored[Any] | None = None


class Only(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of a list are wanted: those of one state ("": any), of `since` or later, and of before `until`."""

    state: str = ""
    since: datetime | None = None
    until: datetime | None = None


EVERYTHING = Only()


class Page(msgspec.Struct, frozen=True):
    """Some records of a list as they read in lists, the newest first, and where the next page begins ("": nowhere).

    A page that is filtered may be short, even empty, and have a next one all the same.
    """

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

    def commit(self, *changes: Change) -> list[Stored[Any]]:
        """Write several records of one gate, or of one app, all or none.

        Raises:
            Conflict: one that is new is there already, or one that is replaced was changed since it was read.
        """
        ...

    def list(self, kind: type[R], partition: str, row_prefix: str = "") -> Iterator[Stored[R]]:
        """The records of a partition whose row begins with a prefix, in the order of their rows."""
        ...

    def between(self, kind: type[R], partition: str, first: str, last: str) -> Iterator[Stored[R]]:
        """The records of a partition whose rows are from `first` to `last` ("": to the end), in the order of rows."""
        ...

    def open(self, kind: type[R], partition: str) -> Iterator[Stored[R]]:
        """The records of a partition with which anything is left to do, however many are finished."""
        ...

    def page(self, kind: type[Listed], partition: str, limit: int, token: str, only: Only = EVERYTHING) -> Page:
        """A page of a partition's list, the newest first: one query, however many records there are.

        Raises:
            Malformed: the token is none of this ledger's.
        """
        ...

    def purge(self, kind: type[Keyed], partition: str, before: datetime, limit: int) -> int:
        """Remove some of a partition's records whose `at` is before a moment, 100 at most; how many they were."""
        ...


def read(ledger: Ledger, blank: R) -> R:
    """The record with the key of a blank one, which it is where there is none; nothing is written."""
    stored = ledger.load(type(blank), blank.partition, blank.row)
    return stored.record if stored else blank


def get_or_create(ledger: Ledger, blank: R) -> Stored[R]:
    """The record with the key of a blank one, which is stored where there is none."""
    stored = ledger.load(type(blank), blank.partition, blank.row) or ledger.insert(blank)
    return stored or get_or_create(ledger, blank)


def last(ledger: Ledger, kind: type[R], partition: str, row_prefix: str) -> Stored[R] | None:
    """The record whose row is the last one that begins with a prefix; None where there is none."""
    listed = list(ledger.list(kind, partition, row_prefix))
    return listed[-1] if listed else None


def update(ledger: Ledger, blank: R, change: Callable[[R], R]) -> R:
    """Change the record with the key of a blank one, as often as it takes. A change that is none writes nothing.

    Raises:
        Busy: others change it all the time.
    """
    for _ in range(RACES):
        stored = get_or_create(ledger, blank)
        changed = change(stored.record)
        try:
            return changed if changed == stored.record else ledger.save(stored, changed).record
        except Conflict:
            continue
    raise Busy(f"others change the record of {blank.row} all the time", delay_seconds=1.0)


class QueueState(msgspec.Struct, frozen=True):
    """The queue as it stands: the time at the service, None where it does not say, and how many messages were given
    up on."""

    server_time: datetime | None
    given_up: int = 0


class WorkQueue(Protocol):
    """Brings records up again, and source tags to be read."""

    def send(self, item: WorkItem, wait_seconds: float) -> None:
        """Queue a work item, hidden for a time (whole seconds, rounded up; seven days at most)."""
        ...

    def send_hint(self, hint: Hint, wait_seconds: float) -> None:
        """Queue a hint, in a queue of its own, hidden for a time."""
        ...

    def check(self) -> QueueState:
        """See whether the queues can be used, and how they stand; nothing is sent."""
        ...
