"""The check that an ACR Task makes: it gets the image by digest, and its exit code decides."""

from datetime import datetime

from shared.checks.evidence import gather_evidence, telling_line
from shared.checks.kind import Finding, Started
from shared.domain.candidate import Candidate, CheckRecord, Verdict
from shared.domain.image import short
from shared.domain.policy import TaskCheck
from shared.domain.record import seconds_between
from shared.ports import RunStatus, Services


class TaskCheckKind:
    """Runs the rule's task with the value `IMAGE` (the candidate by digest) and `TAG`, and reads the run's end.

    `succeeded` passes, `failed` fails; a run that was canceled, timed out, broke or is gone says nothing about the
    image: `unknown`, which never promotes.
    """

    waits_for_person = False

    def __init__(self, services: Services) -> None:
        self._services = services

    def start(self, candidate: Candidate, rule: TaskCheck, mark: str) -> Started:
        """Start the run."""
        values = {**rule.values, "IMAGE": str(candidate.image), "TAG": candidate.tag}
        registry = self._services.registry_rule(rule.registry)
        return Started(registry.login_server, self._services.tasks.start(registry, rule.task, values, mark))

    def adopt(self, candidate: Candidate, rule: TaskCheck, mark: str, since: datetime) -> Started | None:
        """Find the run that carries the mark."""
        registry = self._services.registry_rule(rule.registry)
        run_id = self._services.tasks.find(registry, rule.task, mark, since)
        return Started(registry.login_server, run_id) if run_id else None

    def watch(self, candidate: Candidate, check: CheckRecord, rule: TaskCheck) -> Finding | None:
        """Read the run, and its log once it has ended."""
        registry = self._services.registry_rule(rule.registry)
        subject = f"run {check.run_id} of task {rule.task}"
        run = self._services.tasks.get(registry, check.run_id)
        if run is None:
            return Finding(verdict=Verdict.UNKNOWN, reason=f"{subject} is gone")
        if run.status is RunStatus.RUNNING:
            return self._timed_out(check, rule)
        name = f"{candidate.gate}/{short(candidate.digest)}/{registry.login_server}/{check.run_id}.log"
        evidence = gather_evidence(self._services.tasks, self._services.archive, registry, run, name)
        verdict, reason = {
            RunStatus.SUCCEEDED: (Verdict.PASSED, f"{subject} succeeded"),
            RunStatus.FAILED: (Verdict.FAILED, f"{subject} failed: {telling_line(evidence)}"),
        }.get(run.status, (Verdict.UNKNOWN, f"{subject} ended without a verdict: {run.detail}"))
        return Finding(
            verdict=verdict,
            reason=reason,
            evidence=evidence,
            started_at=run.started_at,
            finished_at=run.finished_at,
        )

    def cancel(self, check: CheckRecord, rule: TaskCheck) -> None:
        """Cancel the run."""
        self._services.tasks.cancel(self._services.registry_rule(rule.registry), check.run_id)

    def dependency(self, rule: TaskCheck) -> str:
        """The task."""
        return f"task {rule.registry}/{rule.task}"

    def _timed_out(self, check: CheckRecord, rule: TaskCheck) -> Finding | None:
        assert check.claimed_at is not None  # only a claimed check is watched
        if seconds_between(check.claimed_at, self._services.clock.now()) <= rule.timeout_seconds:
            return None
        self.cancel(check, rule)
        reason = f"run {check.run_id} did not end within {rule.timeout_seconds} s and was canceled"
        return Finding(verdict=Verdict.UNKNOWN, reason=reason)
