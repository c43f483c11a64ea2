"""The overdue job: enqueues open records whose work item was lost, and settles the alarms about stalls."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import ClassVar

from shared.domain.alarm import STALLS, AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.decide import Action
from shared.domain.outcome import LISTENERS, Listener
from shared.domain.policy import App, Gate
from shared.domain.promotion import Promotion
from shared.domain.record import Record, Stall
from shared.domain.rollout import Rollout
from shared.ports import Services
from shared.reconcile.engine import controllers
from shared.records.alarms import stall_subject
from shared.sweep.job import Each, JobRun, SweepJob

GRACE_SECONDS = 60.0
"""How long past its plan a work item may be: a queue that is behind is no standstill."""

WOKEN_AT_ONCE = 200
"""How many records of one gate or app a sweep brings up at most; the next one goes on."""

_KINDS: Mapping[str, tuple[type[Record], ...]] = {
    "gate": (Candidate, Promotion),
    "app": (Rollout,),
    "listener": (Listener,),
}


def open_records(services: Services, owner: str, partition: str) -> Iterator[Record]:
    """The open records of a gate or an app, or of all listeners."""
    for kind in _KINDS[owner]:
        yield from (stored.record for stored in services.ledger.open(kind, partition))


def stalls(records: Iterable[Record]) -> Iterator[Stall]:
    """The stalls of the open records."""
    return (record.stall for record in records if record.stall is not None and not record.settled)


class OverdueJob(SweepJob):
    """Enqueues the open records of one gate or app, or of all listeners, whose work item was lost with a worker or a
    message.

    A stalled record is overdue when its next try is. The alarm about its stall is raised where it is missing.
    """

    owner: ClassVar[str]

    def __init__(self, services: Services, rule: Gate | App | None = None) -> None:
        self._partition = rule.name if rule else LISTENERS
        super().__init__(services, f"overdue.{self.owner}.{self._partition}", "ledger", STALLS)
        self._controllers = controllers(services)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: open records are few, whatever else the ledger holds."""
        records = list(open_records(self._services, self.owner, self._partition))
        for record in islice(filter(self._is_overdue, records), WOKEN_AT_ONCE):
            due = record.next_step_at or record.created_at
            run.note("bring up", f"{record.work_item.kind} {record.id}, due since {due:%H:%M:%S}")
            if not run.dry_run:
                self._services.queue.send(record.work_item, 0)
        if not run.dry_run:
            self._raise_missing(list(stalls(records)))
        yield self._partition

    def _is_overdue(self, record: Record) -> bool:
        controller = self._controllers[record.work_item.kind]
        late = self._services.clock.now() - (record.next_step_at or record.created_at)
        if late <= timedelta(seconds=GRACE_SECONDS):
            return False
        return controller.decide(record).action is not Action.DONE and not controller.waits_for_record(record)

    def _raise_missing(self, stalled: list[Stall]) -> None:
        known = {alarm.subject for alarm in self._alarms.active(self._scope)} if stalled else set()
        for stall in stalled:
            if (subject := stall_subject(stall)) not in known:
                known.add(subject)
                self._alarms.raise_stall(stall)


class GateOverdueJob(OverdueJob):
    """Enqueues candidates and promotions."""

    each, owner = Each.GATE, "gate"


class AppOverdueJob(OverdueJob):
    """Enqueues rollouts."""

    each, owner = Each.APP, "app"


class ListenersOverdueJob(OverdueJob):
    """Enqueues deliveries."""

    each, owner = Each.SWEEP, "listener"


class StallAlarmsJob(SweepJob):
    """Ends the alarms about stalls that no open record of any gate or app has any more."""

    each = Each.SWEEP

    def __init__(self, services: Services) -> None:
        super().__init__(services, "stall-alarms", "ledger", STALLS)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: one query where there is no alarm."""
        standing = {alarm.subject for alarm in self._alarms.active(self._scope)}
        if standing and (over := standing - self._stalled_on()):
            self._settle(run, {(AlarmKind.STALLED, subject) for subject in over})
        yield STALLS

    def _stalled_on(self) -> set[str]:
        policy = self._services.policy
        owners = [("listener", LISTENERS), *(("gate", name) for name in policy.gates)]
        owners += [("app", name) for name in policy.apps]
        records = (record for owner in owners for record in open_records(self._services, *owner))
        return set(map(stall_subject, stalls(records)))
