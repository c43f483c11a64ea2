"""One look's hold on a record."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from shared.domain.decision import Decision
from shared.domain.record import Record
from shared.ports import Ledger, Notice, Stored

R = TypeVar("R", bound=Record)


class Step(Generic[R]):
    """A record under way: every save goes through here and carries the ETag on.

    An action that must not happen twice saves its claim first; the outcome is saved by whoever took the step.
    """

    def __init__(self, ledger: Ledger, stored: Stored[R], decision: Decision) -> None:
        self._ledger, self._stored, self.decision = ledger, stored, decision

    @property
    def record(self) -> R:
        """The record as it was last saved."""
        return self._stored.record

    def save(self, record: R) -> R:
        """Save a change.

        Raises:
            Conflict: someone else has advanced the record; what was begun here is theirs to find.
        """
        self._stored = self._ledger.save(self._stored, record)
        return record


class Course(Protocol[R]):
    """How one kind of record goes from its beginning to its end."""

    def load(self, partition: str, row: str) -> Stored[R] | None:
        """The record of a look."""
        ...

    def decide(self, record: R) -> Decision:
        """The next step."""
        ...

    def act(self, step: Step[R]) -> R:
        """Take the step that was decided, and return the record to save."""
        ...

    def fail(self, record: R, reason: str) -> R:
        """The record after a step that cannot be taken, ever."""
        ...

    def notice(self, record: R) -> Notice:
        """What to tell about a finished record."""
        ...
