"""The task check: an ACR Task gets the image by digest, and its exit code is the verdict. Evidence of task runs."""

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Generic, Self, TypeVar

from msgspec.structs import replace

from shared.checks.kind import CheckKind, CheckResult, Marked, Started
from shared.domain.candidate import Candidate, CheckRecord, Evidence, Verdict
from shared.domain.errors import Misconfigured, NotFound, Rejected, Retry
from shared.domain.image import short
from shared.domain.policy import (
    CheckRule,
    Duration,
    Name,
    Policy,
    RegistryRule,
    TaskName,
    TaskRule,
    Values,
    seconds,
)
from shared.domain.record import seconds_between
from shared.domain.rollout import BuildRecord
from shared.ports import Archive, Run, RunStatus, Services, TaskRunner

LOG_LIMIT_BYTES = 1_000_000
"""How much of a log is stored; a longer one is truncated to its end, which has the result."""

_TAIL_LINES = 15
_LINE_LIMIT = 300
_ERROR = re.compile(r"\berror:", re.IGNORECASE)
_TELLING = re.compile(r"\berror\b|\bfail(ed|ure)?\b|\bdenied\b", re.IGNORECASE)
_BOILERPLATE = re.compile(r"failed to run step|Container failed during run|Run ID: ", re.IGNORECASE)


class RunsTask(CheckRule):
    """The rule of a check that runs an ACR Task, whatever else is in it."""

    __slots__ = ()

    registry: Name
    task: TaskName
    timeout: Duration
    values: Values

    def problems(self, policy: Policy, *, signs_in: bool) -> Iterator[tuple[str, str]]:
        """The registry must be an Azure registry."""
        if problem := policy.registry_problem(self.registry, "ACR Tasks run in"):
            yield "registry", problem

    def shown(self) -> Self:
        """With the names of the values that the task gets, without the values."""
        return replace(self, values=dict.fromkeys(self.values, ""))  # type: ignore[type-var]  # its subclasses are structs


class TaskCheck(TaskRule, RunsTask, frozen=True, kw_only=True):
    """An ACR Task that examines the candidate; it gets the values IMAGE (by digest) and TAG."""

    kind = "task"


T = TypeVar("T", bound=RunsTask)


class TaskRunKind(CheckKind[T], Generic[T]):
    """A check that runs an ACR Task: a run that was canceled, timed out, broke or is gone is no verdict.

    Its subclasses say what the run of a task that has ended means.
    """

    def start(self, candidate: Candidate, rule: T, mark: str) -> Started:
        """Start the run."""
        registry, values = self._services.registry_rule(rule.registry), self._values(candidate, rule, mark)
        return Started(registry.login_server, self._services.tasks.start(registry, rule.task, values, mark))

    def adopt(self, candidate: Candidate, rule: T, mark: str, since: datetime) -> Started | None:
        """Find the run with the mark."""
        registry = self._services.registry_rule(rule.registry)
        run_id = self._services.tasks.find(registry, rule.task, mark, since)
        return Started(registry.login_server, run_id) if run_id else None

    def poll(self, candidate: Candidate, check: CheckRecord, rule: T) -> CheckResult | None:
        """Read the run, and its log once it has ended."""
        registry = self._services.registry_rule(rule.registry)
        subject = f"run {check.run_id} of task {rule.task}"
        run = self._services.tasks.get(registry, check.run_id)
        if run is None:
            return CheckResult(verdict=Verdict.UNKNOWN, reason=f"{subject} is gone")
        if run.status is RunStatus.RUNNING:
            return self._timed_out(check, rule)
        name = f"{candidate.gate}/{short(candidate.digest)}/{registry.login_server}/{check.run_id}.log"
        tasks, archive = self._services.tasks, self._services.archive
        evidence = gather_evidence(tasks, archive, registry, run, name, self._readable)
        result = self._concluded(candidate, check, rule, run, evidence)
        return replace(result, started_at=run.started_at, finished_at=run.finished_at)

    def cancel(self, check: CheckRecord) -> None:
        """Cancel the run, if the rules still name its registry."""
        if registry := self._services.policy.registry_at(check.registry):
            self._services.tasks.cancel(registry, check.run_id)

    def log(self, check: CheckRecord, limit_bytes: int) -> str:
        """The log of the run."""
        return self._readable(log_so_far(self._services, check, limit_bytes))

    def marked(self, rule: T, since: datetime) -> Iterator[Marked]:
        """The runs of the task, whichever gate started them."""
        registry = self._services.registry_rule(rule.registry)
        for run_id, mark in self._services.tasks.marked(registry, rule.task, since):
            yield Marked(Started(registry.login_server, run_id), mark, f"{run_id} of {rule.task}")

    def readiness(self, rule: T) -> Iterator[tuple[str, Callable[[], object]]]:
        """Whether the task exists and may be run."""
        registry = self._services.registry_rule(rule.registry)
        yield f"task {rule.task} of {registry.login_server}", partial(self._services.tasks.check, registry, rule.task)

    def dependency(self, rule: T) -> str:
        """The task."""
        return f"task {rule.registry}/{rule.task}"

    def _readable(self, log: str) -> str:
        """What of its log is for people."""
        return log

    def _values(self, candidate: Candidate, rule: T, mark: str) -> dict[str, str]:
        return {**rule.values, "IMAGE": str(candidate.image), "TAG": candidate.tag}

    @abstractmethod
    def _concluded(
        self, candidate: Candidate, check: CheckRecord, rule: T, run: Run, evidence: Evidence
    ) -> CheckResult:
        """The result of a run that has ended."""

    def _timed_out(self, check: CheckRecord, rule: T) -> CheckResult | None:
        assert check.claimed_at is not None  # only a claimed check is polled
        if seconds_between(check.claimed_at, self._services.clock.now()) <= seconds(rule.timeout):
            return None
        self.cancel(check)
        reason = f"run {check.run_id} did not end within {seconds(rule.timeout)} s and was canceled"
        return CheckResult(verdict=Verdict.UNKNOWN, reason=reason)


