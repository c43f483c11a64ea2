"""The controller of listeners: resends undelivered outcomes in order, one at a time until one is delivered."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

from msgspec.structs import replace

from shared.domain.decide import Action, Decision
from shared.domain.errors import Conflict, Rejected
from shared.domain.outcome import Delivery, Listener, deliveries_to
from shared.domain.record import TEXT_LIMIT
from shared.ports import Announcer, Change, Removal, Services, Stored
from shared.records.alarms import Alarms
from shared.records.step import Controller, Step

log = logging.getLogger(__name__)

KEEP_AT_LEAST = timedelta(days=7)
"""How long an outcome is resent, even if `BASEGATE_KEEP_DAYS` is less."""

BATCH_SIZE = 10
PAUSE_SECONDS = 1.0
"""The rate limit: this many outcomes, then this pause. A listener that was unavailable for a day is not flooded."""


class ListenerController(Controller[Listener]):
    """Delivers to a listener what it missed.

    One outcome is retried with growing waits until it is delivered; then the others follow. One that the listener
    refuses is parked and does not block the others.
    """

    kind = Listener
    longest_wait_seconds: float = 3600.0

    def __init__(self, services: Services) -> None:
        self._services, self._alarms = services, Alarms(services)

    def decide(self, record: Listener, step: Step[Listener] | None = None) -> Decision:
        """Whether anything is to be sent."""
        if record.settled:
            return Decision(Action.DONE, "all outcomes are delivered")
        return Decision(Action.SEND, f"outcomes of {len(record.owners)} gates, apps or alarms", PAUSE_SECONDS)

    def act(self, step: Step[Listener]) -> Listener:
        """Send a batch of outcomes.

        An owner without pending outcomes is removed from the record first, then read again: a worker that wrote an
        outcome before the removal saw the owner on the record, and enqueued nothing.
        """
        record, remaining = step.record, 1 if step.record.failures else BATCH_SIZE
        for owner in record.owners:
            for stored in self._pending(record.name, owner):
                if not remaining:
                    return record
                remaining -= 1
                self._send(record.name, stored)
            record = step.save(record.caught_up(owner, refusing=any(self._pending(record.name, owner, refused=True))))
            if any(self._pending(record.name, owner)):
                record = record.behind(owner)
        return record

    def dependency(self, record: Listener, decision: Decision) -> str:
        """The listener itself."""
        return f"listener {record.name}"

    def _send(self, listener: str, stored: Stored[Delivery]) -> None:
        """Send one outcome; one that is expired, or of a listener that is no longer configured, is dropped.

        Raises:
            BasegateError: it cannot be delivered now.
        """
        delivery, announcer = stored.record, self._services.listeners.get(listener)
        expired = self._services.clock.now() - delivery.at > max(self._services.keep, KEEP_AT_LEAST)
        if announcer is None or expired:
            name, owner = delivery.outcome.name, delivery.owner
            log.warning("outcome %s of %s dropped: undelivered to the %s", name, owner, listener)
            self._services.ledger.commit(Removal(delivery))
        else:
            self._announce(announcer, stored)

    def _announce(self, announcer: Announcer, stored: Stored[Delivery]) -> None:
        try:
            announcer.announce(stored.record.outcome)
        except Rejected as error:
            now, why = self._services.clock.now(), str(error)[:TEXT_LIMIT]
            refused = replace(stored.record, parked_at=now, problem=why)
            with suppress(Conflict):  # another worker delivered it
                self._services.ledger.commit(Change(refused, stored))
            self._alarms.raise_alarm(refused.rejection)
        else:
            self._services.unavailable.pop(stored.record.listener, None)
            self._services.ledger.commit(Removal(stored.record))

    def _pending(self, listener: str, owner: str, *, refused: bool = False) -> Iterator[Stored[Delivery]]:
        """The deliveries due to a listener, in order, or those that it refused recently."""
        now, rows = self._services.clock.now(), self._services.ledger.list(Delivery, owner, deliveries_to(listener))
        return (stored for stored in rows if stored.record.is_due(now) is not refused)
