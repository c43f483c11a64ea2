"""A record under way, and what a controller must know of its kind."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from shared.domain.decide import Action, Decision
from shared.domain.errors import BasegateError, Busy, Conflict
from shared.domain.outcome import Delivery, Outcome
from shared.domain.record import Record
from shared.ports import RACES, Change, Claimed, Keyed, Ledger, Removal, Stored, get_or_create
from shared.records.outbox import Outbox

R = TypeVar("R", bound=Record)
K = TypeVar("K", bound=Keyed)


Following = tuple[Stored[Any], ...]
"""A record to go on with, and others of its partition, all as they were stored this very moment."""


class Step(Generic[R]):
    """A record under way: every save goes through here and carries the ETag on.

    An action that must not happen twice saves its claim first; what the action returns is saved by the engine.
    An action sets `rests` where another record brings this one up again: then nothing is planned. `followers` are the
    records that its end has set going, None where they must be looked for. `beside` are other records of the partition,
    as they were stored this very moment. `said` is what is announced about a record: it is written with the save that
    brings it about; `deliveries` are those that these steps have written.
    """

    def __init__(
        self,
        ledger: Ledger,
        outbox: Outbox,
        said: Callable[[R], Outcome | None],
        stored: Stored[R],
        *beside: Stored[Any],
    ) -> None:
        self._ledger, self._outbox, self._said = ledger, outbox, said
        self._stored, self._is_carrying, self.deliveries = stored, False, list[Delivery]()
        self._beside = {_place(other.record): other for other in beside}
        self._along: tuple[Any, Callable[[Any], Any]] | None = None
        self.decision, self.rests = Decision(Action.DONE, ""), False
        self.followers: Iterable[Following] | None = None

    @property
    def record(self) -> R:
        """The record as it was last saved, or is carried to the next save."""
        return self._stored.record

    @property
    def stored(self) -> Stored[R]:
        """The record with the ETag that the next save must match."""
        return self._stored

    @property
    def is_claimed(self) -> bool:
        """Whether this worker has made the record, claimed, and not saved it since: it may start the first run."""
        return isinstance(self._stored, Claimed)

    def save(self, record: R) -> R:
        """Save a change.

        Raises:
            Conflict: someone else has advanced the record; what was begun here is theirs to find.
        """
        record = self._numbered(record)
        if self._along is not None:
            (blank, change), self._along = self._along, None
            self.commit_with(record, blank, change)
        elif record != self._stored.record or self._is_carrying:
            self.commit(record)
        return record

    def along(self, blank: K, change: Callable[[K], K]) -> None:
        """Have the next save change another record of the partition, too; see `commit_with`."""
        self._along = (blank, change)

    def carry(self, record: R) -> None:
        """Keep a change for the next save: what it says can be learned again, and is saved before the next effect."""
        record = self._numbered(record)
        self._is_carrying |= record != self._stored.record
        self._stored = Stored(record, self._stored.etag)

    def heard(self, deliveries: Iterable[Delivery]) -> None:
        """Remove deliveries, together with what is carried."""
        removals = list(map(Removal, deliveries))
        if self._is_carrying:
            self.commit(self.record, *removals)
        elif removals:
            self._ledger.commit(*removals)

    def commit(self, record: R, *besides: Change | Removal) -> list[Stored[Any]]:
        """Save a change and other records of the same partition, all or none; returns the others as stored.

        What the change brings about is written with it, to be announced.

        Raises:
            Conflict: someone else has advanced the record, or changed one of the others.
        """
        record, written = self._outbox.put_ended(self._stored.record, self._numbered(record), self._said)
        self._stored, *others = self._ledger.commit(Change(record, self._stored), *besides, *written)
        self._is_carrying = False
        self.deliveries += [change.record for change in written]
        del others[len(others) - len(written) :]
        self._beside.update((_place(other.record), other) for other in others)
        return others

    def _numbered(self, record: R) -> R:
        """A record as an action returns it, which may have been made before the last outcome was numbered."""
        return msgspec.structs.replace(record, last_outcome=self._stored.record.last_outcome)

    def is_current(self) -> bool:
        """Whether nobody else has advanced the record: a conflict was about another one of the transaction."""
        record = self._stored.record
        current = self._ledger.load(type(record), record.partition, record.row)
        return current is not None and current.etag == self._stored.etag

    def knows(self, blank: Keyed) -> bool:
        """Whether another record of the partition was read or saved by these steps."""
        return _place(blank) in self._beside

    def beside(self, blank: K) -> Stored[K]:
        """Another record of the partition, as it was when these steps first asked for it, or last saved it."""
        if _place(blank) not in self._beside:
            self._beside[_place(blank)] = get_or_create(self._ledger, blank)
        return self._beside[_place(blank)]

    def commit_with(self, record: R, blank: K, change: Callable[[K], K]) -> K:
        """Save a change and one of another record, both or neither, as often as it takes; returns the other.

        Raises:
            Conflict: someone else has advanced the record. Busy: the other one is being changed all the time.
        """
        for _ in range(RACES):
            stored = self.beside(blank)
            changed = change(stored.record)
            try:
                self.commit(record, *([Change(changed, stored)] if changed != stored.record else []))
            except Conflict:
                del self._beside[_place(blank)]
                if not self.is_current():
                    raise
            else:
                return changed
        raise Busy(f"{type(blank).__name__} {blank.partition} is being changed by others all the time", 1.0)


class Controller(Protocol[R]):
    """How one kind of record goes from its beginning to its end."""

    kind: type[R]
    longest_wait_seconds: float = 300.0
    """How long a step that cannot be taken waits for its next try, at the most."""

    def decide(self, record: R, step: Step[R] | None = None) -> Decision:
        """The next step; `step` has what was read for the steps before."""
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
        return None

    def outcome(self, record: R) -> Outcome | None:
        """What to announce about a record as it is now; None where there is nothing to say."""
        return None

    def is_resting(self, record: R) -> bool:
        """Whether it waits for another record, which brings it up: nothing is overdue."""
        return False

    def followers(self, record: R) -> Iterable[Following]:
        """The records that waited for the end of this one."""
        return ()


def _place(record: Keyed) -> tuple[type, str]:
    return type(record), record.row
