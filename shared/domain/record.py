"""What every durable record has in common: a key, a history that explains it, and its next look."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self

import msgspec

_END_OF_TIME = 10**14
_HISTORY_LIMIT = 100
TEXT_LIMIT = 500
"""How many characters of a reason a line of history, or a line of a list, shows."""


class Entry(msgspec.Struct, frozen=True):
    """One line of a record's history: when, what happened, and why."""

    at: datetime
    what: str
    why: str = ""


class Look(msgspec.Struct, frozen=True):
    """A queue message: look at this record. It carries a reference only; the ledger has the rest.

    `planned_for` tells the look that a record planned (`Record.next_look_at`) from a mere hint, which has none.
    The field names avoid those that the Functions host keeps for itself (`id`, `dequeueCount`, …): a
    top-level key of that name in a message body overrides the message's metadata.
    """

    kind: str
    partition: str
    row: str
    planned_for: datetime | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate or a rollout: something that advances one step at a look until it is finished.

    `failures` counts the looks in a row that ended in a passing fault; `next_look_at` is when the queue was
    asked to show it again; `announced` whether its outcome was told, or given up telling: then `untold` says why.
    """

    created_at: datetime
    reason: str = ""
    history: tuple[Entry, ...] = ()
    failures: int = 0
    next_look_at: datetime | None = None
    announced: bool = False
    untold: str = ""

    @property
    def partition(self) -> str:
        """What it belongs to: the ledger partition."""
        raise NotImplementedError

    @property
    def row(self) -> str:
        """Which one it is: the ledger row."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """What operators call it."""
        return f"{self.partition}.{self.row}"

    @property
    def look(self) -> Look:
        """The message that brings this record up again, as a hint."""
        raise NotImplementedError

    @property
    def planned_look(self) -> Look:
        """The message that the record's plan is about: of all its looks, one has each plan."""
        return msgspec.structs.replace(self.look, planned_for=self.next_look_at)

    @property
    def finished(self) -> bool:
        """Whether its state is final."""
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do with it: it is not finished, or its end was not told."""
        return not self.finished or not self.announced

    @property
    def time_row(self) -> str:
        """Sorts the records of a partition by the time they were made, the newest first."""
        return time_row(self.created_at, self.row)

    def summary(self) -> dict[str, Any]:
        """The record as it reads in a list."""
        raise NotImplementedError

    def last_change(self) -> dict[str, Any]:
        """The last line of the history as it reads in a list, what, why, and when; and whether the outcome was told."""
        last = self.history[-1] if self.history else Entry(self.created_at, "")
        said = {"last": f"{last.what}: {last.why}".removesuffix(": ")[:TEXT_LIMIT], "changedAt": last.at.isoformat()}
        return {**said, "announced": self.announced, "untold": self.untold}

    def noting(self, now: datetime, what: str, why: str = "") -> Self:
        """The record with one more line of history; the oldest lines but the first give way at the limit."""
        entry = Entry(now, what[:TEXT_LIMIT], why[:TEXT_LIMIT])
        if self.history and (self.history[-1].what, self.history[-1].why) == (entry.what, entry.why):
            return self
        history = (*self.history, entry)
        if len(history) > _HISTORY_LIMIT:
            history = (history[0], *history[-(_HISTORY_LIMIT - 1) :])
        return msgspec.structs.replace(self, history=history)

    def planning(self, now: datetime, wait_seconds: float) -> Self:
        """The record with its next look set."""
        return msgspec.structs.replace(self, next_look_at=now + timedelta(seconds=wait_seconds))


def time_row(moment: datetime, name: str) -> str:
    """The row of a partition's list by time for what happened at a moment: the newest sorts first."""
    return f"~{_time_left(moment):014}~{name}"


def rows_before(moment: datetime) -> str:
    """Where the list by time goes on with what happened before a moment, to the millisecond."""
    return f"~{_time_left(moment) + 1:014}"


def _time_left(moment: datetime) -> int:
    """The milliseconds up to the end of time: of 14 digits, so that they sort as text for any moment there is."""
    return min(max(0, _END_OF_TIME - int(moment.timestamp() * 1000)), _END_OF_TIME - 2)


def seconds_between(earlier: datetime, later: datetime) -> float:
    """The time from one moment to another, never negative."""
    return max(0.0, (later - earlier).total_seconds())


def growing_wait(since: datetime, now: datetime) -> float:
    """How long to leave something alone that has run since `since`: a third of its age, 1 to 30 s.

    Azure Storage queues hide messages for whole seconds, so nothing shorter would help.
    """
    return min(30.0, max(1.0, seconds_between(since, now) / 3))
