"""The overdue job: open records that stand still past their time are brought up, and the alarms of stalls settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from shared.domain.alarm import AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.decision import Action
from shared.domain.promotion import Promotion
from shared.domain.record import Record
from shared.domain.rollout import Rollout
from shared.ports.services import Services
from shared.reconcile.step import Controller
from shared.sweep.job import JobRun
from shared.workflow.alarms import STALLS, Alarms, stall_subject

GRACE_SECONDS = 60.0
"""How long past its plan a work item may be: a queue that is behind is no standstill."""

WOKEN_AT_ONCE = 200
"""How many records of one gate or app a sweep brings up at most; the next one goes on."""

_KINDS: Mapping[str, Mapping[str, type[Record]]] = {
    "gate": {"candidate": Candidate, "promotion": Promotion},
    "app": {"rollout": Rollout},
}


def open_records(services: Services, owner: str, partition: str) -> Iterator[tuple[str, Record]]:
    """The open records of a gate or an app, each with its kind."""
    for kind, record_type in _KINDS[owner].items():
        for stored in services.ledger.open(record_type, partition):
            yield kind, stored.record


class OverdueJob:
    """Brings up the open records of one gate or app whose work item was lost, with a worker or a message.

    A stalled one is overdue when its next try is. The alarm for what it stalls on is raised where that is missing.
    """

    interval_seconds = 0.0

    def __init__(
        self, services: Services, owner: str, partition: str, controllers: Mapping[str, Controller[Any]]
    ) -> None:
        self._services, self._owner, self._partition = services, owner, partition
        self._controllers, self._alarms = controllers, Alarms(services)
        self.name, self.concurrency_key = f"overdue.{owner}.{partition}", "ledger"

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: there are few open records, whatever the ledger holds besides."""
        stalled, woken = dict[str, Record](), 0
        for kind, record in open_records(self._services, self._owner, self._partition):
            if record.stall is not None and not record.settled:
                stalled.setdefault(stall_subject(record.stall), record)
            if woken < WOKEN_AT_ONCE and self._is_overdue(self._controllers[kind], record):
                woken += 1
                run.note(
                    "bring up", f"{kind} {record.id}, due since {record.next_step_at or record.created_at:%H:%M:%S}"
                )
                if not run.dry_run:
                    self._services.queue.send(record.work_item, 0)
        if stalled and not run.dry_run:
            self._raise_missing(stalled)
        yield self._partition

    def _is_overdue(self, controller: Controller[Any], record: Record) -> bool:
        late = self._services.clock.now() - (record.next_step_at or record.created_at)
        if late <= timedelta(seconds=GRACE_SECONDS):
            return False
        return controller.decide(record).action is not Action.DONE and not controller.is_resting(record)

    def _raise_missing(self, stalled: Mapping[str, Record]) -> None:
        known = {alarm.subject for alarm in self._alarms.standing(STALLS)}
        for subject, record in stalled.items():
            if subject not in known and record.stall is not None:
                self._alarms.stalled(record.stall)


class StallAlarmsJob:
    """Ends the alarms about what no open record of any gate or app stalls on any more."""

    interval_seconds = 0.0

    def __init__(self, services: Services) -> None:
        self._services, self._alarms = services, Alarms(services)
        self.name, self.concurrency_key = "stall-alarms", "ledger"

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: one query where no alarm stands."""
        standing = {alarm.subject for alarm in self._alarms.standing(STALLS)}
        over = standing - set(self._stalled_on()) if standing else standing
        if over:
            self._alarms.settle(run, STALLS, {(AlarmKind.STALLED, subject) for subject in over}, ())
        yield STALLS

    def _stalled_on(self) -> Iterator[str]:
        policy = self._services.policy
        owners = [*(("gate", name) for name in policy.gates), *(("app", name) for name in policy.apps)]
        for owner, partition in owners:
            for _, record in open_records(self._services, owner, partition):
                if record.stall is not None and not record.settled:
                    yield stall_subject(record.stall)