class TaskCheckKind(TaskRunKind[TaskCheck]):
    """Runs the rule's task with the values `IMAGE` (the candidate by digest) and `TAG`, and reads the run's status.

    `succeeded` passes, `failed` fails, anything else is no verdict: `unknown`, which never promotes.
    """

    rule = TaskCheck
    may_promote = True

    def _concluded(
        self, candidate: Candidate, check: CheckRecord, rule: TaskCheck, run: Run, evidence: Evidence
    ) -> CheckResult:
        subject = f"run {run.run_id} of task {rule.task}"
        verdict, reason = {
            RunStatus.SUCCEEDED: (Verdict.PASSED, f"{subject} succeeded"),
            RunStatus.FAILED: (Verdict.FAILED, f"{subject} failed: {telling_line(evidence)}"),
        }.get(run.status, (Verdict.UNKNOWN, f"{subject} ended without a verdict: {run.detail}"))
        return CheckResult(verdict=verdict, reason=reason, evidence=evidence)


def gather_evidence(
    tasks: TaskRunner,
    archive: Archive,
    registry: RegistryRule,
    run: Run,
    name: str,
    readable: Callable[[str], str] = str,
) -> Evidence:
    """The evidence of a run that has ended; `readable` returns the part of its log that is for people.

    A log that cannot be read does not change the verdict: the evidence says so.

    Raises:
        Misconfigured: the archive denies access: an operator must fix that before evidence is lost.
    """
    try:
        text = readable(tasks.log(registry, run.run_id, LOG_LIMIT_BYTES))
    except (Retry, Rejected, Misconfigured, NotFound) as error:
        return Evidence(status=run.detail, log_tail=(f"(the log could not be read: {error})",))
    lines = [line.rstrip()[:_LINE_LIMIT] for line in text.splitlines() if line.strip()]
    tail = tuple(lines[-_TAIL_LINES:])
    try:
        return Evidence(status=run.detail, log_tail=tail, log_blob=archive.store(name, text))
    except (Retry, Rejected) as error:
        return Evidence(status=f"{run.detail} (the log could not be stored: {error})", log_tail=tail)


def log_so_far(services: Services, run: CheckRecord | BuildRecord, limit_bytes: int) -> str:
    """The last bytes of the log of a running task.

    Raises:
        NotFound: the rules do not name its registry any more.
        Rejected: it has written nothing yet.
    """
    registry = services.policy.registry_at(run.registry)
    if registry is None:
        why = "the rules do not name that registry any more"
        raise NotFound(f"the log of run {run.run_id} of {run.registry} cannot be read: {why}")
    return services.tasks.log(registry, run.run_id, limit_bytes)


def telling_line(evidence: Evidence) -> str:
    """The most informative line of a log's end.

    The tool's own "error: …" takes precedence over its other output, and that over the runner's; the last such line
    counts.
    """
    failing = [line for line in evidence.log_tail if _TELLING.search(line)]
    own = [line for line in failing if not _BOILERPLATE.search(line)]
    errors = [line for line in own if _ERROR.search(line)]
    return (errors or own or failing or [*evidence.log_tail] or [evidence.status or "no output"])[-1].strip()
