"""The outbox job: enqueues listeners with undelivered outcomes, and settles the alarms about rejected ones."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain

from shared.domain.alarm import STALLS, AlarmKind
from shared.domain.outcome import LISTENERS, Delivery, Listener
from shared.ports import Services
from shared.records.outbox import Outbox
from shared.sweep.job import Each, JobRun, SweepJob
from shared.sweep.jobs.overdue import GRACE_SECONDS


class OutboxJob(SweepJob):
    """Enqueues the listeners of outcomes whose worker died before it sent them, or that were parked for long enough.

    It reads the outboxes of the gates, apps and alarms of the rules, and all others in which a listener has undelivered
    outcomes.
    """

    each = Each.SWEEP

    def __init__(self, services: Services) -> None:
        super().__init__(services, "outbox", "ledger", STALLS)
        self._outbox = Outbox(services)

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch: delivered outcomes leave no row to read."""
        listeners = {stored.record.name: stored.record for stored in self._services.ledger.list(Listener, LISTENERS)}
        left = [delivery for owner in self._owners(*listeners.values()) for delivery in self._deliveries(owner)]
        late = self._services.clock.now() - timedelta(seconds=GRACE_SECONDS)
        for name, owner in dict.fromkeys((one.listener, one.owner) for one in left if self._is_left(one, late)):
            if owner not in (listeners[name].owners if name in listeners else ()):
                run.note("bring up", f"the {name}, for outcomes of {owner}")
                if not run.dry_run:
                    self._outbox.enqueue(name, owner)
        refused = {one.listener: one.rejection for one in reversed(left) if one.parked_at is not None}
        self._settle(run, {AlarmKind.REFUSED}, refused.values())
        yield LISTENERS

    def _is_left(self, delivery: Delivery, late: datetime) -> bool:
        return delivery.at < late and delivery.is_due(self._services.clock.now())

    def _deliveries(self, owner: str) -> Iterator[Delivery]:
        return (stored.record for stored in self._services.ledger.list(Delivery, owner))

    def _owners(self, *listeners: Listener) -> dict[str, None]:
        policy = self._services.policy
        scopes = {"gates": policy.gates, "apps": policy.apps, "registries": policy.registries}
        records = chain(map("gate:{}".format, policy.gates), map("app:{}".format, policy.apps))
        alarms = (f"alarm:{scope}.{name}" for scope, names in scopes.items() for name in names)
        known = chain.from_iterable((*one.owners, *one.refused) for one in listeners)
        return dict.fromkeys(chain(records, alarms, (f"alarm:{STALLS}",), known))
