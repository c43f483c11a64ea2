"""The orphans job: names the task runs that Basegate started and no record waits for."""

from collections.abc import Iterator
from datetime import datetime

from shared.domain.candidate import Candidate
from shared.domain.policy import Gate, RegistryRule, TaskCheck
from shared.ports import Services
from shared.sweep.job import JobRun

_TASK = str(TaskCheck.__struct_config__.tag)


class OrphansJob:
    """Names the orphaned runs of one gate, while a check of one of its candidates is under way.

    A crash between starting a run and recording it can leave a second one. It only examines, so it does no harm; the
    candidate's own run is found by its mark, the other is left to end.
    """

    interval_seconds = 0.0

    def __init__(self, services: Services, gate: Gate) -> None:
        self._services, self._gate = services, gate
        self.name, self.concurrency_key = f"orphans.{gate.name}", f"tasks {gate.name}"

    def batches(self, run: JobRun) -> Iterator[str]:
        """One batch; without a check under way the service is not asked, however long candidates wait for a person."""
        since = min(self._under_way(), default=None)
        for rule in self._gate.checks if since else ():
            if isinstance(rule, TaskCheck) and since:
                self._name_orphans(run, self._services.registry_rule(rule.registry), rule.task, since)
        yield self._gate.name

    def _name_orphans(self, run: JobRun, registry: RegistryRule, task: str, since: datetime) -> None:
        """Name those of this gate: gates may share a task, and each names its own."""
        for run_id, mark in self._services.tasks.marked(registry, task, since):
            if not mark.startswith(f"basegate/{self._gate.name}/"):
                continue
            owner = self._owner(mark)
            if owner is None:
                run.note("ignore a run", f"{run_id} of {task}: no record asked for it ({mark})")
            elif (registry.login_server, run_id) not in {(check.registry, check.run_id) for check in owner.checks}:
                run.note("ignore a run", f"{run_id} of {task}: candidate {owner.id} has another run")

    def _under_way(self) -> Iterator[datetime]:
        """When each task check was claimed that has no verdict yet."""
        for stored in self._services.ledger.open(Candidate, self._gate.name):
            for check in stored.record.checks:
                if check.kind == _TASK and check.claimed_at is not None and check.verdict is None:
                    yield check.claimed_at

    def _owner(self, mark: str) -> Candidate | None:
        """The candidate that a mark names, `basegate/<gate>/<row>/<check>/<nonce>`."""
        row = mark.split("/")[2]
        stored = self._services.ledger.load(Candidate, self._gate.name, row)
        return stored.record if stored else None
