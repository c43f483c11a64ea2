"""Alarms: each is announced once when it begins and once when it ends."""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress

from msgspec.structs import replace

from shared.domain.alarm import STALLS, Alarm, AlarmKind, Subject
from shared.domain.errors import BasegateError, Conflict
from shared.domain.outcome import Outcome
from shared.domain.record import Stall
from shared.ports import Change, Services, Stored
from shared.records.outbox import Outbox

log = logging.getLogger(__name__)


def stall_subject(stall: Stall) -> str:
    """The subject of the alarm about a stall: the same for all records that stall on one dependency and cause."""
    return " ".join(filter(None, (stall.dependency, stall.cause)))


class Alarms:
    """Compares the problems found now with those recorded before."""

    def __init__(self, services: Services) -> None:
        self._services, self._outbox = services, Outbox(services)

    def settle(
        self, scope: str, checked: Collection[AlarmKind | Subject], found: Sequence[Alarm], *, dry_run: bool = False
    ) -> list[Alarm]:
        """Raise an alarm for each problem found, and end those that were checked and not found. Returns the new ones.

        A kind in `checked` covers all its subjects: the alarm about a subject that was removed from the rules ends too.
        A dry run records nothing, and returns all as new.
        """
        if dry_run:
            return [*found]
        known = {stored.record.about: stored for stored in self.all(scope)}
        new = [alarm for alarm in found if alarm.about not in known or not known[alarm.about].record.is_active]
        for alarm in found:
            self._raise(known.pop(alarm.about, None), alarm)
        for about, stored in known.items():
            if stored.record.is_active and (about in checked or stored.record.kind in checked):
                ended = replace(stored.record, ended_at=self._services.clock.now())
                log.info("alarm ended: %s", ended.words)
                self._save(stored, ended, "DriftResolved")
        return new

    def raise_alarm(self, alarm: Alarm) -> None:
        """Raise one alarm, if it is not active. A failure to do so is suppressed."""
        with suppress(BasegateError):
            self._raise(self._services.ledger.load(Alarm, alarm.partition, alarm.row), alarm)

    def raise_stall(self, stall: Stall) -> None:
        """Raise the alarm about a stall, one for all records that stall on the same dependency and cause."""
        remedy = f". {stall.remedy}" if stall.remedy else ""
        alarm = Alarm(
            scope=STALLS,
            kind=AlarmKind.STALLED,
            subject=stall_subject(stall),
            words=f"{stall.dependency}: {stall.step} fails: {stall.reason}",
            plan=f"it is retried until it succeeds{remedy}",
            since=stall.since,
        )
        self.raise_alarm(alarm)

    def repaired(self, alarm: Alarm, done: str) -> None:
        """Record a problem that was repaired by `done`: the alarm begins and ends, and is announced once."""
        alarm = replace(alarm, plan=done, ended_at=self._services.clock.now())
        log.warning("drift repaired: %s: %s", alarm.words, alarm.plan)
        with suppress(BasegateError):
            self._save(self._services.ledger.load(Alarm, alarm.partition, alarm.row), alarm, "DriftRepaired")

    def active(self, scope: str) -> list[Alarm]:
        """The active alarms of a scope."""
        return [stored.record for stored in self.all(scope) if stored.record.is_active]

    def all(self, scope: str) -> list[Stored[Alarm]]:
        """The alarms of a scope, but for those of a kind that this version does not know: they are left to the newer
        one that has raised them, and will work beside this one, or again.
        """
        known = list[Stored[Alarm]]()
        for stored in self._services.ledger.list(Alarm, scope.replace("/", ".")):
            if (alarm := stored.record).kind is not AlarmKind.UNKNOWN:
                known.append(stored)
            elif alarm.is_active:
                log.info("an alarm that this version does not know: %s, %s: %s", scope, alarm.subject, alarm.words)
        return known

    def _raise(self, stored: Stored[Alarm] | None, alarm: Alarm) -> None:
        if stored is None or not stored.record.is_active:
            log.warning("alarm: %s; %s", alarm.words, alarm.plan)
            self._save(stored, alarm, "DriftFound")
            return
        before = stored.record
        if (after := replace(alarm, since=before.since, last_outcome=before.last_outcome)) != before:
            self._save(stored, after)

    def _save(self, stored: Stored[Alarm] | None, alarm: Alarm, name: str = "") -> None:
        """Save an alarm together with an outcome of that name, if any, and send the outcome."""
        written, last = list[Change](), stored.record.last_outcome if stored else 0
        alarm = replace(alarm, last_outcome=last)
        if name:
            kind, since = alarm.kind.value, alarm.since.isoformat()
            data = {"kind": kind, "words": alarm.words, "plan": alarm.plan, "since": since}
            outcome = Outcome(name=name, subject=f"{alarm.scope}/{alarm.subject}", page="drift", data=data)
            alarm, written = self._outbox.put(alarm, outcome)
        with suppress(Conflict):  # another sweep has recorded it
            self._services.ledger.commit(Change(alarm, stored), *written)
            self._outbox.send_now(written)
