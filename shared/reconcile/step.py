"""A record under way, and what a controller must know of its kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

from shared.domain.decision import Action, Decision
from shared.domain.errors import BasegateError
from shared.domain.record import Record, WorkItem
from shared.ports import Change, Ledger, Outcome, Stored

R = TypeVar("R", bound=Record)


class Step(Generic[R]):
    """A record under way: every save goes through here and carries the ETag on.

    An action that must not happen twice saves its claim first; what the action returns is saved by the engine.
    An action sets `rests` where another record brings this one up again: then nothing is planned.
    """

    def __init__(self, ledger: Ledger, stored: Stored[R]) -> None:
        self._ledger, self._stored = ledger, stored
        self.decision, self.rests = Decision(Action.DONE, ""), False

    @property
    def record(self) -> R:
        """The record as it was last saved."""
        return self._stored.record

    @property
    def stored(self) -> Stored[R]:
        """The record with the ETag that the next save must match."""
        return self._stored

    def save(self, record: R) -> R:
        """Save a change.

        Raises:
            Conflict: someone else has advanced the record; what was begun here is theirs to find.
        """
        if record != self._stored.record:
            self._stored = self._ledger.save(self._stored, record)
        return record

    def commit(self, record: R, *besides: Change) -> list[Stored[Any]]:
        """Save a change and other records of the same partition, all or none; returns the others as stored.

        Raises:
            Conflict: someone else has advanced the record, or changed one of the others.
        """
        self._stored, *others = self._ledger.commit(Change(record, self._stored), *besides)
        return others


class Controller(Protocol[R]):
    """How one kind of record goes from its beginning to its end."""

    def load(self, partition: str, row: str) -> Stored[R] | None:
        """The record of a work item."""
        ...

    def decide(self, record: R) -> Decision:
        """The next step."""
        ...

    def act(self, step: Step[R]) -> R:
        """Take the step that was decided, and return the record to save.

        Raises:
            Busy: it is someone else's turn; waiting is not failing.
            BasegateError: the step cannot be taken now.
        """
        ...

    def dependency(self, record: R, decision: Decision) -> str:
        """What a step is asked of, `registry base` or `task base/base-import-node`: what stalls it is told once."""
        ...

    def refused(self, record: R, decision: Decision, error: BasegateError) -> R | None:
        """The record after an error that is its end, or None: then it is stalled, and the step is tried again."""
        ...

    def outcome(self, record: R) -> Outcome | None:
        """What to announce about a settled record; None where there is nothing to say."""
        ...

    def is_resting(self, record: R) -> bool:
        """Whether it waits for another record, which brings it up: nothing is overdue."""
        return False

    def followers(self, record: R) -> Iterable[WorkItem]:
        """The records that waited for the end of this one."""
        return ()
