"""The outbox: outcomes are written with what causes them, sent right after that, and again until delivered."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from shared.domain.errors import BasegateError, Conflict, Rejected, Retry
from shared.domain.outcome import C, Delivery, Listener, Outcome, deliveries_of, deliveries_to, owner_of
from shared.ports import SAVE_TRIES, Change, Removal, Services, get_or_create

log = logging.getLogger(__name__)

_UNAVAILABLE_SECONDS = 60.0
"""How long this process leaves an unavailable listener to its own work item, which sends one outcome at a time."""

_FIRST_WAIT_SECONDS = 5.0


class Outbox:
    """Writes outcomes, and sends those just written."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def put(self, cause: C, outcome: Outcome) -> tuple[C, list[Change]]:
        """The record that causes an outcome, with its number, and the changes to write together with it."""
        now, listeners = self._services.clock.now(), self._services.listeners
        if not listeners:
            log.info("outcome %s of %s: there is no listener", outcome.name, outcome.subject)
            return cause, []
        cause, made = deliveries_of(cause, outcome, listeners, now)
        return cause, [Change(one) for one in made]

    def put_for_change(self, before: Any, after: C, outcome: Callable[[C], Outcome | None]) -> tuple[C, list[Change]]:
        """As `put`, for the outcome that the change of a record causes: none if it had the same outcome before."""
        current, earlier = outcome(after), outcome(before)
        if current is None or (earlier is not None and earlier.name == current.name):
            return after, []
        return self.put(after, current)

    def send(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Send deliveries that were just written; returns those that succeeded, for the caller to remove.

        A delivery that fails, or must wait for an earlier outcome of its subject, is left to its listener's work item.
        """
        return [one for one in deliveries if self._deliver(one)]

    def send_now(self, written: Sequence[Change]) -> None:
        """Send the deliveries just written, and remove those that succeeded."""
        if sent := self.send([change.record for change in written]):
            self._services.ledger.commit(*map(Removal, sent))

    def undelivered(self, cause: Any, subject: str) -> Iterator[Delivery]:
        """The deliveries of a record that are still to be sent."""
        for listener in self._services.listeners:
            rows = self._services.ledger.list(Delivery, owner_of(cause), deliveries_to(listener, subject))
            yield from (stored.record for stored in rows if stored.record.parked_at is None)

    def enqueue(self, listener: str, owner: str, wait_seconds: float = 0.0) -> None:
        """Enqueue the work item of a listener that has outcomes of an owner to receive, unless it is planned already.

        There is one work item, however many outcomes wait.
        """
        ledger, queue, now = self._services.ledger, self._services.queue, self._services.clock.now()
        for _ in range(SAVE_TRIES):
            stored = get_or_create(ledger, Listener(name=listener, created_at=now))
            before = stored.record
            if not before.settled and owner in before.owners:
                return
            after = before.behind(owner)
            if before.settled:
                after = after.planning(now, wait_seconds)
            try:
                ledger.save(stored, after)
            except Conflict:
                continue
            if before.settled:
                queue.send(after.planned_work_item, wait_seconds)
            return
        log.warning("too many conflicts on the record of listener %s: the sweep will enqueue it", listener)

    def _deliver(self, delivery: Delivery) -> bool:
        """Send a delivery now, or leave it to its listener's work item; whether it succeeded."""
        name, wait = delivery.listener, _FIRST_WAIT_SECONDS
        announcer, now = self._services.listeners.get(name), self._services.clock.now()
        if announcer is not None and self._services.unavailable.get(name, now) <= now and not self._follows(delivery):
            try:
                announcer.announce(delivery.outcome)
            except Rejected:
                wait = 0.0  # the work item of the listener parks it
            except BasegateError as error:
                log.warning("%s of %s not delivered to the %s: %s", delivery.outcome.name, delivery.owner, name, error)
                self._services.unavailable[name] = now + timedelta(seconds=_UNAVAILABLE_SECONDS)
                wait = max(wait, error.delay_seconds) if isinstance(error, Retry) else wait
            else:
                return True
        self.enqueue(name, delivery.owner, wait)
        return False

    def _follows(self, delivery: Delivery) -> bool:
        """Whether an earlier outcome of the same subject is still to be delivered to the same listener."""
        if delivery.first:
            return False
        first = deliveries_to(delivery.listener, delivery.outcome.subject)
        earlier = self._services.ledger.between(Delivery, delivery.owner, first, delivery.row)
        return any(one.record.row != delivery.row and one.record.parked_at is None for one in earlier)
