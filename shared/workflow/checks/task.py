"""The check that an ACR Task makes: it gets the image by digest, and its exit code decides."""

from __future__ import annotations

from datetime import datetime

from shared.domain.candidate import Candidate, CheckRecord, Verdict
from shared.domain.image import short
from shared.domain.policy import TaskCheck
from shared.ports import Archive, RunStatus, TaskRunner
from shared.workflow.checks.method import Finding
from shared.workflow.evidence import gather_evidence, telling_line
from shared.workflow.services import Services


class TaskCheckMethod:
    """Runs the rule's task with the value `IMAGE` (the candidate by digest) and `TAG`, and reads the run's end.

    `succeeded` passes, `failed` fails; a run that was canceled, timed out or broke says nothing about the
    image: `unknown`, which never promotes.
    """

    def __init__(self, services: Services) -> None:
        self._tasks: TaskRunner = services.tasks
        self._archive: Archive = services.archive
        self._services = services

    def start(self, candidate: Candidate, rule: TaskCheck, mark: str) -> str:
        """Start the run."""
        values = {**rule.values, "IMAGE": str(candidate.image), "TAG": candidate.tags[0].tag}
        return self._tasks.start(self._services.registry_rule(rule.registry), rule.task, values, mark)

    def adopt(self, candidate: Candidate, rule: TaskCheck, mark: str, since: datetime) -> str | None:
        """Find the run that carries the mark."""
        return self._tasks.find(self._services.registry_rule(rule.registry), rule.task, mark, since)

    def watch(self, candidate: Candidate, check: CheckRecord, rule: TaskCheck) -> Finding | None:
        """Read the run, and its log once it has ended."""
        registry = self._services.registry_rule(rule.registry)
        run = self._tasks.get(registry, check.run_id)
        if run is None:
            return Finding(verdict=Verdict.UNKNOWN, reason=f"run {check.run_id} of task {rule.task} is gone")
        if run.status is RunStatus.RUNNING:
            return None
        name = f"{candidate.gate}/{short(candidate.digest)}/{check.run_id}.log"
        evidence = gather_evidence(self._tasks, self._archive, registry, run, name)
        subject = f"run {run.run_id} of task {rule.task}"
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
        self._tasks.cancel(self._services.registry_rule(rule.registry), check.run_id)
