"""All operations, by what they act on. Each returns a plan of its effects first."""

import logging
from datetime import timedelta

from shared.operations import Plan, Who
from shared.operations.apps import AppOperations
from shared.operations.candidates import CandidateOperations
from shared.operations.exceptions import ExceptionOperations
from shared.operations.gates import GateOperations, VetoOperations
from shared.operations.rebuild import RebuildOperations
from shared.ports import Services
from shared.reconcile.begin import Done, Effect
from shared.sweep.sweep import Sweep, SweepResult

log = logging.getLogger(__name__)

TIME_LIMIT = timedelta(seconds=60)
"""How long a sweep on demand starts new jobs: the caller waits for it. The sweep of the timer does the rest."""


class SweepOperations:
    """A sweep on demand."""

    def __init__(self, services: Services) -> None:
        self._services, self._sweep = services, Sweep(services)

    def sweep(self, who: Who) -> Plan:
        """Compare everything with the ledger now, and repair drift as the rules say.

        The effects are those of a sweep that changes nothing.
        """
        found = self._run(dry_run=True)
        failed = tuple(Effect("cannot check", f"{job.job}: {job.problem}") for job in found.jobs if job.problem)
        effects = (*found.effects, *failed) or (Effect("nothing", "everything matches the ledger"),)

        def act() -> Done:
            log.info("sweep requested by %s: %d effects", who.actor, len(self._run(dry_run=False).effects))
            return Done("drift")

        return Plan(effects, act)

    def _run(self, *, dry_run: bool) -> SweepResult:
        return self._sweep.run(self._services.clock.now() + TIME_LIMIT, dry_run=dry_run, at_once=True)


class Operate:
    """The operations of a Basegate."""

    def __init__(self, services: Services) -> None:
        self.candidates = CandidateOperations(services)
        self.gates = GateOperations(services)
        self.vetoes = VetoOperations(services, self.gates)
        self.apps = AppOperations(services)
        self.exceptions = ExceptionOperations(services)
        self.sweeps = SweepOperations(services)
        self.ledger = RebuildOperations(services)
