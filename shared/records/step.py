"""A record in progress, and the protocol of its controller."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from msgspec.structs import replace

from shared.domain.decide import Action, Decision
from shared.domain.errors import BasegateError, Busy, Conflict
from shared.domain.outcome import Delivery, Outcome
from shared.domain.record import Record, Row
from shared.ports import SAVE_TRIES, Change, Claimed, Removal, Services, Stored, get_or_create
from shared.records.outbox import Outbox

R = TypeVar("R", bound=Record)
K = TypeVar("K", bound=Row)

Following = tuple[Stored[Any], ...]
"""A record to reconcile, and others of its partition, all as just stored."""


class Controller(Protocol[R]):
    """The controller of one kind of record."""

    kind: type[R]
    longest_wait_seconds: float = 300.0
    """The longest wait before the next try of a step that cannot be taken."""

    def decide(self, record: R, step: "Step[R] | None" = None) -> Decision:
        """The next step; `step` has what earlier steps have read."""

    def act(self, step: "Step[R]") -> R:
        """Take the step that was decided, and return the record to save.

        Raises:
            Busy: another worker has what the step needs, or it may still come; waiting is not failing.
            BasegateError: the step cannot be taken now.
        """

    def dependency(self, record: R, decision: Decision) -> str:
        """What a step needs, `registry base` or `task base/base-import-node`: there is one alarm for each."""

    def ended_by(self, record: R, decision: Decision, error: BasegateError) -> R | None:
        """The record after an error that ends it, or None: then it is stalled, and the step is tried again."""
        return None

    def outcome(self, record: R) -> Outcome | None:
        """The outcome to announce about a record in its current state, or None."""
        return None

    def waits_for_record(self, record: R) -> bool:
        """Whether it waits for another record, which will enqueue it: then it is not overdue."""
        return False

    def followers(self, record: R) -> Iterable[Following]:
        """The records that have waited for the end of this one."""
        return ()


class Step(Generic[R]):
    """A record in progress: every save goes through here and keeps the ETag current.

    An action that must not happen twice saves its claim first; the engine saves the record that the action returns.
    An action sets `waits_for_record` if another record will enqueue this one: then no next step is planned. `followers`
    are the records that its end has released, None if they must be queried. `beside` are other records of the
    partition, as just stored. `deliveries` are those of the outcomes that these steps have caused.
    """

    def __init__(self, services: Services, controller: Controller[R], stored: Stored[R], *beside: Stored[Any]) -> None:
        self._ledger, self._outbox, self.controller = services.ledger, Outbox(services), controller
        self._stored, self._is_carrying, self.deliveries = stored, False, list[Delivery]()
        self._beside = {_place(other.record): other for other in beside}
        self._also: tuple[Any, Callable[[Any], Any]] | None = None
        self.decision, self.waits_for_record = Decision(Action.DONE, ""), False
        self.followers: Iterable[Following] | None = None

    @property
    def record(self) -> R:
        """The record as last saved, or as carried to the next save."""
        return self._stored.record

    @property
    def is_claimed(self) -> bool:
        """Whether this worker created the record with its claim, not saved since: it may start the first run."""
        return isinstance(self._stored, Claimed)

    def save(self, record: R) -> R:
        """Save a change.

        Raises:
            Conflict: another worker has advanced the record, and will find what was begun here.
        """
        record = self._numbered(record)
        if self._also is not None:
            (blank, change), self._also = self._also, None
            self.commit_with(record, blank, change)
        elif record != self.record or self._is_carrying:
            self.commit(record)
        return record

    def also_change(self, blank: K, change: Callable[[K], K]) -> None:
        """Have the next save change another record of the partition too; see `commit_with`."""
        self._also = (blank, change)

    def carry(self, record: R) -> None:
        """Keep a change for the next save: it can be determined again, and is saved before the next effect."""
        record = self._numbered(record)
        self._is_carrying |= record != self.record
        self._stored = Stored(record, self._stored.etag)

    def remove_delivered(self, deliveries: Iterable[Delivery]) -> None:
        """Remove deliveries that succeeded, together with saving what is carried."""
        removals = list(map(Removal, deliveries))
        if self._is_carrying:
            self.commit(self.record, *removals)
        elif removals:
            self._ledger.commit(*removals)

    def commit(self, record: R, *besides: Change | Removal) -> list[Stored[Any]]:
        """Save a change and other records of the same partition, all or none; returns the others as stored.

        The outcome that the change causes is written with it.

        Raises:
            Conflict: another worker has advanced the record, or changed one of the others.
        """
        record, written = self._outbox.put_for_change(self.record, self._numbered(record), self.controller.outcome)
        self._stored, *others = self._ledger.commit(Change(record, self._stored), *besides, *written)
        self._is_carrying = False
        self.deliveries += [change.record for change in written]
        del others[len(others) - len(written) :]
        self._beside.update((_place(other.record), other) for other in others)
        return others

    def _numbered(self, record: R) -> R:
        """The record with the current outcome number: an action may return one from before the last outcome."""
        return replace(record, last_outcome=self.record.last_outcome)

    def is_current(self) -> bool:
        """Whether no other worker has advanced the record: then a conflict was about another one of the transaction."""
        record = self.record
        current = self._ledger.load(type(record), record.partition, record.row)
        return current is not None and current.etag == self._stored.etag

    def knows(self, blank: Row) -> bool:
        """Whether these steps have read or saved another record of the partition."""
        return _place(blank) in self._beside

    def beside(self, blank: K) -> Stored[K]:
        """Another record of the partition, as these steps first read it, or last saved it."""
        if _place(blank) not in self._beside:
            self._beside[_place(blank)] = get_or_create(self._ledger, blank)
        return self._beside[_place(blank)]

    def commit_with(self, record: R, blank: K, change: Callable[[K], K]) -> K:
        """Save a change together with one of another record, retrying conflicts about that; returns the other.

        Raises:
            Conflict: another worker has advanced the record. Busy: there were too many conflicts about the other one.
        """
        for _ in range(SAVE_TRIES):
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
        raise Busy(f"too many conflicts on {type(blank).__name__} {blank.partition}", 1.0)


def _place(record: Row) -> tuple[type, str]:
    return type(record), record.row
