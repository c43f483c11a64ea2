"""The book of alarms: each is told once when it begins and once when it is over."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass

import msgspec

from shared.domain.alarm import Alarm, AlarmKind
from shared.domain.errors import BasegateError, Conflict
from shared.ports import Notice, Stored
from shared.workflow.services import Services
from shared.workflow.sweep.tour import Tour

log = logging.getLogger(__name__)

Subject = tuple[AlarmKind, str]


@dataclass(frozen=True, slots=True)
class Every:
    """All subjects of some kinds: the alarm of one that the rules do not name any more is over too."""

    kinds: frozenset[AlarmKind]

    def __contains__(self, subject: object) -> bool:
        return isinstance(subject, tuple) and subject[0] in self.kinds


class Alarms:
    """Compares what a sweep found wrong with what was wrong before."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def settle(self, tour: Tour, scope: str, looked_at: Container[Subject], found: Sequence[Alarm]) -> None:
        """Take down what is wrong now, among the subjects that were looked at; what is not any more, is over."""
        known = {(stored.record.kind, stored.record.subject): stored for stored in self._of(scope)}
        for alarm in found:
            stored = known.get((alarm.kind, alarm.subject))
            if tour.dry_run or stored is None or not stored.record.stands:
                tour.note("alarm", alarm.words)
            if not tour.dry_run:
                self._raise(stored, alarm)
        if tour.dry_run:
            return
        wrong = {(alarm.kind, alarm.subject) for alarm in found}
        for subject, stored in known.items():
            if subject in looked_at and subject not in wrong and stored.record.stands:
                self._end(stored)

    def mended(self, tour: Tour, alarm: Alarm, done: str) -> None:
        """Take down something that was wrong and has been mended at once: begun, ended and told in one."""
        tour.note(done, alarm.words)
        if tour.dry_run:
            return
        over = msgspec.structs.replace(alarm, plan=done, ended_at=self._services.clock.now())
        stored = self._services.ledger.load(Alarm, alarm.partition, alarm.row)
        log.warning("drift mended: %s: %s", over.words, done)
        self._keep(stored, self._tell("DriftMended", over))

    def standing(self, scope: str) -> list[Alarm]:
        """The alarms of a scope that are not over."""
        return [stored.record for stored in self._of(scope) if stored.record.stands]

    def _of(self, scope: str) -> list[Stored[Alarm]]:
        return list(self._services.ledger.list(Alarm, scope.replace("/", ".")))

    def _raise(self, stored: Stored[Alarm] | None, alarm: Alarm) -> None:
        if stored is not None and stored.record.stands:
            alarm = msgspec.structs.replace(alarm, since=stored.record.since, told=stored.record.told)
            if alarm == stored.record and alarm.told:
                return
        else:
            log.warning("drift: %s; %s", alarm.words, alarm.plan)
        self._keep(stored, alarm if alarm.told else self._tell("DriftFound", alarm))

    def _end(self, stored: Stored[Alarm]) -> None:
        over = msgspec.structs.replace(stored.record, ended_at=self._services.clock.now())
        log.info("drift over: %s", over.words)
        self._keep(stored, self._tell("DriftOver", over))

    def _keep(self, stored: Stored[Alarm] | None, alarm: Alarm) -> None:
        try:
            if stored is None:
                self._services.ledger.insert(alarm)
            else:
                self._services.ledger.save(stored, alarm)
        except Conflict:  # another sweep has taken down the same
            log.info("alarm %s %s was taken down by another sweep", alarm.scope, alarm.subject)

    def _tell(self, name: str, alarm: Alarm) -> Alarm:
        """Announce it. A failure never stops a sweep: one that stands is told again by the next."""
        data = {"kind": alarm.kind.value, "words": alarm.words, "plan": alarm.plan, "since": alarm.since.isoformat()}
        try:
            self._services.announcer.announce(
                Notice(name=name, subject=f"{alarm.scope}/{alarm.subject}", page="drift", data=data)
            )
        except BasegateError as error:
            log.warning("announcement %s of %s failed: %s", name, alarm.scope, error)
            return msgspec.structs.replace(alarm, told=False)
        return msgspec.structs.replace(alarm, told=True)
