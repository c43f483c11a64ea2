"""The orphans job: reports check runs that Basegate started and that no record waits for."""

from collections.abc import Iterator

from shared.checks import check_kinds
from shared.checks.kind import Marked, Started
from shared.domain.candidate import Candidate
from shared.domain.policy import Gate
from shared.ports import Services
from shared.sweep.job import Each, JobRun, SweepJob


class OrphansJob(SweepJob):
    """Reports the orphaned runs of one gate, while a check of one of its candidates is running.

    A crash between starting a run and recording it can leave a second run. A check run only examines, so it does no
    harm: the candidate finds its own run by the mark, and the other one is left to end.
    """

    each = Each.GATE

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
