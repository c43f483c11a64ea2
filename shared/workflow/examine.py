"""Examining a candidate: start its checks, watch them, take their verdicts down."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.domain.candidate import Candidate, CandidateState, CheckRecord, Verdict
from shared.domain.policy import ApprovalCheck, Gate, TaskCheck
from shared.domain.record import seconds_between
from shared.workflow.checks.approval import ApprovalMethod
from shared.workflow.checks.method import CheckMethod, Finding
from shared.workflow.checks.task import TaskCheckMethod
from shared.workflow.services import Services
from shared.workflow.step import Step


def new_checks(gate: Gate) -> tuple[CheckRecord, ...]:
    """The checks a candidate of this gate has before it."""
    return tuple(CheckRecord(kind=str(rule.__struct_config__.tag)) for rule in gate.checks)


class Examine:
    """The steps of a candidate up to its verdict."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._methods: dict[type, CheckMethod[Any]] = {
            TaskCheck: TaskCheckMethod(services),
            ApprovalCheck: ApprovalMethod(services),
        }

    def restart(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Begin all checks anew, under the gate's current policy."""
        record = msgspec.structs.replace(
            step.record,
            checks=new_checks(gate),
            fingerprint=gate.fingerprint,
            state=CandidateState.EXAMINING,
            announced=False,
        )
        return record.noting(self._services.clock.now(), "checks restarted", step.decision.reason)

    def start(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Start a check.

        1. Claim it in the ledger: of two workers only one gets further.
        2. Start the run, marked so that it can be found if this process dies before 3.
        3. Record the run's id (the caller saves).
        """
        index, now = step.decision.index, self._services.clock.now()
        candidate = step.save(step.record.with_check(index, claimed_at=now))  # 1
        started = self._method(gate, index).start(candidate, gate.checks[index], _mark(candidate, index))  # 2
        if isinstance(started, Finding):
            return self._conclude(candidate, index, started)
        kind, by_person = candidate.checks[index].kind, isinstance(gate.checks[index], ApprovalCheck)
        why = "a person is asked" if by_person else f"run {started}"
        return candidate.with_check(index, run_id=started).noting(now, f"{kind} check started", why)  # 3

    def adopt(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Find the run that a dead worker started, or let the check be started again."""
        index, now = step.decision.index, self._services.clock.now()
        candidate = step.record
        claimed_at = candidate.checks[index].claimed_at
        assert claimed_at is not None  # decide adopts nothing that was not claimed
        method = self._method(gate, index)
        run_id = method.adopt(candidate, gate.checks[index], _mark(candidate, index), claimed_at)
        if run_id is None:
            return candidate.with_check(index, claimed_at=None).noting(now, "claim dropped", "no run was started")
        return candidate.with_check(index, run_id=run_id).noting(now, "run adopted", f"run {run_id} was not recorded")

    def watch(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Look at a running check; past its time, stop it: it has said nothing, which is `unknown`."""
        index, candidate = step.decision.index, step.record
        check, rule = candidate.checks[index], gate.checks[index]
        method = self._method(gate, index)
        finding = method.watch(candidate, check, rule)
        if finding is None and isinstance(rule, TaskCheck) and self._is_overdue(check, rule):
            method.cancel(check, rule)
            reason = f"run {check.run_id} did not end within {rule.timeout_seconds} s and was canceled"
            finding = Finding(verdict=Verdict.UNKNOWN, reason=reason)
        return candidate if finding is None else self._conclude(candidate, index, finding)

    def _method(self, gate: Gate, index: int) -> CheckMethod[Any]:
        return self._methods[type(gate.checks[index])]

    def _is_overdue(self, check: CheckRecord, rule: TaskCheck) -> bool:
        now = self._services.clock.now()
        return check.claimed_at is not None and seconds_between(check.claimed_at, now) > rule.timeout_seconds

    def _conclude(self, candidate: Candidate, index: int, finding: Finding) -> Candidate:
        now = self._services.clock.now()
        concluded = candidate.with_check(
            index,
            verdict=finding.verdict,
            reason=finding.reason,
            evidence=finding.evidence,
            started_at=finding.started_at,
            finished_at=finding.finished_at or now,
        )
        return concluded.noting(now, f"{candidate.checks[index].kind} check {finding.verdict}", finding.reason)


def _mark(candidate: Candidate, index: int) -> str:
    """What tells this check of this attempt from every other: it names the run that belongs to it."""
    return f"basegate/{candidate.gate}/{candidate.row}/{index}"
