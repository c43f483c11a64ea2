"""The outbox: outcomes are written with what causes them, sent right after that, and again until they are heard."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from shared.domain.errors import BasegateError, Conflict, Rejected, Retry
from shared.domain.outcome import C, Delivery, Listener, Outcome, deliveries_of, deliveries_to, owner_of
from shared.ports import SAVE_TRIES, Change, Removal, Services, get_or_create

log = logging.getLogger(__name__)

_AWAY_SECONDS = 60.0
"""How long this process leaves a listener that did not answer to its own work item, which asks it one at a time."""

_FIRST_WAIT_SECONDS = 5.0


class Outbox:
    """Writes outcomes, and sends those that were written just now."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def put(self, cause: C, outcome: Outcome) -> tuple[C, list[Change]]:
        """The record that causes an outcome, numbered, and what is to be written together with it."""
        now, listeners = self._services.clock.now(), self._services.listeners
        if not listeners:
            log.info("outcome %s of %s: nobody listens", outcome.name, outcome.subject)
            return cause, []
        cause, made = deliveries_of(cause, outcome, listeners, now)
        return cause, [Change(one) for one in made]

    def put_for_change(self, before: Any, after: C, said: Callable[[C], Outcome | None]) -> tuple[C, list[Change]]:
        """As `put`, for what a record's own change brings about: what is said of it now, and was not before."""
        outcome, earlier = said(after), said(before)
        if outcome is None or (earlier is not None and earlier.name == outcome.name):
            return after, []
        return self.put(after, outcome)

    def send(self, deliveries: Iterable[Delivery]) -> list[Delivery]:
        """Send what was written just now; returns what was heard, which is to be removed.

        What cannot be sent now, or must wait for an earlier outcome of its subject, is left to its listener's own work
        item.
        """
        return [one for one in deliveries if self._is_heard(one)]

    def send_now(self, written: Sequence[Change]) -> None:
        """Send what was written just now, and remove what is heard."""
        if heard := self.send([change.record for change in written]):
            self._services.ledger.commit(*map(Removal, heard))

    def undelivered(self, cause: Any, subject: str) -> Iterator[Delivery]:
        """The deliveries of a record that are left."""
        for listener in self._services.listeners:
            rows = self._services.ledger.list(Delivery, owner_of(cause), deliveries_to(listener, subject))
            yield from (stored.record for stored in rows if stored.record.parked_at is None)

    def enqueue(self, listener: str, owner: str, wait_seconds: float = 0.0) -> None:
        """Have a listener hear what is left of an owner; nothing is done where that is planned.

        Its work item goes through the queue, once however many outcomes wait.
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
        log.warning("others change the record of listener %s all the time: the sweep brings it up", listener)

    def _is_heard(self, delivery: Delivery) -> bool:
        name, wait = delivery.listener, _FIRST_WAIT_SECONDS
        announcer, now = self._services.listeners.get(name), self._services.clock.now()
        if announcer is not None and self._services.unavailable.get(name, now) <= now and not self._follows(delivery):
            try:
                announcer.announce(delivery.outcome)
            except Rejected:
                wait = 0.0  # its work item parks it
            except BasegateError as error:
                log.warning("%s of %s is not heard by the %s: %s", delivery.outcome.name, delivery.owner, name, error)
                self._services.unavailable[name] = now + timedelta(seconds=_AWAY_SECONDS)
                wait = max(wait, error.delay_seconds) if isinstance(error, Retry) else wait
            else:
                return True
        self.enqueue(name, delivery.owner, wait)
        return False

    def _follows(self, delivery: Delivery) -> bool:
        """Whether an earlier outcome of the same subject is yet to be heard by the same listener."""
        if delivery.first:
            return False
        first = deliveries_to(delivery.listener, delivery.outcome.subject)
        earlier = self._services.ledger.between(Delivery, delivery.owner, first, delivery.row)
        return any(one.record.row != delivery.row and one.record.parked_at is None for one in earlier)
