"""The orphans job: names the task runs that Basegate started and no record waits for."""

from collections.abc import Iterator
from datetime import datetime

from shared.domain.candidate import Candidate
from shared.domain.policy import Gate, RegistryRule
from shared.ports import Services
from shared.sweep.job import JobRun, SweepJob


class OrphansJob(SweepJob):
    """Names the orphaned runs of one gate, while a check of one of its candidates is under way.

    A crash between starting a run and recording it can leave a second one. It only examines, so it does no harm; the
    candidate's own run is found by its mark, the other is left to end.
    """

    def __init__(self, services: Services, gate: Gate) -> None:
        super().__init__(services, f"orphans.{gate.name}", f"tasks {gate.name}")
        self._gate = gate

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch; without a check under way the service is not asked, however long candidates wait for a person."""
        listed = self._services.ledger.open(Candidate, self._gate.name)
        checks = (check for stored in listed for check in stored.record.checks if check.kind == "task")
        claimed = (check.claimed_at for check in checks if check.claimed_at is not None and check.verdict is None)
        if since := min(claimed, default=None):
            for rule in (check.task for check in self._gate.checks if check.task):
                self._name_orphans(run, self._services.registry_rule(rule.registry), rule.task, since)
        yield self._gate.name

    def _name_orphans(self, run: JobRun, registry: RegistryRule, task: str, since: datetime) -> None:
        """Name those of this gate: gates may share a task, and each names its own."""
        for run_id, mark in self._services.tasks.marked(registry, task, since):
            if not mark.startswith(f"basegate/{self._gate.name}/"):
                continue
            row = mark.split("/")[2]  # basegate/<gate>/<row>/<check>/<nonce>
            owner = self._services.ledger.load(Candidate, self._gate.name, row)
            runs = {(check.registry, check.run_id) for check in owner.record.checks} if owner else set()
            if (registry.login_server, run_id) not in runs:
                why = f"candidate {owner.record.id} has another run" if owner else f"no record asked for it ({mark})"
                run.note("ignore a run", f"{run_id} of {task}: {why}")
