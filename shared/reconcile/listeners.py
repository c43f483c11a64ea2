"""The controller of listeners: what one has not heard is sent again, in order, one at a time and then at a pace."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import msgspec

from shared.domain.decide import Action, Decision
from shared.domain.errors import Conflict, Rejected
from shared.domain.outcome import Delivery, Listener, deliveries_to
from shared.domain.record import TEXT_LIMIT
from shared.ports import Announcer, Change, Removal, Services, Stored
from shared.records.alarms import Alarms
from shared.records.step import Controller, Step

log = logging.getLogger(__name__)

KEPT = timedelta(days=7)
"""For how long an outcome is sent again at the least, however little else is kept."""

SENT_AT_ONCE = 10
PAUSE_SECONDS = 1.0
"""So many outcomes are sent at once, and after them none for so long: whoever was away for a day is not flooded."""


class ListenerController(Controller[Listener]):
    """How a listener hears what it was away for.

    One outcome is tried until it is heard, with growing waits; then the others follow. What the listener refuses is
    parked, and keeps back nothing else.
    """

    kind = Listener
    longest_wait_seconds: float = 3600.0

    def __init__(self, services: Services) -> None:
        self._services, self._alarms = services, Alarms(services)

    def decide(self, record: Listener, step: Step[Listener] | None = None) -> Decision:
        """Whether anything is to be sent."""
        if record.settled:
            return Decision(Action.DONE, "it has heard everything")
        return Decision(Action.SEND, f"outcomes of {len(record.owners)} gates, apps or alarms", PAUSE_SECONDS)

    def act(self, step: Step[Listener]) -> Listener:
        """Send some outcomes.

        An owner of which nothing is left is taken off the record first, and asked again after that: whoever wrote an
        outcome before has seen it there, and brings up nothing.
        """
        record, left = step.record, 1 if step.record.failures else SENT_AT_ONCE
        for owner in record.owners:
            for stored in self._left(record.name, owner):
                if not left:
                    return record
                left -= 1
                self._send(record.name, stored)
            record = step.save(record.caught_up(owner, refusing=any(self._left(record.name, owner, refused=True))))
            if any(self._left(record.name, owner)):
                record = record.behind(owner)
        return record

    def dependency(self, record: Listener, decision: Decision) -> str:
        """The listener itself."""
        return f"listener {record.name}"

    def _send(self, listener: str, stored: Stored[Delivery]) -> None:
        """Send one outcome. Nobody hears one that is too old, or that is for a former listener.

        Raises:
            BasegateError: the listener does not hear it now.
        """
        delivery, announcer = stored.record, self._services.listeners.get(listener)
        expired = self._services.clock.now() - delivery.at > max(self._services.keep, KEPT)
        if announcer is None or expired:
            log.warning("outcome %s of %s was never heard by the %s", delivery.outcome.name, delivery.owner, listener)
            self._services.ledger.commit(Removal(delivery))
        else:
            self._announce(announcer, stored)

    def _announce(self, announcer: Announcer, stored: Stored[Delivery]) -> None:
        try:
            announcer.announce(stored.record.outcome)
        except Rejected as refusal:
            now, why = self._services.clock.now(), str(refusal)[:TEXT_LIMIT]
            refused = msgspec.structs.replace(stored.record, parked_at=now, problem=why)
            with suppress(Conflict):  # it was heard from another worker
                self._services.ledger.commit(Change(refused, stored))
            self._alarms.raise_alarm(refused.refusal)
        else:
            self._services.unavailable.pop(stored.record.listener, None)
            self._services.ledger.commit(Removal(stored.record))

    def _left(self, listener: str, owner: str, *, refused: bool = False) -> Iterator[Stored[Delivery]]:
        """What is to be sent to a listener, in order, or else what it has refused lately."""
        now, rows = self._services.clock.now(), self._services.ledger.list(Delivery, owner, deliveries_to(listener))
        return (stored for stored in rows if stored.record.is_due(now) is not refused)
