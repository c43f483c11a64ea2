"""The course of a candidate: from its first look to its announced end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.domain.candidate import Candidate, CandidateState, TagOutcome, Verdict
from shared.domain.decide_candidate import decide_candidate
from shared.domain.decision import Action, Decision
from shared.domain.policy import Gate
from shared.ports import Notice, Stored
from shared.workflow.dependents import Dependents
from shared.workflow.examine import Examine
from shared.workflow.promote import Promote
from shared.workflow.services import Services
from shared.workflow.step import Step

_CLOSED_TO_VETOED = frozenset((Action.START_CHECK, Action.COPY, Action.MOVE_STABLE))

GateAction = Callable[[Step[Candidate], Gate], Candidate]


class CandidateCourse:
    """How a candidate advances."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._promote = Promote(services)
        self._dependents = Dependents(services)
        examine, promote = Examine(services), self._promote
        self._actions: dict[Action, GateAction] = {
            Action.RESTART_CHECKS: examine.restart,
            Action.START_CHECK: examine.start,
            Action.ADOPT_CHECK: examine.adopt,
            Action.WATCH_CHECK: examine.watch,
            Action.RECHECK_SOURCE: promote.recheck_source,
            Action.COPY: promote.copy,
            Action.WATCH_COPY: promote.watch_copy,
            Action.LOCK: promote.lock,
            Action.MOVE_STABLE: promote.move_stable,
            Action.RECORD_TASK_PROMOTION: promote.record_task_promotion,
            Action.ROLL_OUT: self._roll_out,
            Action.FINISH: self._finish,
        }

    def load(self, partition: str, row: str) -> Stored[Candidate] | None:
        """The candidate of a look."""
        return self._services.ledger.load(Candidate, partition, row)

    def decide(self, record: Candidate) -> Decision:
        """Its next step; a candidate whose gate is gone from the rules has come to its end."""
        gate = self._services.gate(record.gate)
        if gate is None and not record.finished:
            return Decision(Action.FAIL, f"the gate {record.gate} is not in the rules any more")
        if gate is None:
            return Decision(Action.DONE, "its gate is gone")
        return decide_candidate(record, gate, self._services.clock.now())

    def act(self, step: Step[Candidate]) -> Candidate:
        """Take the step that was decided."""
        gate = self._services.policy.gates[step.record.gate]
        if step.decision.action in _CLOSED_TO_VETOED:
            self._promote.refuse_vetoed(step.record)
        return self._actions[step.decision.action](step, gate)

    def fail(self, record: Candidate, reason: str) -> Candidate:
        """The candidate after its last step; nothing of it is promoted any further."""
        tags = tuple(msgspec.structs.replace(tag, resighted_at=None) for tag in record.tags)
        known = record.state is CandidateState.FAILED  # pushed again: the same bytes fail for the same reason
        failed = msgspec.structs.replace(
            record, state=CandidateState.FAILED, reason=reason, tags=tags, announced=known and record.announced
        )
        return failed.noting(self._services.clock.now(), "failed", reason)

    def notice(self, record: Candidate) -> Notice:
        """What to tell about a finished candidate."""
        names = {
            CandidateState.PROMOTED: "CandidatePromoted",
            CandidateState.SUPERSEDED: "CandidateSuperseded",
            CandidateState.HELD: "CandidateHeld",
            CandidateState.CANCELED: "CandidateCanceled",
        }
        failing = next((check for check in record.checks if check.verdict not in (None, Verdict.PASSED)), None)
        return Notice(
            name=names.get(record.state, "CandidateFailed"),
            subject=f"gates/{record.gate}/candidates/{record.row}",
            page=f"candidates/{record.id}",
            data={
                "gate": record.gate,
                "image": str(record.image),
                "attempt": record.attempt,
                "state": record.state.value,
                "reason": record.reason,
                "tags": [tag.tag for tag in record.tags],
                "uniqueTags": [tag.unique for tag in record.tags if tag.moved_at is not None],
                "logTail": list(failing.evidence.log_tail) if failing else [],
            },
        )

    def _roll_out(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Begin a rollout of every app that stands on the tag."""
        index, now, candidate = step.decision.index, self._services.clock.now(), step.record
        tag = candidate.tags[index]
        assert tag.moved_at is not None  # decide rolls out nothing that was not moved
        image = self._promote.promoted_image(candidate, gate)
        names = self._dependents.roll_out(gate, tag.tag, image, tag.moved_at)
        done = candidate.with_tag(index, rolled_out_at=now, outcome=TagOutcome.PROMOTED)
        return done.noting(now, "rollouts started", ", ".join(names) or "nothing stands on this tag")

    def _finish(self, step: Step[Candidate], gate: Gate) -> Candidate:
        """Close the record."""
        candidate, now = step.record, self._services.clock.now()
        state, reason = _end(candidate)
        closed = msgspec.structs.replace(candidate, state=state, reason=reason)
        return closed if candidate.state is state else closed.noting(now, state.value, reason)


def _end(candidate: Candidate) -> tuple[CandidateState, str]:
    held = [tag.tag for tag in candidate.tags if tag.held]
    if held:
        return CandidateState.HELD, f"passed; the stable tag {', '.join(held)} is held"
    promoted = [tag.tag for tag in candidate.tags if tag.outcome is TagOutcome.PROMOTED]
    if promoted:
        return CandidateState.PROMOTED, f"promoted to {', '.join(promoted)}"
    return CandidateState.SUPERSEDED, "a newer push was promoted first"
