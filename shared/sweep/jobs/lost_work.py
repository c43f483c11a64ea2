"""The jobs for lost work: records and outcomes whose work item was lost, and check runs that no record waits for."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from itertools import chain, islice
from typing import Any

from shared.checks import check_kinds
from shared.checks.kind import Marked, Started
from shared.domain.alarm import STALLS, AlarmKind
from shared.domain.candidate import Candidate
from shared.domain.decide import Action
from shared.domain.outcome import LISTENERS, Delivery, Listener
from shared.domain.policy import Gate
from shared.domain.promotion import Promotion
from shared.domain.record import Record, Stall
from shared.domain.rollout import Rollout
from shared.ports import Services
from shared.reconcile.engine import controllers
from shared.records.alarms import stall_subject
from shared.records.outbox import Outbox
from shared.records.step import Controller
from shared.sweep.job import JobRun, SweepJob

GRACE_SECONDS = 60.0
"""How long past its plan a work item may be: a queue that is behind is no standstill."""

WOKEN_AT_ONCE = 200
"""How many records of one gate or app a sweep enqueues at most; the next sweep continues."""

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

    `owner` is a key of `_KINDS`. A stalled record is overdue when its next try is. The alarm about its stall is raised
    where it is missing.
    """

    def __init__(self, services: Services, owner: str, partition: str) -> None:
        super().__init__(services, f"overdue.{owner}.{partition}", "ledger", STALLS)
        self._owner, self._partition = owner, partition

    @cached_property
    def _controllers(self) -> dict[str, Controller[Any]]:
        return controllers(self._services)  # on first use: a sweep without open records needs none

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: open records are few, whatever else the ledger holds."""
        records = list(open_records(self._services, self._owner, self._partition))
        for record in islice(filter(self._is_overdue, records), WOKEN_AT_ONCE):
            due = record.next_step_at or record.created_at
            run.note("enqueue", f"{record.work_item.kind} {record.id}, due since {due:%H:%M:%S}")
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


class StallAlarmsJob(SweepJob):
    """Ends the alarms about stalls that no open record of any gate or app has any more."""

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


class OutboxJob(SweepJob):
    """Enqueues the listeners of outcomes whose worker died before it sent them, or that were parked for long enough.

    It reads the outboxes of the gates, apps and alarms of the rules, and all others in which a listener has undelivered
    outcomes.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services, "outbox", "ledger", STALLS)
        self._outbox = Outbox(services)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: delivered outcomes leave no row to read."""
        listeners = {stored.record.name: stored.record for stored in self._services.ledger.list(Listener, LISTENERS)}
        owners = self._owners(*listeners.values())
        left = [stored.record for owner in owners for stored in self._services.ledger.list(Delivery, owner)]
        now = self._services.clock.now()
        late = [one for one in left if one.is_due(now) and now - one.at > timedelta(seconds=GRACE_SECONDS)]
        for name, owner in dict.fromkeys((one.listener, one.owner) for one in late):
            if owner not in (listeners[name].owners if name in listeners else ()):
                run.note("enqueue", f"the {name}, for outcomes of {owner}")
                if not run.dry_run:
                    self._outbox.enqueue(name, owner)
        refused = {one.listener: one.rejection for one in reversed(left) if one.parked_at is not None}
        self._settle(run, {AlarmKind.REFUSED}, refused.values())
        yield LISTENERS

    def _owners(self, *listeners: Listener) -> dict[str, None]:
        policy = self._services.policy
        scopes = {"gates": policy.gates, "apps": policy.apps, "registries": policy.registries}
        records = chain(map("gate:{}".format, policy.gates), map("app:{}".format, policy.apps))
        alarms = (f"alarm:{scope}.{name}" for scope, names in scopes.items() for name in names)
        known = chain.from_iterable((*one.owners, *one.refused) for one in listeners)
        return dict.fromkeys(chain(records, alarms, (f"alarm:{STALLS}",), known))


class OrphansJob(SweepJob):
    """Reports the orphaned runs of one gate, while a check of one of its candidates is running.

    A crash between starting a run and recording it can leave a second run. A check run only examines, so it does no
    harm: the candidate finds its own run by the mark, and the other one is left to end.
    """

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"orphans.{gate.name}", f"tasks {gate.name}")
        self._gate, self._kinds = gate, check_kinds(services)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch. The service is not asked while no check is running, however long candidates await approval."""
        listed = self._services.ledger.open(Candidate, self._gate.name)
        checks = [check for stored in listed for check in stored.record.checks if check.verdict is None]
        for rule in self._gate.checks:
            claimed = (check.claimed_at for check in checks if check.kind == rule.kind and check.claimed_at is not None)
            if since := min(claimed, default=None):
                for one in self._kinds[rule.kind].marked(rule, since):
                    self._name_orphan(run, one)
        yield self._gate.name

    def _name_orphan(self, run: JobRun, marked: Marked) -> None:
        """Report a run of this gate that has no record: gates may share a task, and each reports its own runs."""
        if not marked.mark.startswith(f"basegate/{self._gate.name}/"):
            return
        row = marked.mark.split("/")[2]  # basegate/<gate>/<row>/<check>/<nonce>
        owner = self._services.ledger.load(Candidate, self._gate.name, row)
        runs = {Started(check.registry, check.run_id) for check in owner.record.checks} if owner else set()
        if marked.run not in runs:
            why = f"candidate {owner.record.id} has another run" if owner else f"no record asked for it ({marked.mark})"
            run.note("ignore a run", f"{marked.name}: {why}")
