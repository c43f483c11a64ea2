"""The overdue job: open records that stand still past their time are brought up, and the alarms of stalls settled."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from shared.domain.alarm import AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.decide import Action
from shared.domain.promotion import Promotion
from shared.domain.record import Record
from shared.domain.rollout import Rollout
from shared.ports import Services
from shared.reconcile.step import Controller
from shared.sweep.job import AlarmingJob, JobRun
from shared.workflow.alarms import STALLS, stall_subject

GRACE_SECONDS = 60.0
"""How long past its plan a work item may be: a queue that is behind is no standstill."""

WOKEN_AT_ONCE = 200
"""How many records of one gate or app a sweep brings up at most; the next one goes on."""

_KINDS: Mapping[str, tuple[type[Record], ...]] = {"gate": (Candidate, Promotion), "app": (Rollout,)}


def open_records(services: Services, owner: str, partition: str) -> Iterator[Record]:
    """The open records of a gate or an app."""
    for kind in _KINDS[owner]:
        yield from (stored.record for stored in services.ledger.open(kind, partition))


class OverdueJob(AlarmingJob):
    """Brings up the open records of one gate or app whose work item was lost, with a worker or a message.

    A stalled one is overdue when its next try is. The alarm for what it stalls on is raised where that is missing.
    """

    def __init__(
        self, services: Services, owner: str, partition: str, controllers: Mapping[str, Controller[Any]]
    ) -> None:
        super().__init__(services, f"overdue.{owner}.{partition}", "ledger", STALLS)
        self._owner, self._partition, self._controllers = owner, partition, controllers

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: there are few open records, whatever the ledger holds besides."""
        stalled, woken = dict[str, Record](), 0
        for record in open_records(self._services, self._owner, self._partition):
            if record.stall is not None and not record.settled:
                stalled.setdefault(stall_subject(record.stall), record)
            if woken < WOKEN_AT_ONCE and self._is_overdue(record):
                woken += 1
                due = record.next_step_at or record.created_at
                run.note("bring up", f"{record.work_item.kind} {record.id}, due since {due:%H:%M:%S}")
                if not run.dry_run:
                    self._services.queue.send(record.work_item, 0)
        if stalled and not run.dry_run:
            self._raise_missing(stalled)
        yield self._partition

    def _is_overdue(self, record: Record) -> bool:
        controller = self._controllers[record.work_item.kind]
        late = self._services.clock.now() - (record.next_step_at or record.created_at)
        if late <= timedelta(seconds=GRACE_SECONDS):
            return False
        return controller.decide(record).action is not Action.DONE and not controller.is_resting(record)

    def _raise_missing(self, stalled: Mapping[str, Record]) -> None:
        known = {alarm.subject for alarm in self._alarms.standing(self._scope)}
        for subject, record in stalled.items():
            if subject not in known and record.stall is not None:
                self._alarms.stalled(record.stall)


class StallAlarmsJob(AlarmingJob):
    """Ends the alarms about what no open record of any gate or app stalls on any more."""

    def __init__(self, services: Services) -> None:
        super().__init__(services, "stall-alarms", "ledger", STALLS)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: one query where no alarm stands."""
        standing = {alarm.subject for alarm in self._alarms.standing(self._scope)}
        if standing and (over := standing - set(self._stalled_on())):
            self._settle(run, {(AlarmKind.STALLED, subject) for subject in over})
        yield STALLS

    def _stalled_on(self) -> Iterator[str]:
        policy = self._services.policy
        for owner, partitions in (("gate", policy.gates), ("app", policy.apps)):
            for partition in partitions:
                for record in open_records(self._services, owner, partition):
                    if record.stall is not None and not record.settled:
                        yield stall_subject(record.stall)
